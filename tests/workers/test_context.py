"""What the LLM reads: the talk in the order of its answers, and as much of it as fits."""

from typing import Any

import pytest

from chat.actions import attempts, messages, runs, summaries
from chat.models import Agent, Message, Run
from chat.prepared import Prepared
from tests.inside import Talk, new_talk
from tests.threads import Threads
from tests.workers.talk_as_read import cost, fails, finish, told_to
from workers import context, runtime
from workers.context import LEFT_OUT, LINE_TOKENS, build_context, fit_results
from workers.llm.base import SUMMARY_HEADING, Called, Line, Returned, Said, ToolCall, estimate_tokens

# --- order ------------------------------------------------------------------------------------------------------------


def test_the_first_question_is_all_there_is(talk: Talk) -> None:
    Agent.objects.filter(name="assistant").update(instructions="Be brief.")
    run = talk.start("Why?")
    prompt = build_context(run).prompt
    assert prompt.instructions == "Be brief."
    assert told_to(run) == ["u: Why?"]


def test_the_talk_goes_on_from_question_to_answer(talk: Talk) -> None:
    talk.answer("One?", "One!")
    talk.answer("Two?", "Two!", by=talk.ben)
    assert told_to(talk.start("Three?")) == ["u: One?", "a: One!", "u: Two?", "a: Two!", "u: Three?"]


def test_a_question_that_was_sent_while_another_was_answered_comes_after_that_answer(talk: Talk) -> None:
    first = talk.start("One?")
    talk.queue("Two?", talk.ben)
    talk.queue("Three?")
    assert told_to(first) == ["u: One?"], "what waits is not read before its turn"
    finish(first, "One!")
    second = talk.claim()
    assert told_to(second) == ["u: One?", "a: One!", "u: Two?"]
    finish(second, "Two!")
    assert told_to(talk.claim()) == ["u: One?", "a: One!", "u: Two?", "a: Two!", "u: Three?"]


def test_a_question_that_was_moved_is_read_where_it_was_moved_to(talk: Talk) -> None:
    talk.queue("One?")
    two = talk.queue("Two?")
    runs.move_run(talk.ada, two.pk, Run.objects.get(message__content="One?").pk)
    finish(talk.claim(), "Two!")
    assert told_to(talk.claim()) == ["u: Two?", "a: Two!", "u: One?"]


def test_an_answer_that_waited_for_its_second_attempt_is_read_in_its_place(talk: Talk) -> None:
    run = talk.start("One?")
    talk.queue("Two?")
    attempts.put_back(run, "drained")
    again = talk.claim()
    assert told_to(again) == ["u: One?"]
    finish(again, "One!")
    assert told_to(talk.claim()) == ["u: One?", "a: One!", "u: Two?"]


def test_the_talk_is_whole_while_an_older_version_still_takes_questions(talk: Talk) -> None:
    first = talk.queue("One?")
    Message.objects.filter(run=first).update(position=None)  # as one writes it that knows no positions
    finish(talk.claim(), "One!")
    second = talk.queue("Two?")
    Message.objects.filter(run=second).update(position=None)
    assert told_to(talk.claim()) == ["u: One?", "a: One!", "u: Two?"]


# --- what is left out -------------------------------------------------------------------------------------------------


def test_answers_that_failed_or_were_stopped_are_left_out_and_so_are_notices(talk: Talk, redis: Any) -> None:
    fails(talk.start("One?"), "On")
    run = talk.start("Two?")
    attempts.keep_checkpoint(run, run.answer_id, "Tw")
    redis.flushall()
    talk.cancel(run.pk)
    assert Message.objects.filter(role="assistant").count() == 2
    assert Message.objects.filter(role="system").count() == 1
    assert told_to(talk.start("Three?")) == ["u: One?", "u: Two?", "u: Three?"]


def test_a_question_asked_again_is_read_once_and_last(talk: Talk) -> None:
    old = fails(talk.start("One?"), "On")
    talk.answer("Two?", "Two!")
    talk.retry(old.pk)
    again = talk.claim()
    assert told_to(again) == ["u: Two?", "a: Two!", "u: One?"]
    finish(again, "One!")
    assert told_to(talk.start("Three?"))[-2:] == ["a: One!", "u: Three?"]


def test_what_was_deleted_or_is_no_text_is_left_out(talk: Talk) -> None:
    talk.answer("One?", "One!")
    talk.answer("Two?", "Two!")
    Message.objects.filter(content="One!").update(deleted_at=talk.log()[-1].at)
    Message.objects.filter(content="Two!").update(kind="notice")
    assert told_to(talk.start("Three?")) == ["u: One?", "u: Two?", "u: Three?"]
    Message.objects.filter(content="One!").update(deleted_at=None)
    Message.objects.filter(content="Two!").update(kind="text")


def test_nothing_of_another_session_is_read(talk: Talk) -> None:
    new_talk(talk.ada, talk.ben, talk.worker_id).answer("Secret?", "Secret!")
    assert told_to(talk.start("Mine?")) == ["u: Mine?"]


def test_a_changed_question_is_read_as_it_is_now(talk: Talk) -> None:
    posted = talk.post("Tpyo?")
    messages.update_message(talk.ada, posted.message_id, "Typo?")
    assert told_to(talk.claim()) == ["u: Typo?"]


def test_a_question_that_was_withdrawn_is_read_again_only_when_it_is_asked_again(talk: Talk) -> None:
    running = talk.start("One?")
    waiting = talk.queue("Two?")
    talk.cancel(waiting.pk)
    finish(running, "One!")
    talk.answer("Three?", "Three!")
    assert told_to(talk.queue("Four?"))[:-1] == ["u: One?", "a: One!", "u: Three?", "a: Three!"]
    again = talk.retry(waiting.pk).run
    assert "withdrawn" not in Message.objects.get(pk=waiting.message_id).data
    assert told_to(Run.objects.select_related("agent", "message").get(pk=again.pk))[-1] == "u: Two?"


def test_a_question_whose_answer_was_stopped_is_still_read(talk: Talk) -> None:
    run = talk.start("One?")
    attempts.put_back(run, "drained")
    talk.cancel(run.pk)
    assert told_to(talk.start("Two?")) == ["u: One?", "u: Two?"]


def test_what_came_with_a_message_is_read_with_it(talk: Talk) -> None:
    assert told_to(talk.start("Why?", context={"host": "pg-7", "load": 3})) == ["u: Why?\n\nhost: pg-7\nload: 3"]


# --- how much ---------------------------------------------------------------------------------------------------------


def test_the_newest_that_fits_is_read_and_the_question_always(talk: Talk, settings: Any) -> None:
    Agent.objects.filter(name="assistant").update(instructions="")
    for number in range(6):
        talk.answer(f"Question {number}?", f"Answer {number}!")
    run = talk.start("And now?")
    settings.CHAT_CONTEXT_TOKENS = cost("And now?", "Question 5?", "Answer 5!", "Answer 4!")
    assert told_to(run) == ["a: Answer 4!", "u: Question 5?", "a: Answer 5!", "u: And now?"]
    settings.CHAT_CONTEXT_TOKENS -= 1
    assert told_to(run) == ["u: Question 5?", "a: Answer 5!", "u: And now?"]
    settings.CHAT_CONTEXT_TOKENS = 1
    assert told_to(run) == ["u: And now?"]


def test_a_long_line_is_not_stepped_over_for_an_older_short_one(talk: Talk, settings: Any) -> None:
    """Whoever reads an answer without what came in between reads another talk."""
    Agent.objects.filter(name="assistant").update(instructions="")
    talk.answer("a?", "a!")
    talk.answer("b?", "very long " * 500)
    run = talk.start("c?")
    settings.CHAT_CONTEXT_TOKENS = 200
    assert told_to(run) == ["u: c?"]


def test_instructions_and_summary_take_room_too(talk: Talk, settings: Any) -> None:
    Agent.objects.filter(name="assistant").update(instructions="x" * 400)
    talk.answer("One?", "One!")
    run = talk.start("Two?")
    settings.CHAT_CONTEXT_TOKENS = 100 + cost("Two?", "One!")
    assert told_to(run) == ["a: One!", "u: Two?"]


@pytest.mark.parametrize(("room", "is_crowded"), [(10_000, False), (100, True), (20, True)])
def test_it_says_when_it_is_time_for_a_summary(talk: Talk, settings: Any, room: int, is_crowded: bool) -> None:
    Agent.objects.filter(name="assistant").update(instructions="")
    for _ in range(5):
        talk.answer("Question number?", "The answer is this!")
    run = talk.start("And now?")
    settings.CHAT_CONTEXT_TOKENS = room
    assert build_context(run).is_crowded is is_crowded


@pytest.mark.parametrize("page", [50, 2])
def test_a_very_long_talk_is_read_as_far_back_as_it_counts(
    talk: Talk, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr(context, "LINES_MAX", 3)
    monkeypatch.setattr(context, "PAGE", page)
    monkeypatch.setattr(context, "_TALK", Prepared(context._newest_talk))  # of such pages
    for number in range(4):
        talk.answer(f"Question {number}?", f"Answer {number}!")
    assert told_to(talk.start("And?")) == ["a: Answer 2!", "u: Question 3?", "a: Answer 3!", "u: And?"]


def test_a_talk_of_very_many_short_lines_is_not_read_with_the_claim_since_that_may_be_on_the_loop(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "PAGE", 2)
    monkeypatch.setattr(context, "_TALK", Prepared(context._newest_talk))  # of such pages
    monkeypatch.setattr(context, "BRIEF_LINES", 4)
    for number, is_read in enumerate([True, True, False, False]):
        talk.queue(f"Question {number}?")
        held = runtime._claim(talk.worker_id, talk.pk)
        assert (held.context is not None) == is_read
        assert len(told_to(held.run)) == 2 * number + 1, "a thread may read all of it"
        finish(held.run, f"Answer {number}!")


# --- one state --------------------------------------------------------------------------------------------------------


def test_a_talk_that_goes_on_while_it_is_read_is_read_as_it_was(
    talk: Talk, threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk.answer("One?", "One!")
    run = talk.start("Two?")
    read = context.talk_before

    def summarise_first(*args: Any, **how: Any) -> Any:
        threads.start(summaries.store_summary, talk.pk, 0, "- One was asked.", talk.last_seq).result(10)
        return read(*args, **how)

    monkeypatch.setattr(context, "talk_before", summarise_first)
    prompt = build_context(run).prompt
    assert SUMMARY_HEADING not in prompt.instructions
    assert [line.text for line in prompt.talk] == ["One?", "One!", "Two?"]


# --- what is kept of it -----------------------------------------------------------------------------------------------


def test_what_tools_returned_gives_way_when_it_is_old_and_never_before_it_was_read() -> None:
    def step(number: int, *texts: str) -> list[Line]:
        asked = [ToolCall(f"{number}.{index}", "look", "{}") for index in range(len(texts))]
        results = [Returned(call.call_id, "look", text) for call, text in zip(asked, texts, strict=True)]
        return [Called("", tuple(asked)), *results]

    long = "x" * 4000
    first = (Said("user", "Look at both."), *step(1, long, long))
    assert fit_results(first, tokens=500) == first
    later = fit_results((*first, *step(2, long, "short")), tokens=500)
    read = [line.text for line in later if isinstance(line, Returned)]
    assert read == [LEFT_OUT, LEFT_OUT, long, "short"]


def test_what_was_read_is_told_by_reference(talk: Talk) -> None:
    Agent.objects.filter(name="assistant").update(instructions="Be brief.")
    done = talk.answer("One?", "One!")
    run = talk.start("Two?")
    built = build_context(run)
    seqs = [*Message.objects.filter(run=done).order_by("seq").values_list("seq", flat=True)]
    ask = Message.objects.get(pk=run.message_id)
    tokens = estimate_tokens("Be brief.") + sum(estimate_tokens(line.text) + LINE_TOKENS for line in built.prompt.talk)
    assert built.read == {
        "attempt": 1,
        "instructions_chars": 9,
        "summary_seq": 0,
        "seqs": [*seqs, ask.seq],
        "tokens": tokens,
    }
    summaries.store_summary(talk.pk, 0, "They talked.", seqs[-1])
    assert build_context(run).read["summary_seq"] == 0, "as it was claimed: else it might have neither talk nor summary"
    run.session.refresh_from_db()
    later = build_context(run).read
    assert (later["summary_seq"], later["seqs"]) == (seqs[-1], [ask.seq])


def test_a_summary_that_is_too_long_leaves_half_of_the_room_to_what_was_said_last(talk: Talk) -> None:
    Agent.objects.filter(name="assistant").update(context={"tokens": 200}, instructions="")
    talk.answer("Old?", "Old!")
    seq = Message.objects.latest("seq").seq
    talk.answer("One?", "One!")
    summaries.store_summary(talk.pk, 0, "They talked. " + "€" * 2000, seq)
    built = build_context(talk.start("Two?")).prompt
    assert [line.text for line in built.talk] == ["One?", "One!", "Two?"]
    assert "They talked. €" in built.instructions
    assert estimate_tokens(built.instructions) <= 100 + estimate_tokens(f"\n\n{SUMMARY_HEADING}\n\n")
