"""What a live hub relays: durable frames once and in order, deltas only while they are true, and all that was lost."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from uuid import uuid4

import pytest
import redis as redis_py
from django.db import OperationalError

from chat import failpoints, shards, stream
from chat.actions import attempts, members, runs, sessions
from chat.database import reading, writing
from chat.errors import NotFound
from chat.hub import hub as hub_module
from chat.hub import hubs
from chat.outbox import outbox
from chat.protocol import Frame
from chat.protocol.commands import NewMember, SessionChange
from tests.chat.hub.watching import WAIT_S, Pen, Room, act, act_unheard, as_message, publish, until
from tests.servers import Redis


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The reads of the table that hubs make to catch up."""
    seen: list[str] = []
    failpoints.armed["hub.catch_up"] = lambda: seen.append("read")
    yield seen
    failpoints.armed.clear()


async def unheard_frames(room: Room, count: int) -> list[Frame]:
    """Make durable events that nobody is told of, for a test to tell as it likes."""
    last = await reading(lambda: room.talk.last_seq)
    while True:
        await act_unheard(sessions.update_session, room.talk.ada, room.talk.pk, SessionChange(title=uuid4().hex))
        table = await reading(room.talk.log, last)
        if len(table) >= count:
            return [event.as_frame() for event in table]


# --- durable frames ---------------------------------------------------------------------------------------------------


async def test_every_viewer_is_told_everything_once_whoever_repeats_it(room: Room) -> None:
    ada, ben = await room.join(), await room.join(room.talk.ben)
    await act(room.talk.answer)
    for event in await reading(room.talk.log):
        publish(room.talk.pk, as_message(event.as_frame()))
    await act(room.talk.post, "More")
    await room.agree(ada, ben)


async def test_a_frame_is_the_same_string_for_all_its_viewers(room: Room) -> None:
    texts = []
    for user in (room.talk.ada, room.talk.ben):
        watcher = await room.join(user, None)
        watcher.on_event = lambda frame, reader=watcher.reader: texts.append(frame.text_for(reader))  # type: ignore[method-assign, misc]
    await act(room.talk.post, "Hello")
    await until(lambda: len(texts) == 6, "both are told three things")
    queued = [text for text in texts if json.loads(text)["type"] == "run.queued"]
    assert queued[0] is queued[1]


async def test_two_processes_that_publish_the_other_way_round_cost_no_read_of_the_table(
    room: Room, reads: list[str]
) -> None:
    watcher = await room.join()
    for _ in range(5):
        one, two, three = await unheard_frames(room, 3)
        for frame in (three, two, one):
            publish(room.talk.pk, as_message(frame))
        await until(lambda: watcher.seq == three.seq, "all three are told")  # noqa: B023
    await asyncio.sleep(2 * hub_module.HOLD_S)
    assert reads == []
    await room.agree()


async def test_a_hole_that_stays_costs_one_read_however_many_come_after_it(room: Room, reads: list[str]) -> None:
    watcher = await room.join()
    frames = await unheard_frames(room, 12)
    for frame in frames[1:]:
        publish(room.talk.pk, as_message(frame))
    await until(lambda: watcher.seq == frames[-1].seq, "all are told")
    await asyncio.sleep(2 * hub_module.HOLD_S)
    assert reads == ["read"]
    assert not room.hub._held
    await room.agree()


async def test_a_lost_last_frame_is_found_by_looking_at_the_positions(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chat.hub.process.POSITION_S", 0.2)
    monkeypatch.setattr("chat.hub.process.POSITION_WITHOUT_REDIS_S", 0.1)
    await room.join()
    await act_unheard(room.talk.post, "Unheard")
    assert shards.layer().is_healthy(room.hub.group)
    await room.agree()


async def test_a_word_to_look_makes_it_look(room: Room) -> None:
    await room.join()
    await act_unheard(room.talk.post, "Unheard")
    publish(room.talk.pk, shards.layer().serialize({"type": "look"}))
    await room.agree()


async def test_frames_of_an_own_action_are_relayed_at_once_and_not_again(room: Room) -> None:
    watcher = await room.join()
    pen = await room.start()
    await act(pen.write, "So far")
    await room.shows(pen)
    outcome = await act_unheard(runs.cancel_run, room.talk.ada, pen.run.pk)
    await hubs.apply(room.talk.pk, outcome.frames)
    assert watcher.log[-1]["type"] == "run.cancelled"
    for frame in outcome.frames:
        publish(room.talk.pk, as_message(frame))
    await act(room.talk.post, "Next")
    await room.agree()


async def test_frames_of_an_own_action_after_a_hole_wait_for_the_table(room: Room) -> None:
    watcher = await room.join()
    pen = await room.start()
    await act_unheard(room.talk.post, "Unheard")
    outcome = await act_unheard(runs.cancel_run, room.talk.ada, pen.run.pk)
    await hubs.apply(room.talk.pk, outcome.frames)
    assert watcher.log[-1]["seq"] == outcome.frames[-1].seq
    await room.agree()


async def test_frames_of_an_own_action_for_a_hub_that_is_only_starting_wait_for_it(room: Room) -> None:
    pen = await room.start()
    applied: list[asyncio.Future[None]] = []

    async def meanwhile() -> None:
        del failpoints.armed["hub.read"]
        outcome = await act_unheard(runs.cancel_run, room.talk.ada, pen.run.pk)
        applied.append(asyncio.ensure_future(hubs.apply(room.talk.pk, outcome.frames)))
        await asyncio.sleep(0.05)
        assert not applied[0].done()

    failpoints.armed["hub.read"] = meanwhile
    await room.join()
    await applied[0]
    await room.agree()


async def test_where_another_process_was_faster_its_end_is_read_and_relayed_before_the_answer(room: Room) -> None:
    watcher = await room.join()
    pen = await room.start()
    await act_unheard(pen.finish)
    outcome = await act_unheard(runs.cancel_run, room.talk.ada, pen.run.pk)
    assert (outcome.run.status, outcome.frames) == ("succeeded", [])
    await hubs.apply(room.talk.pk, outcome.frames)
    assert watcher.log[-1]["type"] == "run.succeeded"
    await room.agree()


async def test_nobody_has_to_watch_what_an_own_action_did(room: Room) -> None:
    pen = await room.start()
    outcome = await act(runs.cancel_run, room.talk.ada, pen.run.pk)
    await hubs.apply(room.talk.pk, outcome.frames)
    assert room.talk.pk not in hubs._hubs


async def test_garbage_on_the_channel_does_no_harm(room: Room) -> None:
    await room.join()
    layer = shards.layer()
    shapes = [
        7, [], {}, {"type": "event"}, {"type": "event", "frame": [1, 2]}, {"type": "event", "frame": ["x"] * 9},
        {"type": "delta", "delta": None}, {"type": "delta", "delta": ["message.delta", 1]}, {"type": "live"},
        {"type": "unknown"},
    ]  # fmt: skip
    for shape in shapes:
        publish(room.talk.pk, layer.serialize(shape))
    publish(room.talk.pk, b"\xc1 not msgpack")
    pen = await room.start()
    await act(pen.write, "All is well")
    await room.shows(pen)
    await room.agree()


async def test_garbage_while_a_hub_starts_does_no_harm_either(room: Room) -> None:
    async def meanwhile() -> None:
        del failpoints.armed["hub.read"]
        for shape in ({"type": "event", "frame": [1, 2]}, {"type": "delta", "delta": None}, 7):
            publish(room.talk.pk, shards.layer().serialize(shape))
        await asyncio.sleep(0.01)

    failpoints.armed["hub.read"] = meanwhile
    await room.join()
    await act(room.talk.post, "All is well")
    await room.agree()


async def test_what_sockets_tell_each_other_goes_by_the_log(room: Room) -> None:
    watcher = await room.join()
    stream.publish_live(room.talk.pk, '{"type":"typing"}', sender="somebody")
    await until(lambda: watcher.live == ['{"type":"typing"}'], "it is told")


# --- deltas -----------------------------------------------------------------------------------------------------------


async def test_deltas_are_contiguous_whatever_is_repeated_cut_or_lost(room: Room) -> None:
    watcher = await room.join()
    pen = await room.start()
    first = await act(pen.write, "Grüße ")
    second = await act(pen.write, "an 🦉 ")
    await room.shows(pen)
    for again in (second, pen.delta("e an 🦉 ", 4), pen.delta("üße an 🦉 und", 2)):
        publish(room.talk.pk, stream.delta_message(again))
    await writing(pen.write, "und alle, ", lost=True)
    await act(pen.write, "die lesen")
    await room.shows(pen)
    pieces = watcher.deltas(pen.message_id)
    assert [piece["offset"] for piece in pieces[:2]] == [0, len(first.text)]
    assert pieces[-1]["offset"] == 0 and pieces[-1]["text"] == pen.text  # a hole: all of it, once more
    assert pieces[-1]["role"] == "assistant" and pieces[-1]["author"]["name"] == "assistant"
    await act(pen.finish)
    await room.agree()


async def test_what_is_written_anew_replaces_what_was_shown(room: Room) -> None:
    watcher = await room.join()
    pen = await room.start()
    await act(pen.write, "A wrong beginning, and a long one")
    await room.shows(pen)
    await writing(pen.write, "Anew", anew=True, lost=True)  # only Redis knows that what was shown is void
    await act(pen.write, ", and right")
    publish(room.talk.pk, shards.layer().serialize({"type": "look"}))
    await room.shows(pen)
    await act(pen.finish)
    await room.agree()
    assert watcher.fold.answer(str(pen.run.pk))["content"] == "Anew, and right"  # type: ignore[index]


@pytest.mark.parametrize("end", ["finish", "cancel", "fail", "restart", "delete"])
async def test_no_delta_follows_the_end_of_what_it_is_about(room: Room, end: str) -> None:
    watcher = await room.join()
    pen = await room.start()
    await act(pen.write, "So far")
    await room.shows(pen)
    late = [pen.delta("", 0), pen.delta("So far and", 0), pen.delta(" and", 6), pen.delta(" more", 10)]
    if end == "finish":
        await act(pen.finish)
    elif end == "cancel":
        await act(runs.cancel_run, room.talk.ada, pen.run.pk)
    elif end == "fail":
        error = {"code": "llm_timeout", "message": "Too late.", "temporary": True}
        await act(attempts.fail_run, pen.run, error, pen.text, attempts.Spending("demo"))
    elif end == "restart":
        await act(attempts.put_back, pen.run, "drained")
    else:
        await act(sessions.delete_session, room.talk.ada, room.talk.pk)
    for delta in late:
        publish(room.talk.pk, stream.delta_message(delta))
    if end == "restart":
        again = Pen(await act(room.talk.claim))
        for delta in late:
            publish(room.talk.pk, stream.delta_message(delta))
        await act(again.write, "Once more")
        await room.shows(again)
    if end != "delete":
        await act(room.talk.post, "And then")
        await room.agree()
    await asyncio.sleep(0.02)
    assert watcher.violation is None
    assert sum(piece["text"] == "So far" for piece in watcher.deltas(pen.message_id)) == 1
    assert len(watcher.deltas(pen.message_id)) == 1


async def test_a_delta_that_overtakes_the_start_of_its_run_waits_for_it(room: Room) -> None:
    watcher = await room.join()
    pen = Pen(await act_unheard(room.talk.start, "Hello?"))
    await act(stream.raise_fence, room.talk.pk, pen.run.pk, 1)  # it was lost with the rest
    await act(pen.write, "First!")
    await room.shows(pen)
    assert watcher.types[-2:] == ["run.started", "message.delta"]
    await act(pen.finish)
    await room.agree()


async def test_a_delta_of_a_run_that_ended_long_ago_is_dropped(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    old = await room.start()
    await act(old.write, "Long ago")
    await act(old.finish)
    watcher = await room.join(after=None)  # a new hub, which never saw it run
    publish(room.talk.pk, stream.delta_message(old.delta("still here", 0)))
    await act(room.talk.post, "Now")
    await room.agree()
    assert not watcher.deltas(old.message_id)


async def test_reasoning_and_text_of_one_message_do_not_mix(room: Room) -> None:
    watcher = await room.join()
    text = await room.start()
    thought = Pen(text.run, stream.REASONING)
    for n in range(5):
        await act(thought.write, f"thought {n} ")
        await act(text.write, f"word {n} ")
    await room.shows(text)
    late = await room.join(room.talk.ben)
    await room.shows(text)
    for one in (watcher, late):
        assert one.fold.drafts["reasoning", text.message_id].text == thought.text
    await act(text.finish)
    await room.agree()
    assert not watcher.fold.drafts and not room.hub._drafts.whole()


async def test_who_joins_in_the_middle_is_shown_all_of_it_so_far(room: Room) -> None:
    first = await room.join()
    pen = await room.start()
    for n in range(20):
        await act(pen.write, f"{n} ")
        if n % 5 == 0:
            await room.join(after=None)
    await room.shows(pen, first)
    for watcher in room.watchers:
        assert watcher.fold.draft(str(pen.run.pk)) == pen.text


# --- who may watch ----------------------------------------------------------------------------------------------------


async def test_one_who_is_taken_out_is_told_so_and_then_nothing_more(room: Room) -> None:
    ada, ben = await room.join(), await room.join(room.talk.ben)
    pen = await room.start()
    await act(members.remove_member, room.talk.ada, room.talk.pk, room.talk.ben.pk)
    await act(pen.write, "Among us")
    await room.shows(pen, ada)
    await room.agree(ada)
    assert ben.removed and ben.reason is None and ben.violation is None
    assert ben.types[-1] == "session.member_removed"


async def test_a_new_role_shows_in_the_frame_that_tells_of_it(room: Room) -> None:
    ben, other = await room.join(room.talk.ben), await room.join()
    for role in ("viewer", "member", "owner"):
        await act(members.add_member, room.talk.ada, room.talk.pk, NewMember(username="ben", role=role))  # type: ignore[arg-type]
        await until(lambda: ben.reader.role == role, "the role is known")  # noqa: B023
        assert ben.log[-1]["data"]["my_role"] == role
        assert ben.log[-1]["data"]["member"]["role"] == role
    assert other.log[-1]["data"]["my_role"] == "owner" and other.log[-2]["data"]["my_role"] == "owner"
    await act(sessions.update_session, room.talk.ada, room.talk.pk, SessionChange(title="Ours"))
    await until(lambda: ben.log[-1]["type"] == "session.updated", "it is told")
    assert ben.log[-1]["data"]["my_role"] == "owner"


async def test_a_deleted_session_is_told_and_then_over(room: Room) -> None:
    ada, ben = await room.join(), await room.join(room.talk.ben)
    hub = room.hub
    await act(sessions.delete_session, room.talk.ada, room.talk.pk)
    await until(lambda: ada.removed and ben.removed, "both are told")
    assert ada.types[-1] == ben.types[-1] == "session.deleted"
    assert ada.reason is ben.reason is None and hub.is_dead and not hub.viewers


async def test_a_deleted_session_that_nobody_was_told_of_is_missed_in_the_table(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chat.hub.process.POSITION_S", 0.2)
    monkeypatch.setattr("chat.hub.process.POSITION_WITHOUT_REDIS_S", 0.1)
    watcher = await room.join()
    await act_unheard(sessions.delete_session, room.talk.ada, room.talk.pk)
    await until(lambda: watcher.removed, "it is told")
    assert isinstance(watcher.reason, NotFound)


# --- catching up ------------------------------------------------------------------------------------------------------


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
