"""Somebody is taken out, and told so, while what they asked for waits for the session: it is not done any more."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from chat.actions import interrupts, members, messages, runs, sessions
from chat.actions.events import Log
from chat.errors import NotAllowed, NotFound
from chat.models import Member, Run, User
from chat.protocol.commands import NewMember, SessionChange
from tests.chat.actions.test_interrupts import YES, asks, resolve
from tests.chat.actions.test_runs import fails
from tests.inside import Talk

Asked = Callable[[User], Any]


def answers(talk: Talk) -> Asked:
    [asked] = asks(talk)
    return lambda ben: resolve(ben, asked, YES)


def asks_again(talk: Talk) -> Asked:
    failed = fails(talk.start())
    return lambda ben: talk.retry(failed.pk, ben)


def cancels(talk: Talk) -> Asked:
    run = talk.start()
    return lambda ben: talk.cancel(run.pk, ben)


def moves(talk: Talk) -> Asked:
    waiting = [talk.queue() for _ in range(3)]
    return lambda ben: runs.move_run(ben, waiting[2].pk, waiting[1].pk)


def changes_what_was_said(talk: Talk) -> Asked:
    posted = talk.post(by=talk.ben)
    return lambda ben: messages.update_message(ben, posted.message_id, "Something else")


WAYS: dict[str, Callable[[Talk], Asked]] = {
    "answer a question": answers,
    "ask again": asks_again,
    "cancel": cancels,
    "move": moves,
    "change a message": changes_what_was_said,
    "say something": lambda talk: lambda ben: talk.post("And me?", ben),
    "change the session": lambda talk: lambda ben: sessions.update_session(ben, talk.pk, SessionChange(title="Mine")),
    "close": lambda talk: lambda ben: sessions.close_session(ben, talk.pk),
    "reopen": lambda talk: lambda ben: sessions.reopen_session(ben, talk.pk),
    "delete": lambda talk: lambda ben: sessions.delete_session(ben, talk.pk),
    "let somebody in": lambda talk: lambda ben: members.add_member(ben, talk.pk, NewMember(username="eve")),
    "send an owner away": lambda talk: lambda ben: members.remove_member(ben, talk.pk, talk.ada.pk),
    "leave": lambda talk: lambda ben: members.remove_member(ben, talk.pk, ben.pk),
}


@pytest.fixture
def before_the_lock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Callable[[], Any]]]:
    """What happens between the first look at who asks and their turn."""
    real, happens = members.locked, list[Callable[[], Any]]()

    def locked(*args: Any) -> AbstractContextManager[Log]:
        while happens:
            happens.pop()()
        return real(*args)

    monkeypatch.setattr(members, "locked", locked)
    yield happens
    assert not happens, "nobody was asked under the lock"


@pytest.mark.parametrize("way", WAYS)
def test_who_was_taken_out_meanwhile_does_nothing_any_more(
    talk: Talk, eve: User, before_the_lock: list[Callable[[], Any]], way: str
) -> None:
    ben = Member.objects.filter(session_id=talk.pk, user=talk.ben)
    ben.update(role="owner")
    asked, before = WAYS[way](talk), talk.types()
    before_the_lock.append(ben.delete)
    with pytest.raises(NotFound):
        asked(talk.ben)
    assert talk.types() == before


@pytest.mark.parametrize("way", [*WAYS][:-1])
def test_who_may_only_read_by_now_does_nothing_any_more(
    talk: Talk, eve: User, before_the_lock: list[Callable[[], Any]], way: str
) -> None:
    ben = Member.objects.filter(session_id=talk.pk, user=talk.ben)
    ben.update(role="owner")
    asked, before = WAYS[way](talk), talk.types()
    before_the_lock.append(lambda: ben.update(role="viewer"))
    with pytest.raises(NotAllowed):
        asked(talk.ben)
    assert talk.types() == before


def test_an_operator_needs_no_place_in_the_session(talk: Talk, eve: User) -> None:
    [asked] = asks(talk)
    resolve(eve, asked, YES, by_operator=True)
    assert runs.cancel_as_operator(eve, asked.run_id).run.status == Run.Status.CANCELLED
    assert interrupts.expire_interrupts() == 0
