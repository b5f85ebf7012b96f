"""What a live hub relays: durable frames, once and in order, to those who may see them."""

import asyncio
import json
from collections.abc import Iterator
from uuid import uuid4

import pytest

from chat import failpoints, shards, stream
from chat.actions import members, sessions
from chat.database import reading
from chat.errors import NotFound
from chat.hub import hub as hub_module
from chat.hub import hubs
from chat.protocol import Frame
from chat.protocol.commands import NewMember, SessionChange
from tests.chat.hub.watching import Room, act, act_unheard, as_message, publish, until


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
    outcome = await act_unheard(room.talk.cancel, pen.run.pk)
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
    outcome = await act_unheard(room.talk.cancel, pen.run.pk)
    await hubs.apply(room.talk.pk, outcome.frames)
    assert watcher.log[-1]["seq"] == outcome.frames[-1].seq
    await room.agree()


async def test_frames_of_an_own_action_for_a_hub_that_is_only_starting_wait_for_it(room: Room) -> None:
    pen = await room.start()
    applied: list[asyncio.Future[None]] = []

    async def meanwhile() -> None:
        del failpoints.armed["hub.read"]
        outcome = await act_unheard(room.talk.cancel, pen.run.pk)
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
    outcome = await act_unheard(room.talk.cancel, pen.run.pk)
    assert (outcome.run.status, outcome.frames) == ("succeeded", [])
    await hubs.apply(room.talk.pk, outcome.frames)
    assert watcher.log[-1]["type"] == "run.succeeded"
    await room.agree()


async def test_nobody_has_to_watch_what_an_own_action_did(room: Room) -> None:
    pen = await room.start()
    outcome = await act(room.talk.cancel, pen.run.pk)
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
