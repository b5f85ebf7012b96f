"""A message and the end, a stop, a claim or another message at once: an order in which they happened."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from chat.actions import attempts, claims, messages
from chat.errors import Busy, Conflict, Fenced
from chat.models import ChatSession, Event, Message, Run
from tests.chat.actions.steering import finish, queue, show
from tests.inside import Talk
from tests.threads import Threads, stopped_at, wait_until_blocked
from tests.workers.talk_as_read import told_to

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
    outcome, ended = threads.at_once(lambda: talk.post("Meanwhile", talk.ben, on_busy=way), lambda: talk.cancel(run.pk))
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


def interrupts(talk: Talk) -> messages.Posted:
    return asyncio.run(talk.say("Meanwhile", on_busy="interrupt"))


def test_an_answer_that_ends_while_its_draft_is_taken_is_kept_whole(talk: Talk, threads: Threads) -> None:
    run = talk.start("Question")
    with stopped_at("cancel.take") as stop:
        sending = threads.start(interrupts, talk)
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
        sending = threads.start(interrupts, talk)
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
