"""What becomes of a message that is sent while an answer is in progress: the five ways, and what they leave."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from chat import stream
from chat.actions import attempts, claims, joined, messages, runs, sessions
from chat.actions.questions import Question
from chat.errors import Busy, Conflict, Fenced, NotFound, SessionClosed, TooManyWaiting
from chat.models import Agent, ChatSession, Event, Interrupt, Message, Run
from chat.protocol.commands import SessionChange
from tests.inside import Talk, Threads, failing_at, rung, stopped_at, told, wait_until_blocked
from tests.servers import Redis
from workers.context import build_context


def show(redis: Any, run: Run, text: str) -> None:
    """Put into Redis what a worker has shown of its answer."""
    told()
    redis.set(stream.draft_key(run.session_id, run.answer_id), text)


def finish(run: Run, text: str = "Done.") -> Run:
    return attempts.finish_run(run, text, attempts.Spending("demo", 3, 2))


def ask_people(run: Run) -> Run:
    """Make a run wait for a person."""
    return attempts.interrupt_run(run, [Question("question", "Which one?")])


def told_to(run: Run) -> list[str]:
    return [f"{line.role[0]}: {line.text}" for line in build_context(run).prompt.talk]


def queue(talk: Talk) -> list[UUID]:
    return list(Run.objects.open().filter(session_id=talk.pk).order_by("position").values_list("pk", flat=True))


def data_of(message_id: UUID) -> Any:
    return Message.objects.get(pk=message_id).as_data()


def log_of(talk: Talk, after: int) -> list[tuple[str, UUID | None]]:
    return [(event.type, event.run_id) for event in talk.log(after) if event.type != "session.updated"]


# --- join -------------------------------------------------------------------------------------------------------------


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
    Run.objects.filter(pk=run.pk).update(state={"a": "step is done"})
    run = talk.claim()
    context = build_context(run)
    assert [line.text for line in context.prompt.talk if hasattr(line, "text")] == ["Plan it", "By train"]
    assert {step: [line.text for line in lines] for step, lines in context.joined.items()} == {1: ["On Monday"]}
    assert [message.content for message in joined.read_joined(run, 2)] == ["With Ben"]
    finish(run)


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
        runs.cancel_run(talk.ada, run.pk)
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


# --- interrupt and rollback -------------------------------------------------------------------------------------------


def test_an_interruption_keeps_what_was_shown_and_takes_the_place_of_the_run(talk: Talk, redis: Any) -> None:
    run = talk.start("Count")
    other = talk.queue("Next")
    show(redis, run, "One, two")
    rung(redis)
    before = talk.last_seq
    posted = talk.post("No, in German", talk.ben, on_busy="interrupt")
    assert queue(talk) == [posted.run_id, other.pk] and rung(redis) == [posted.run_id]
    assert Run.objects.get(pk=posted.run_id).position == run.position
    assert log_of(talk, before) == [
        ("message.created", run.pk),
        ("run.cancelled", run.pk),
        ("message.created", posted.run_id),
        ("run.queued", posted.run_id),
    ]
    kept = Message.objects.get(pk=run.answer_id)
    assert (kept.content, kept.data) == ("One, two", {"interrupted": True})
    assert redis.hgetall(stream.fence_key(talk.pk, run.pk)) == {b"a": b"2"}
    with pytest.raises(Fenced):
        finish(run)
    assert told_to(talk.claim()) == ["u: Count", "u: No, in German"]


def test_a_rollback_takes_back_what_was_asked_and_shown(talk: Talk, redis: Any) -> None:
    talk.answer("Hello?", "Hello!")
    run = talk.queue("Cuont")
    talk.post("fast", on_busy="join")
    run = talk.claim()
    step = Message.objects.create(
        session_id=talk.pk, seq=talk.last_seq + 1000, run=run, role="tool", author=run.agent.as_author()
    )
    show(redis, run, "One, two")
    before = talk.last_seq
    posted = talk.post("Count", on_busy="rollback")
    [told_of] = Event.objects.filter(session_id=talk.pk, type="run.cancelled")
    gone = [str(pk) for pk in Message.objects.exclude(deleted_at=None).order_by("seq").values_list("pk", flat=True)]
    assert told_of.data["discarded"] == [*gone, str(run.answer_id)] and len(gone) == 3 and str(step.pk) in gone
    assert log_of(talk, before)[0] == ("run.cancelled", run.pk), "nothing of it is kept"
    assert told_to(talk.claim()) == ["u: Hello?", "a: Hello!", "u: Count"]
    with pytest.raises(Conflict):
        runs.retry_run(talk.ada, run.pk)
    with pytest.raises(NotFound):
        messages.update_message(talk.ada, run.message_id, "Again")
    Message.objects.filter(pk=step.pk).delete()
    assert posted.run_id


def test_nobody_takes_back_what_another_said(talk: Talk) -> None:
    run = talk.queue("Ada asks")
    talk.post("Ben adds", talk.ben, on_busy="join")
    run = talk.claim()
    talk.post("Ben starts afresh", talk.ben, on_busy="rollback")
    assert [m.content for m in Message.objects.shown().order_by("seq")] == ["Ada asks", "Ben starts afresh"]
    assert runs.retry_run(talk.ada, run.pk).run.message_id == run.message_id


def test_a_rollback_needs_no_redis(talk: Talk, redis_server: Redis) -> None:
    talk.start()
    told()
    redis_server.kill()
    with failing_at("cancel.take", AssertionError("Redis was asked")):
        posted = talk.post(on_busy="rollback")
    assert queue(talk) == [posted.run_id]


@pytest.mark.parametrize("way", ["interrupt", "rollback"])
def test_a_run_that_waits_for_a_person_or_for_its_turn_is_replaced_too(talk: Talk, redis: Any, way: str) -> None:
    asking = ask_people(talk.start())
    rung(redis)
    posted = talk.post(on_busy=way)
    assert queue(talk) == [posted.run_id] and rung(redis) == [posted.run_id]
    assert ChatSession.objects.get(pk=talk.pk).status == "active"
    again = talk.post("Again", on_busy=way)
    assert queue(talk) == [again.run_id], "it had not begun yet, and is replaced all the same"
    assert [Run.objects.get(pk=pk).position for pk in (asking.pk, posted.run_id, again.run_id)] == [asking.position] * 3
    statuses = Run.objects.filter(pk__in=[asking.pk, posted.run_id]).values_list("status", flat=True)
    assert set(statuses) == {"cancelled"}
    assert Interrupt.objects.get(run_id=asking.pk).status == "withdrawn"
    assert ("interrupt.resolved", asking.pk) in log_of(talk, 0)


@pytest.mark.parametrize("way", ["interrupt", "rollback"])
def test_what_takes_a_place_needs_none_of_its_own(talk: Talk, settings: Any, way: str) -> None:
    settings.CHAT_WAITING_PER_SESSION = 1
    talk.start()
    talk.post("Next")
    assert talk.post("Now", on_busy=way).run_id == queue(talk)[0]


def test_what_joined_an_interrupted_run_unread_is_not_lost(talk: Talk) -> None:
    talk.start("Count")
    late = talk.post("In German", talk.ben, on_busy="join")
    now = talk.post("Stop, sing", on_busy="interrupt")
    assert queue(talk)[0] == now.run_id and queue(talk)[1] == UUID(data_of(late.message_id)["run_id"])


def test_questions_of_one_place_are_read_in_their_order(talk: Talk) -> None:
    talk.start("One")
    talk.post("Two", on_busy="interrupt")
    talk.claim()
    talk.post("Three", on_busy="interrupt")
    assert told_to(talk.claim()) == ["u: One", "u: Two", "u: Three"]


def test_without_an_open_run_there_is_nothing_to_stop(talk: Talk, redis: Any) -> None:
    for way in ("interrupt", "rollback"):
        posted = talk.post(on_busy=way)
        assert rung(redis) == [posted.run_id]
        finish(talk.claim())


# --- of a session -----------------------------------------------------------------------------------------------------


def test_a_session_has_a_way_of_its_own_and_a_message_may_choose_another(talk: Talk) -> None:
    before = talk.last_seq
    session = sessions.update_session(talk.ada, talk.pk, SessionChange(on_busy="reject"))
    assert session.as_data()["on_busy"] == "reject" and talk.types(before) == ["session.updated"]
    run = talk.start()
    with pytest.raises(Busy):
        talk.post()
    assert talk.post(on_busy="join").run_id == run.pk
    talk.post(on_busy="queue")
    sessions.update_session(talk.ada, talk.pk, SessionChange(on_busy="interrupt"))
    assert talk.post().run_id == queue(talk)[0]


def test_a_closed_session_is_steered_no_more(talk: Talk) -> None:
    run = talk.start()
    posted = talk.post("More", on_busy="join")
    sessions.close_session(talk.ada, talk.pk)
    for way in ("join", "interrupt", "rollback"):
        with pytest.raises(SessionClosed):
            talk.post(on_busy=way)
    finish(run)
    assert queue(talk) == [UUID(data_of(posted.message_id)["run_id"])], "what was taken is answered"


# --- races ------------------------------------------------------------------------------------------------------------

WAYS = ["queue", "join", "interrupt", "rollback", "reject"]


def _holds(talk: Talk, run: Run, outcome: Any, ended: Any) -> None:
    """After a message and something else at once: an order in which they happened, and everything answered once."""
    now = Run.objects.get(pk=run.pk)
    cancelled = now.status == "cancelled"
    assert isinstance(ended, Fenced | Conflict) == (cancelled and not isinstance(ended, Run)) or now.status != "running"
    if isinstance(outcome, Busy):
        assert queue(talk) in ([], [run.pk])
        return
    assert isinstance(outcome, messages.Posted), outcome
    message = Message.objects.get(pk=outcome.message_id)
    open_runs = queue(talk)
    left = UUID(str(message.run_id))
    assert left in open_runs or (message.joined and message.read_step is not None), "nobody is going to answer it"
    assert len(open_runs) == len(set(open_runs)) <= 2


@pytest.mark.parametrize("way", WAYS)
def test_a_message_and_an_end_at_once(talk: Talk, threads: Threads, way: str) -> None:
    for number in range(3):
        run = talk.start(f"Question {number}")
        outcome, ended = threads.at_once(
            lambda way=way: talk.post("Meanwhile", talk.ben, on_busy=way), lambda run=run: finish(run)
        )
        assert isinstance(ended, Run | Fenced), ended
        _holds(talk, run, outcome, ended)
        assert (Run.objects.get(pk=run.pk).status == "cancelled") == isinstance(ended, Fenced)
        while queue(talk):
            finish(talk.claim())


@pytest.mark.parametrize("way", WAYS)
def test_a_message_and_a_stop_at_once(talk: Talk, threads: Threads, way: str) -> None:
    run = talk.start("Question")
    outcome, ended = threads.at_once(
        lambda: talk.post("Meanwhile", talk.ben, on_busy=way), lambda: runs.cancel_run(talk.ada, run.pk)
    )
    assert ended.run.status == "cancelled"
    _holds(talk, run, outcome, ended)
    while queue(talk):
        finish(talk.claim())
    cancelled = Event.objects.filter(session_id=talk.pk, type="run.cancelled", run_id=run.pk)
    assert cancelled.count() == 1


@pytest.mark.parametrize("way", WAYS)
def test_a_message_and_a_claim_at_once(talk: Talk, threads: Threads, way: str) -> None:
    for _ in range(3):
        run = talk.queue("Question")
        outcome, claimed = threads.at_once(
            lambda way=way: talk.post("Meanwhile", talk.ben, on_busy=way),
            lambda: claims.claim_run(talk.worker_id, talk.pk),
        )
        if isinstance(outcome, messages.Posted):
            message = Message.objects.get(pk=outcome.message_id)
            assert message.run_id in queue(talk)
            if message.joined and message.read_step == 0:
                assert told_to(claimed)[-1] == "u: Meanwhile", "marked as read and not read"
        else:
            assert isinstance(outcome, Busy) and way == "reject"
        assert isinstance(claimed, Run), claimed
        if Run.objects.get(pk=run.pk).status == "cancelled" and claimed.pk == run.pk:
            with pytest.raises(Fenced):
                finish(claimed)
        while queue(talk):
            held = Run.objects.select_related("agent").filter(session_id=talk.pk, status="running").first()
            finish(held or talk.claim())


@pytest.mark.parametrize("way", WAYS)
def test_a_message_and_an_interruption_at_once(talk: Talk, threads: Threads, way: str) -> None:
    for _ in range(2):
        run = talk.start("Question")
        outcome, other = threads.at_once(
            lambda way=way: talk.post("One", on_busy=way),
            lambda: talk.post("Other", talk.ben, on_busy="interrupt"),
        )
        assert Run.objects.get(pk=run.pk).status == "cancelled" and isinstance(other, messages.Posted)
        left = queue(talk)
        if way == "reject":
            assert isinstance(outcome, Busy) and left == [other.run_id]
        elif way in {"interrupt", "rollback"}:
            assert len(left) == 1 and left[0] in {outcome.run_id, other.run_id}, "one of the two was the last word"
            assert Run.objects.get(pk=left[0]).position == run.position
        else:
            message = Message.objects.get(pk=outcome.message_id)
            assert left[0] == other.run_id and message.run_id in left and len(left) <= 2
        while queue(talk):
            finish(talk.claim())
        unread = Message.objects.unread().filter(session_id=talk.pk)
        assert not unread.exists() and ChatSession.objects.get(pk=talk.pk).status == "waiting"


def test_an_answer_that_ends_while_its_draft_is_taken_is_kept_whole(talk: Talk, threads: Threads) -> None:
    run = talk.start("Question")
    with stopped_at("cancel.take") as stop:
        sending = threads.start(talk.post, "Meanwhile", on_busy="interrupt")
        stop.wait()
        finish(run, "The whole answer.")
        stop.go_on()
        posted = sending.result()
    assert Run.objects.get(pk=run.pk).status == "succeeded" and queue(talk) == [posted.run_id]
    assert Message.objects.get(pk=run.answer_id).data == {}


def test_an_answer_that_is_begun_anew_while_its_draft_is_taken_is_taken_anew(
    talk: Talk, threads: Threads, redis: Any
) -> None:
    run = talk.start("Question")
    with stopped_at("cancel.take") as stop:
        sending = threads.start(talk.post, "Meanwhile", on_busy="interrupt")
        stop.wait()
        attempts.put_back(run, "drained")
        again = talk.claim()
        show(redis, again, "Anew")
        stop.go_on()
        posted = sending.result()
    assert (again.pk, queue(talk)) == (run.pk, [posted.run_id])
    assert [m.content for m in Message.objects.filter(pk__in=[run.answer_id, again.answer_id])] == ["Anew"]


@pytest.mark.postgres
@pytest.mark.parametrize("way", ["join", "interrupt", "rollback"])
def test_an_end_that_waits_behind_a_message_is_one_after_it(talk: Talk, threads: Threads, way: str) -> None:
    run = talk.start("Question")
    with stopped_at("steer.stopped" if way != "join" else "steer.joined") as stop:
        sending = threads.start(talk.post, "Meanwhile", on_busy=way)
        stop.wait()
        ending = threads.start(finish, run)
        wait_until_blocked()
        stop.go_on()
        posted = sending.result()
        if way == "join":
            ending.result()
            assert queue(talk) == [Message.objects.get(pk=posted.message_id).run_id]
        else:
            with pytest.raises(Fenced):
                ending.result()
            assert queue(talk) == [posted.run_id]
