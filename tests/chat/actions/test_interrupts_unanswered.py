"""Questions that get no answer: their run is stopped, or nobody answers in time and it goes on as if refused."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from chat.actions import attempts, interrupts
from chat.errors import AlreadyResolved, Expired
from chat.models import Agent, Interrupt, Message
from chat.protocol.commands import NewMessage
from tests.chat.actions.test_interrupts import REFUND, WHICH, YES, asks, resolve, state
from tests.inside import Talk, new_talk, rung
from tests.threads import deleted_before_it_is_locked

# --- taking back ------------------------------------------------------------------------------------------------------


def test_a_cancel_takes_back_what_the_run_asks(talk: Talk) -> None:
    first, second = asks(talk, REFUND, WHICH)
    resolve(talk.ada, first, YES)
    before = talk.last_seq
    talk.cancel(first.run_id, talk.ben)
    assert talk.types(before) == ["interrupt.resolved", "session.updated", "run.cancelled"]
    assert state(talk) == ("waiting", ["cancelled"])
    now = Interrupt.objects.get(pk=second.pk)
    assert (now.status, now.answer, now.resolved_by_id) == ("withdrawn", None, None)
    assert Interrupt.objects.get(pk=first.pk).status == "resolved", "what was answered stays answered"
    with pytest.raises(AlreadyResolved):
        resolve(talk.ada, second, {"text": "7"})


def test_what_was_cancelled_while_it_asked_asks_anew_when_it_is_asked_for_again(talk: Talk) -> None:
    [asked] = asks(talk)
    talk.cancel(asked.run_id)
    again = talk.retry(asked.run_id).run
    attempts.interrupt_run(talk.claim(), [REFUND])
    assert Interrupt.objects.open().get().run_id == again.pk


# --- nobody answers ---------------------------------------------------------------------------------------------------


def test_what_nobody_answered_is_settled_told_and_the_run_goes_on(talk: Talk, redis: Any) -> None:
    first, second = asks(talk, REFUND, WHICH, content="Refund my order", in_time=False)
    rung(redis)
    before = talk.last_seq
    assert interrupts.expire_interrupts() == 1
    assert talk.types(before) == [
        "interrupt.resolved",
        "interrupt.resolved",
        "message.created",
        "session.updated",
        "run.queued",
    ]
    statuses = Interrupt.objects.in_order().values_list("status", "answer", "resolved_by")
    assert list(statuses) == [("expired", None, None)] * 2
    assert rung(redis) == [first.run_id]
    notice = Message.objects.get(kind="notice")
    assert (notice.role, notice.run_id, notice.author["kind"]) == ("system", first.run_id, "system")
    assert "Refund order 7?" in notice.content and "Which order?" in notice.content
    assert notice.data["interrupt_ids"] == [str(first.pk), str(second.pk)]
    assert talk.claim().attempt == 2
    assert interrupts.expire_interrupts() == 0


def test_the_notice_says_what_to_send_to_be_asked_again(talk: Talk) -> None:
    asks(talk, content="Refund my order", in_time=False)
    interrupts.expire_interrupts()
    attempts.finish_run(talk.claim(), "Nobody allowed it.")
    again = NewMessage(**Message.objects.get(kind="notice").data["ask_again"])
    assert (again.content, again.agent) == ("Refund my order", Agent.DEFAULT)
    talk.post(**again.model_dump(exclude_unset=True))
    attempts.interrupt_run(talk.claim(), [REFUND])
    resolve(talk.ada, Interrupt.objects.open().get(), YES)


def test_what_still_has_time_is_left_open(talk: Talk) -> None:
    asks(talk)
    other = new_talk(talk.ada, talk.ben, talk.worker_id)
    expired = asks(other, in_time=False)
    Agent.objects.filter(name=Agent.DEFAULT).update(interrupt_expires_s=0)
    for_ever = new_talk(talk.ada, talk.ben, talk.worker_id)
    asks(for_ever)
    assert interrupts.expire_interrupts() == 1
    assert Interrupt.objects.get(status="expired").pk == expired[0].pk
    assert Interrupt.objects.open().count() == 2


def test_one_that_expires_leaves_the_run_waiting_for_the_other(talk: Talk, redis: Any) -> None:
    first, second = asks(talk, REFUND, WHICH)
    soon = timezone.now() - timedelta(seconds=1)
    Interrupt.objects.filter(pk=first.pk).update(expires_at=soon)
    rung(redis)
    interrupts.expire_interrupts()
    assert state(talk) == ("interrupted", ["interrupted"]) and not rung(redis)
    resolve(talk.ada, second, {"text": "7"})
    assert rung(redis) == [first.run_id]


def test_an_answer_that_comes_too_late_is_none_whether_a_sweep_came_by_or_not(talk: Talk) -> None:
    [asked] = asks(talk, in_time=False)
    for _ in range(2):
        with pytest.raises(Expired):
            resolve(talk.ada, asked, YES)
        interrupts.expire_interrupts()
    assert Interrupt.objects.get(pk=asked.pk).answer is None


def test_nothing_expires_in_a_session_that_vanishes(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    asks(talk, in_time=False)
    deleted_before_it_is_locked(interrupts, talk, monkeypatch)
    assert interrupts.expire_interrupts() == 0
