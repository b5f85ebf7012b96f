"""What a live hub missed is read from the table, whatever fails meanwhile."""

import asyncio
import time

import pytest
import redis as redis_py
from django.db import OperationalError

from chat import failpoints, shards, stream
from chat.actions import sessions
from chat.database import reading, writing
from chat.errors import TooOld
from chat.hub import hub as hub_module
from chat.hub import hubs
from chat.models import ChatSession
from chat.outbox import outbox
from tests.chat.hub.watching import WAIT_S, Pen, Room, act, act_unheard, as_message, publish, until
from tests.servers import Redis

# --- while the database fails -----------------------------------------------------------------------------------------


async def test_a_catch_up_that_fails_is_tried_again_until_it_succeeds(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "RETRY_S", 0.02)
    watcher = await room.join()
    tries = 0

    def fail() -> None:
        nonlocal tries
        tries += 1
        if tries <= 3:
            raise OperationalError("the database is away")

    failpoints.armed["hub.catch_up"] = fail
    await act_unheard(room.talk.post, "Unheard")
    last = await reading(room.talk.log)
    publish(room.talk.pk, as_message(last[-1].as_frame()))  # the last one alone: a hole before it
    await until(lambda: watcher.seq == last[-1].seq, "the hole is filled")
    assert tries == 4
    await room.agree()


async def test_who_joins_while_catching_up_fails_is_refused_and_may_come_again(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chat.errors import Unavailable

    monkeypatch.setattr(hub_module, "RETRY_S", 0.05)
    await room.join()
    await act_unheard(room.talk.post, "Unheard")

    def fail() -> None:
        raise OperationalError("the database is away")

    failpoints.armed["hub.catch_up"] = fail
    with pytest.raises(Unavailable):
        await room.join(room.talk.ben)
    del failpoints.armed["hub.catch_up"]
    await room.join(room.talk.ben)
    await room.agree()


async def test_who_asks_and_goes_does_not_spoil_the_read_for_others(room: Room) -> None:
    await room.join()
    await act_unheard(room.talk.post, "Unheard")
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def stay() -> None:
        reached.set()
        await go_on.wait()

    failpoints.armed["hub.catch_up"] = stay
    ben, eve = (asyncio.ensure_future(room.join(room.talk.ben)) for _ in range(2))
    await asyncio.wait_for(reached.wait(), WAIT_S)
    ben.cancel()
    await asyncio.sleep(0.01)
    go_on.set()
    await asyncio.wait_for(eve, WAIT_S)
    await room.agree()


async def test_a_live_hub_whose_next_events_were_pruned_is_at_its_end(room: Room) -> None:
    watcher = await room.join()
    await act_unheard(room.talk.answer)
    last = await reading(lambda: room.talk.last_seq)

    def prune() -> None:
        room.talk.session.events.filter(seq__lt=last).delete()
        ChatSession.objects.filter(pk=room.talk.pk).update(kept_from=last)

    await writing(prune)
    try:
        assert not await asyncio.wait_for(asyncio.shield(room.hub.resync()), WAIT_S)  # else it reads on for ever
        assert watcher.removed and isinstance(watcher.reason, TooOld)
    finally:
        # The log is whole no more: what all tests check in the end does not hold for it.
        await writing(sessions.delete_session, room.talk.ada, room.talk.pk)


# --- without Redis ----------------------------------------------------------------------------------------------------


async def test_a_killed_subscription_is_read_up(room: Room, redis: redis_py.Redis) -> None:
    pen = await room.start()
    await room.join()
    await act(pen.write, "So far")
    await room.shows(pen)
    await act_unheard(room.talk.post, "Unheard")
    await writing(pen.write, " and unheard", lost=True)
    redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    await room.shows(pen)
    await room.agree()


async def test_without_redis_from_the_start_the_table_is_looked_at_twice_a_second(
    room: Room, redis_server: Redis
) -> None:
    await act(room.talk.answer)
    redis_server.kill()
    watcher = await room.join()
    assert not shards.layer().is_healthy(room.hub.group)
    began = time.monotonic()
    await writing(room.talk.post, "Without Redis")
    last = await reading(lambda: room.talk.last_seq)
    await until(lambda: watcher.seq == last, "it is found in the table")
    assert time.monotonic() - began < WAIT_S / 4
    redis_server.start()
    await until(lambda: shards.layer().is_healthy(room.hub.group), "Redis is heard again")
    outbox.recover()
    pen = Pen(await act(room.talk.claim))
    await act(pen.write, "Live again")
    await room.shows(pen)
    await room.agree()


async def test_a_redis_that_dies_under_a_live_hub_and_comes_back_empty_costs_nothing_durable(
    room: Room, redis_server: Redis
) -> None:
    await room.join()
    pen = await room.start()
    await act(pen.write, "Before it died")
    await room.shows(pen)
    redis_server.kill()
    await writing(room.talk.post, "While it was away")
    redis_server.start()
    await room.agree()
    outbox.recover()
    await act(stream.raise_fence, room.talk.pk, pen.run.pk, 1)
    await act(pen.write, "All of it, after it came back", anew=True)
    await room.shows(pen)
    await act(pen.finish)
    await room.agree()


async def test_nobody_looks_at_positions_when_nobody_watches(room: Room) -> None:
    watcher = await room.join()
    checking = hubs._checking
    assert checking is not None and not checking.done()
    room.leave(watcher)
    await until(checking.done, "the check has ended")
