"""Joining a session while things happen: whatever comes between two steps, a viewer is told it once and in order."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import redis as redis_py
from django.db import OperationalError

from chat import failpoints
from chat.actions import attempts, members, sessions
from chat.database import reading, writing
from chat.errors import NotFound
from chat.hub import hubs, read_membership
from chat.protocol.commands import NewMember, SessionChange
from tests.chat.hub.watching import Pen, Room, Watcher, act, act_unheard, nothing_is_left, publish, until

STARTING = ["hub.subscribed", "hub.read", "hub.drafts"]
STEPS = [*STARTING, "hub.join.read", "hub.join.page"]


async def post(room: Room, pen: Pen) -> Pen:
    await act(room.talk.post, "More")
    return pen


async def post_unheard(room: Room, pen: Pen) -> Pen:
    await act_unheard(room.talk.post, "Unheard")
    return pen


async def write(room: Room, pen: Pen) -> Pen:
    await act(pen.write, " and more")
    return pen


async def write_unheard(room: Room, pen: Pen) -> Pen:
    await writing(pen.write, " and, unheard,", lost=True)
    return await write(room, pen)


async def finish(room: Room, pen: Pen) -> Pen:
    await act(pen.finish)
    publish(room.talk.pk, late_delta(pen))
    return await room.start("Next?")


async def finish_unheard(room: Room, pen: Pen) -> Pen:
    await act_unheard(pen.finish)
    return await room.start("Next?")


async def cancel(room: Room, pen: Pen) -> Pen:
    await act(room.talk.cancel, pen.run.pk)
    publish(room.talk.pk, late_delta(pen))
    return await room.start("Next?")


async def restart(room: Room, pen: Pen) -> Pen:
    await act(attempts.put_back, pen.run, "drained")
    again = Pen(await act(room.talk.claim))
    assert again.run.attempt == pen.run.attempt + 1
    await writing(again.write, "Once")
    publish(room.talk.pk, late_delta(pen))
    return again


async def rename(room: Room, pen: Pen) -> Pen:
    await act(sessions.update_session, room.talk.ada, room.talk.pk, SessionChange(title="Renamed"))
    return pen


def late_delta(pen: Pen) -> bytes:
    from chat import stream

    return stream.delta_message(pen.delta("too late", len(pen.text)))


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    "happen",
    [post, post_unheard, write, write_unheard, finish, finish_unheard, cancel, restart, rename],
    ids=lambda act: act.__name__,
)
async def test_whatever_happens_between_two_steps_is_told_once_and_in_order(
    room: Room, step: str, happen: Callable[[Room, Pen], Awaitable[Pen]]
) -> None:
    pen = await room.start()
    await writing(pen.write, "So far")

    async def meanwhile() -> None:
        nonlocal pen
        del failpoints.armed[step]
        pen = await happen(room, pen)
        await asyncio.sleep(0.01)  # what was published has arrived

    failpoints.armed[step] = meanwhile
    watcher = await room.join()
    assert step not in failpoints.armed, "the step was passed"
    await act(pen.write, ", and then")
    await room.shows(pen)
    await act(pen.finish)
    await act(room.talk.post, "Thanks")
    await room.agree()
    answer = watcher.fold.answer(str(pen.run.pk))
    assert answer is not None and answer["content"] == pen.text


@pytest.mark.parametrize("step", STARTING)
async def test_a_gap_that_is_told_while_the_hub_starts_is_read_up(room: Room, redis: redis_py.Redis, step: str) -> None:
    pen = await room.start()
    await writing(pen.write, "So far")

    async def meanwhile() -> None:
        del failpoints.armed[step]
        await act_unheard(room.talk.post, "Unheard")
        redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await asyncio.sleep(0.2)  # it is back, and has said so

    failpoints.armed[step] = meanwhile
    await room.join()
    await room.agree()
    await room.shows(pen)


async def test_two_who_come_at_the_same_moment_share_a_hub(room: Room) -> None:
    await act(room.talk.answer)
    ada, ben = await asyncio.gather(room.join(room.talk.ada), room.join(room.talk.ben))
    assert room.watchers[ada] is room.watchers[ben]
    await act(room.talk.post, "Hello, both")
    await room.agree()


@pytest.mark.parametrize("step", STEPS)
async def test_who_goes_while_joining_leaves_nothing_behind(room: Room, step: str) -> None:
    await act(room.talk.answer)
    reached = asyncio.Event()

    async def stay() -> None:
        reached.set()
        await asyncio.sleep(60)

    failpoints.armed[step] = stay
    joining = asyncio.ensure_future(room.join())
    await asyncio.wait_for(reached.wait(), 10)
    joining.cancel()
    await asyncio.wait({joining})
    await nothing_is_left(room.talk)
    del failpoints.armed[step]
    await room.agree(await room.join())


async def test_who_goes_while_joining_does_not_take_the_others_along(room: Room) -> None:
    await act(room.talk.answer)
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def stay() -> None:
        reached.set()
        await go_on.wait()

    failpoints.armed["hub.read"] = stay
    gone, staying = asyncio.ensure_future(room.join()), asyncio.ensure_future(room.join())
    await asyncio.wait_for(reached.wait(), 10)
    gone.cancel()
    await asyncio.sleep(0.01)
    go_on.set()
    await room.agree(await staying)


@pytest.mark.parametrize("step", STARTING)
async def test_a_hub_that_could_not_start_is_not_kept(room: Room, step: str) -> None:
    await act(room.talk.answer)

    async def fail() -> None:
        await asyncio.sleep(0.01)
        raise OperationalError("the database is away")

    failpoints.armed[step] = fail
    failed = await asyncio.gather(room.join(), room.join(room.talk.ben), return_exceptions=True)
    assert [type(one) for one in failed] == [OperationalError, OperationalError]
    await nothing_is_left(room.talk)
    del failpoints.armed[step]
    watcher = await room.join()
    await act(room.talk.post, "It is back")
    await room.agree(watcher)


async def test_who_comes_while_others_still_hold_a_hub_that_failed_gets_a_new_one(room: Room) -> None:
    async def fail() -> None:
        raise OperationalError("the database is away")

    failpoints.armed["hub.subscribed"] = fail
    broken = hubs.hold(room.talk.pk)
    await until(lambda: broken.is_dead, "it has failed")
    del failpoints.armed["hub.subscribed"]
    watcher = await room.join()
    assert room.watchers[watcher] is not broken
    hubs.release(broken)
    await act(room.talk.post, "Hello?")
    await room.agree(watcher)


@pytest.mark.parametrize("step", STEPS)
async def test_one_who_is_taken_out_while_joining_is_not_let_in(room: Room, step: str) -> None:
    """What was read before the hub was there may be over by now."""
    await act(room.talk.answer)
    ben = room.talk.ben
    session, reader = await reading(read_membership, ben, room.talk.pk)
    watcher = room.watcher(reader, 0)

    async def meanwhile() -> None:
        del failpoints.armed[step]
        await act(members.remove_member, room.talk.ada, room.talk.pk, ben.pk)
        await asyncio.sleep(0.01)

    failpoints.armed[step] = meanwhile
    with pytest.raises(NotFound):
        await hubs.join(watcher, session, 0)
    await act(room.talk.post, "Among us")
    assert "Among us" not in str(watcher.frames)


@pytest.mark.parametrize("step", STEPS)
async def test_a_role_that_changes_while_joining_is_the_new_one(room: Room, step: str) -> None:
    await act(room.talk.answer)
    ben = room.talk.ben

    async def meanwhile() -> None:
        del failpoints.armed[step]
        await act(members.add_member, room.talk.ada, room.talk.pk, NewMember(username="ben", role="viewer"))
        await asyncio.sleep(0.01)

    failpoints.armed[step] = meanwhile
    watcher = await room.join(ben)
    await until(lambda: watcher.seq == room.hub.last, "all is told")
    assert watcher.reader.role == watcher.fold.session["my_role"] == "viewer"


async def test_a_session_that_is_deleted_while_joining_is_not_found(room: Room) -> None:
    for step in STEPS:
        session = await act(sessions.create_session, room.talk.ada, sessions.NewSession())
        row, reader = await reading(read_membership, room.talk.ada, session.pk)

        async def meanwhile(step: str = step, session_id: object = session.pk) -> None:
            del failpoints.armed[step]
            await act(sessions.delete_session, room.talk.ada, session_id)
            await asyncio.sleep(0.01)

        failpoints.armed[step] = meanwhile
        with pytest.raises(NotFound):
            await hubs.join(Watcher(reader, str(session.pk), 0), row, 0)
        await until(lambda: session.pk not in hubs._hubs, "no hub is kept")  # noqa: B023
