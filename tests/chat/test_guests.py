"""Those who were let in are looked after together: asked about at once, and shown out each by themselves."""

import asyncio
from collections.abc import Iterable

import pytest
from django.db import OperationalError
from structlog.contextvars import bound_contextvars, get_contextvars

from chat import auth, guests, limits
from chat.auth import Credential
from chat.guests import Guests
from chat.models import User
from tests.inside import WAIT_S


class Somebody:
    def __init__(self, number: int) -> None:
        self.guest_id = str(number)
        self.credential = Credential(User(username=str(number)))
        self.is_stalled = False
        self.was: list[str] = []
        self.left = asyncio.Event()
        self.told_as: str | None = None

    async def on_stalled(self) -> None:
        self.was.append("stalled")
        self.left.set()

    async def on_ended(self) -> None:
        self.was.append("ended")
        self.told_as = get_contextvars().get("user_id")
        self.left.set()


class Desk:
    """What is asked of the database and of Redis, and who is no longer good."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.kept: list[int] = []
        self.ended: set[Credential] = set()
        self.is_away = False

    def check(self, credentials: Iterable[Credential]) -> set[Credential]:
        asked = list(credentials)
        self.asked.append(len(asked))
        if self.is_away:
            raise OperationalError("gone")
        return self.ended & set(asked)

    def keep(self, held: Iterable[tuple[object, str]]) -> None:
        self.kept.append(len(list(held)))


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    made = Desk()
    monkeypatch.setattr(guests, "WATCH_S", 0.02)
    monkeypatch.setattr(auth, "CHECK_S", 0.02)
    monkeypatch.setattr(auth, "ended", made.check)
    monkeypatch.setattr(limits, "keep_sockets", made.keep)
    return made


async def until_asked(desk: Desk, times: int) -> None:
    async with asyncio.timeout(WAIT_S):
        wanted = len(desk.asked) + times
        while len(desk.asked) < wanted:
            await asyncio.sleep(0.005)


async def test_all_are_asked_about_at_once_and_who_is_no_longer_good_is_shown_out(db: None, desk: Desk) -> None:
    here, everybody = Guests(), [Somebody(number) for number in range(5)]
    for one in everybody:
        with bound_contextvars(user_id=one.guest_id):
            here.enter(one, one.credential)
    await until_asked(desk, 2)
    assert set(desk.asked) == set(desk.kept) == {5}
    desk.ended = {everybody[3].credential}
    await asyncio.wait_for(everybody[3].left.wait(), WAIT_S)
    await until_asked(desk, 2)
    assert desk.asked[-1] == 4 and [one.was for one in everybody] == [[], [], [], ["ended"], []], "and once"
    assert everybody[3].told_as == "3", "the log says who it was"


async def test_of_very_many_only_so_many_are_asked_about_at_once(
    db: None, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guests, "ASKED_MAX", 2)
    here, everybody = Guests(), [Somebody(number) for number in range(5)]
    for one in everybody:
        here.enter(one, one.credential)
    desk.ended = {everybody[4].credential}
    await asyncio.wait_for(everybody[4].left.wait(), WAIT_S)
    assert desk.asked[:3] == [2, 2, 1]


async def test_one_that_takes_nothing_is_shown_out_and_holds_up_nobody(db: None, desk: Desk) -> None:
    here, slow, slower, other = Guests(), Somebody(1), Somebody(2), Somebody(3)

    async def never() -> None:
        await asyncio.Event().wait()

    slow.on_stalled = never  # type: ignore[method-assign]
    for one in (slow, slower, other):
        here.enter(one, one.credential)
    slow.is_stalled = slower.is_stalled = True
    await asyncio.wait_for(slower.left.wait(), WAIT_S)
    await until_asked(desk, 1)
    assert desk.asked[-1] == 1 and other.was == []
    for task in here._leaving:
        task.cancel()


async def test_while_the_database_is_away_everybody_stays_and_is_asked_about_afterwards(db: None, desk: Desk) -> None:
    here, one = Guests(), Somebody(1)
    here.enter(one, one.credential)
    desk.is_away, desk.ended = True, {one.credential}
    await until_asked(desk, 2)
    assert not one.was and len(desk.kept) >= 2, "they are counted all the same"
    desk.is_away = False
    await asyncio.wait_for(one.left.wait(), WAIT_S)


async def test_who_has_left_is_asked_about_no_more_and_an_empty_house_is_not_watched(db: None, desk: Desk) -> None:
    here, one, other = Guests(), Somebody(1), Somebody(2)
    here.enter(one, one.credential)
    await until_asked(desk, 1)
    here.leave(one)
    watching = here._watching
    assert watching is not None
    await asyncio.wait_for(watching, WAIT_S)
    here.enter(other, other.credential)
    before = len(desk.asked)
    await until_asked(desk, 1)
    assert len(desk.asked) > before
    here.leave(other)


async def test_one_who_breaks_the_look_ends_it_for_nobody_else(
    db: None, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, everybody = Guests(), [Somebody(number) for number in range(2)]
    for one in everybody:
        here.enter(one, one.credential)
    broken = asyncio.Event()

    def check(credentials: Iterable[Credential]) -> set[Credential]:
        loop.call_soon_threadsafe(broken.set)
        raise RuntimeError("a bug")

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(auth, "ended", check)
    await asyncio.wait_for(broken.wait(), WAIT_S)
    monkeypatch.setattr(auth, "ended", desk.check)
    everybody[1].is_stalled = True
    await asyncio.wait_for(everybody[1].left.wait(), WAIT_S)
    assert [one.was for one in everybody] == [[], ["stalled"]]


async def test_where_the_database_is_away_the_others_are_not_asked_about_either(
    db: None, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guests, "ASKED_MAX", 1)
    monkeypatch.setattr(auth, "CHECK_S", 3600.0)
    desk.is_away = True
    here = Guests()
    for number in range(5):
        one = Somebody(number)
        here.enter(one, one.credential)
    await here._check_all()
    assert desk.asked == [1]
