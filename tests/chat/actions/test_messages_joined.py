"""A message that joins the answer in progress: who reads it, when, and what becomes of it otherwise."""

from typing import Any

import pytest

from chat.actions import attempts, joined, messages, sessions
from chat.errors import Conflict, Fenced, TooManyWaiting
from chat.models import Agent, ChatSession, Message, Run
from tests.chat.actions.steering import ask_people, data_of, finish, log_of, queue
from tests.inside import Talk, rung
from tests.workers.talk_as_read import told_to
from workers.context import build_context


def test_a_message_that_joins_is_read_at_the_next_step_and_starts_no_run(talk: Talk, redis: Any) -> None:
    run = talk.start("Plan the trip")
    rung(redis)
    before = talk.last_seq
    posted = talk.post("By train", talk.ben, on_busy="join", key="k")
    assert (posted.run_id, posted.joined) == (run.pk, True)
    row = data_of(posted.message_id)
    assert (row["run_id"], row["data"]) == (None, {"joined": {"run_id": str(run.pk), "read": False}})
    assert talk.types(before) == ["message.created"] and queue(talk) == [run.pk] and rung(redis) == []
    [read] = joined.read_joined(run, 1)
    assert (read.pk, joined.read_joined(run, 2)) == (posted.message_id, [])
    assert data_of(posted.message_id)["data"]["joined"]["read"] is True
    assert log_of(talk, before + 1) == [("message.updated", run.pk)]
    finish(run)
    assert queue(talk) == []
    again = talk.post("By train", talk.ben, on_busy="join", key="k")
    assert again == messages.Posted(posted.message_id, run.pk, duplicate=True)


def test_what_joins_a_run_that_has_not_begun_is_part_of_its_question(talk: Talk) -> None:
    first = talk.start("One?")
    talk.post("More of one", on_busy="join")
    finish(first, "One!")
    waiting = Run.objects.get(pk=queue(talk)[0])
    talk.post("Still more", talk.ben, on_busy="join")
    run = talk.claim()
    assert run.pk == waiting.pk
    assert told_to(run) == ["u: One?", "a: One!", "u: More of one", "u: Still more"]
    finish(run, "More!")
    assert told_to(talk.start("Two?"))[2:] == ["u: More of one", "u: Still more", "a: More!", "u: Two?"]


def test_what_was_read_before_a_crash_is_read_again_in_its_place(talk: Talk) -> None:
    run = talk.queue("Plan it")
    talk.post("By train", on_busy="join")
    run = talk.claim()
    talk.post("On Monday", on_busy="join")
    joined.read_joined(run, 1)
    attempts.put_back(run, "drained")
    talk.post("With Ben", on_busy="join")
    Run.objects.filter(pk=run.pk).update(state={"steps": ["one that is done"]})
    run = talk.claim()
    context = build_context(run)
    assert [line.text for line in context.prompt.talk if hasattr(line, "text")] == ["Plan it", "By train"]
    assert {step: [line.text for line in lines] for step, lines in context.joined.items()} == {1: ["On Monday"]}
    assert [message.content for message in joined.read_joined(run, 2)] == ["With Ben"]
    finish(run)


def test_what_joined_before_a_restart_without_a_step_is_read_with_the_question(talk: Talk) -> None:
    run = talk.start("Plan it")
    talk.post("By train", on_busy="join")
    attempts.put_back(run, "drained", seconds=1.5)
    again = talk.claim()
    assert again.state == {"seconds": 1.5} and told_to(again) == ["u: Plan it", "u: By train"]
    finish(again)


def test_only_whoever_holds_the_run_reads_what_joined(talk: Talk) -> None:
    run = talk.start()
    posted = talk.post("More", on_busy="join")
    attempts.put_back(run, "drained")
    with pytest.raises(Fenced):
        joined.read_joined(run, 1)
    assert Message.objects.get(pk=posted.message_id).read_step is None
    gone = talk.claim()
    sessions.delete_session(talk.ada, talk.pk)
    assert joined.read_joined(gone, 1) == []


@pytest.mark.parametrize("end", ["finish", "fail", "cancel"])
def test_what_joined_too_late_becomes_a_run_of_its_own(talk: Talk, redis: Any, end: str) -> None:
    run = talk.start()
    other = talk.queue("Next")
    late = talk.post("Too late", talk.ben, on_busy="join", key="k")
    later = talk.post("Later still", on_busy="join")
    rung(redis)
    before = talk.last_seq
    if end == "finish":
        finish(run)
    elif end == "fail":
        attempts.fail_run(run, {"code": "internal", "message": "No.", "temporary": True}, "", attempts.Spending())
    else:
        talk.cancel(run.pk)
    waiting, new = queue(talk)
    assert waiting == other.pk and rung(redis) == [other.pk]
    assert log_of(talk, before)[-4:-1] == [("message.updated", new), ("message.updated", new), ("run.queued", new)]
    assert talk.types(before)[-1].startswith("run.")
    assert (data_of(late.message_id)["run_id"], data_of(later.message_id)["run_id"]) == (str(new), None)
    assert data_of(later.message_id)["data"]["joined"] == {"run_id": str(new), "read": False}
    assert talk.post("Too late", talk.ben, key="k").run_id == run.pk, "the first ids, whatever became of it"
    finish(talk.claim())
    asked = talk.claim()
    assert (asked.pk, asked.user_id, told_to(asked)[-2:]) == (new, talk.ben.pk, ["u: Too late", "u: Later still"])


def test_what_joins_a_run_that_waits_for_a_person_waits_with_it(talk: Talk) -> None:
    run = ask_people(talk.start())
    posted = talk.post("Also this", on_busy="join")
    assert posted.run_id == run.pk and queue(talk) == [run.pk]
    assert ChatSession.objects.get(pk=talk.pk).status == "interrupted"


def test_without_an_open_run_there_is_nothing_to_join(talk: Talk, redis: Any) -> None:
    posted = talk.post(on_busy="join")
    assert not posted.joined and rung(redis) == [posted.run_id]


def test_what_asks_for_another_agent_or_llm_waits_for_it(talk: Talk, settings: Any) -> None:
    settings.CHAT_LLMS = ["demo?tokens=5"]
    Agent.objects.create(name="expert")
    run = talk.start()
    waiting = [talk.queue(agent="expert", on_busy="join"), talk.queue(llm="demo?tokens=5", on_busy="join")]
    assert queue(talk) == [run.pk, *(one.pk for one in waiting)]
    assert talk.post(agent="assistant", on_busy="join").joined


def test_what_joined_can_be_changed_until_it_is_read(talk: Talk) -> None:
    run = talk.start()
    posted = talk.post("By trian", on_busy="join")
    messages.update_message(talk.ada, posted.message_id, "By train")
    [read] = joined.read_joined(run, 1)
    assert read.content == "By train"
    with pytest.raises(Conflict):
        messages.update_message(talk.ada, posted.message_id, "By car")


def test_no_more_join_than_may_wait(talk: Talk, settings: Any) -> None:
    settings.CHAT_WAITING_PER_SESSION = 2
    talk.start()
    for _ in range(2):
        talk.post(on_busy="join")
    with pytest.raises(TooManyWaiting):
        talk.post(on_busy="join")
