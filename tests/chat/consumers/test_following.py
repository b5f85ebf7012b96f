"""A session that is followed: what is told, in which order, and until when."""

import asyncio
import gc
import weakref
from typing import Any

import pytest

from chat import failpoints
from chat.actions import members, sessions
from chat.database import reading, writing
from chat.hub import hubs
from chat.models import ChatSession
from chat.protocol.commands import NewMember, NewSession
from tests.chat.consumers.sockets import gated, socket_of
from tests.chat.hub.watching import Pen, act, act_unheard, nothing_is_left, until
from tests.inside import Talk


async def test_ok_comes_first_then_the_events_then_the_drafts_then_what_is_new(talk: Talk) -> None:
    pen = Pen(await act(talk.start))
    await act(pen.write, "So far")
    async with socket_of(talk.ben) as socket:
        last = await reading(lambda: talk.last_seq)
        await socket.ok("session.subscribe", session_id=str(talk.pk), after=2)
        assert socket.frames[-1]["type"] == "ok"
        await socket.until(lambda frame: frame["type"] == "message.delta")
        await act(pen.write, ", and more")
        await socket.until(lambda frame: frame["data"].get("text") == ", and more")
        kinds = [frame["type"] for frame in socket.frames[2:]]
        assert kinds[-2:] == ["message.delta", "message.delta"] and "message.delta" not in kinds[:-2]
        assert socket.log(talk.pk) == list(range(3, last + 1))
        await act(pen.finish)
        await socket.until(lambda frame: frame["type"] == "run.succeeded")


async def test_a_cancel_is_told_before_its_ok(talk: Talk) -> None:
    pen = Pen(await act(talk.start))
    await act(pen.write, "So far")
    async with socket_of(talk.ada) as socket:
        await socket.ok("session.subscribe", session_id=str(talk.pk), after=0)
        await socket.ok("run.cancel", run_id=str(pen.run.pk))
        kinds = [frame["type"] for frame in socket.frames]
        assert kinds[-1] == "ok" and kinds[-2] == "run.cancelled"
        fold = socket.fold(talk.pk)
        assert fold.messages[pen.message_id]["content"] == "So far"


async def test_a_cancel_is_told_before_its_ok_to_one_that_is_still_being_told_the_past(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    pen = Pen(await act(talk.start))
    go_on = asyncio.Event()
    failpoints.armed["hub.join.page"] = go_on.wait  # type: ignore[assignment]
    async with socket_of(talk.ada) as socket:
        await socket.ok("session.subscribe", session_id=str(talk.pk), after=0)
        cancelling = await socket.send("run.cancel", run_id=str(pen.run.pk))
        await until(lambda: any(hub.last >= 8 for hub in hubs._hubs.values()), "it is cancelled")
        assert (await socket.ask("ping"))["type"] == "pong"
        go_on.set()
        await socket.answer(cancelling)
        assert [frame["type"] for frame in socket.frames][-2:] == ["run.cancelled", "ok"]
        socket.fold(talk.pk)


async def test_subscribing_again_starts_again(talk: Talk) -> None:
    pen = Pen(await act(talk.start))
    await act(pen.write, "So far")
    async with socket_of(talk.ada) as socket:
        for _ in range(3):
            socket.frames.clear()
            await socket.ok("session.subscribe", session_id=str(talk.pk), after=0)
            await socket.until(lambda frame: frame["type"] == "message.delta")
            socket.fold(talk.pk)
        assert len(hubs._hubs[talk.pk].viewers) == hubs._hubs[talk.pk].holders == 1


async def test_an_invalid_beginning_leaves_the_subscription_as_it_was(talk: Talk) -> None:
    async with socket_of(talk.ada) as socket:
        last = (await socket.ok("session.subscribe", session_id=str(talk.pk)))["last_seq"]
        assert await socket.refused("session.subscribe", session_id=str(talk.pk), after=last + 1) == "invalid_input"
        await act(talk.post, "Still here")
        await socket.until(lambda frame: frame["type"] == "run.queued")
        socket.fold(talk.pk, after=last)


async def test_what_is_no_longer_kept_is_refused_and_never_said_to_be_ok(talk: Talk) -> None:
    await act(talk.answer)

    def prune() -> None:
        talk.session.events.filter(seq__lt=6).delete()
        ChatSession.objects.filter(pk=talk.pk).update(kept_from=6)

    await writing(prune)
    try:
        async with socket_of(talk.ada) as socket:
            assert await socket.refused("session.subscribe", session_id=str(talk.pk), after=4) == "too_old"
    finally:
        await writing(sessions.delete_session, talk.ada, talk.pk)  # a log that is not whole fails what all tests check


async def test_what_waits_of_an_old_subscription_does_not_mix_with_the_new_one(talk: Talk) -> None:
    """A slow socket has pieces of the old one in its queue when the new one begins."""
    pen = Pen(await act(talk.start))
    async with gated(talk.ada, talk) as (socket, gate):
        [old] = hubs._hubs[talk.pk].viewers
        gate.clear()
        await act(pen.write, "So far")
        await act(talk.post, "More")
        again = await socket.send("session.subscribe", session_id=str(talk.pk), after=0)
        await until(lambda: old not in hubs._hubs[talk.pk].viewers, "the old one is over")
        await until(lambda: hubs._hubs[talk.pk].viewers, "it follows again")
        gate.set()
        await socket.answer(again)
        socket.frames.clear()
        await socket.until(lambda frame: frame["type"] == "message.delta")
        fold = socket.fold(talk.pk)
        assert fold.draft(str(pen.run.pk)) == "So far"


async def test_after_unsubscribing_nothing_comes_and_nothing_is_held(talk: Talk) -> None:
    async with socket_of(talk.ada) as socket:
        await socket.ok("session.subscribe", session_id=str(talk.pk), after=0)
        await socket.ok("session.unsubscribe", session_id=str(talk.pk))
        await nothing_is_left(talk)
        before = len(socket.frames)
        await act(talk.post, "Anybody there?")
        assert (await socket.ask("ping"))["type"] == "pong"
        assert len(socket.frames) == before + 1


async def test_one_socket_follows_many_sessions(talk: Talk) -> None:
    others = [await act(sessions.create_session, talk.ada, NewSession(title=str(n))) for n in range(5)]
    async with socket_of(talk.ada) as socket:
        for session in others:
            await socket.ok("session.subscribe", session_id=str(session.pk), after=0)
        for session in others:
            said = await socket.ok("message.send", session_id=str(session.pk), content="Hello")
            await socket.until(lambda frame: frame["type"] == "run.queued" and frame["run_id"] == said["run_id"])  # noqa: B023
        for session in others:
            socket.fold(session.pk)
    await until(lambda: not hubs._hubs, "all hubs end")


async def test_typing_is_told_to_the_others_alone(talk: Talk) -> None:
    async with socket_of(talk.ada) as ada, socket_of(talk.ben) as ben:
        for socket in (ada, ben):
            await socket.ok("session.subscribe", session_id=str(talk.pk))
        await ada.ok("typing", session_id=str(talk.pk), active=True)
        typing = await ben.until(lambda frame: frame["type"] == "typing")
        assert typing["data"] == {"user": talk.ada.as_data(), "active": True}
        assert (await ada.ask("ping"))["type"] == "pong"
        assert "typing" not in [frame["type"] for frame in ada.frames]


async def test_one_who_is_taken_out_is_told_and_may_not_come_back(talk: Talk) -> None:
    async with socket_of(talk.ben) as socket:
        last = (await socket.ok("session.subscribe", session_id=str(talk.pk), after=0))["last_seq"]
        await socket.until(lambda frame: frame["seq"] == last)  # before, an error tells it
        await act(members.remove_member, talk.ada, talk.pk, talk.ben.pk)
        await socket.until(lambda frame: frame["type"] == "session.member_removed")
        await nothing_is_left(talk)
        assert await socket.refused("session.subscribe", session_id=str(talk.pk)) == "not_found"


async def test_the_end_of_a_session_that_no_frame_told_is_an_error_that_names_it(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chat.hub.process.POSITION_S", 0.1)
    monkeypatch.setattr("chat.hub.process.POSITION_WITHOUT_REDIS_S", 0.1)
    async with socket_of(talk.ada) as socket:
        await socket.ok("session.subscribe", session_id=str(talk.pk), after=0)
        await act_unheard(sessions.delete_session, talk.ada, talk.pk)
        error = await socket.until(lambda frame: frame["type"] == "error")
        assert (error["session_id"], error["ref"], error["data"]["code"]) == (str(talk.pk), None, "not_found")
        await nothing_is_left(talk)


@pytest.mark.parametrize("way", ["deleted", "taken out"])
async def test_of_a_session_that_is_gone_a_socket_keeps_nothing(talk: Talk, way: str) -> None:
    """One that is open for weeks would keep all that it ever followed."""
    async with socket_of(talk.ben) as socket:
        gone = {}
        for _ in range(3):
            session = await act(sessions.create_session, talk.ada, NewSession())
            session_id = str(session.pk)
            await act(members.add_member, talk.ada, session.pk, NewMember(username="ben"))
            await socket.ok("session.subscribe", session_id=session_id, after=0)
            gone[session_id] = weakref.ref(hubs._hubs[session.pk])
            if way == "deleted":
                await act(sessions.delete_session, talk.ada, session.pk)
            else:
                await act(members.remove_member, talk.ada, session.pk, talk.ben.pk)
            await socket.until(lambda frame, one=session_id: frame["session_id"] == one and is_end(frame))

        def are_gone() -> bool:
            gc.collect()
            return not any(hub() for hub in gone.values())

        await until(are_gone, "their hubs are gone")
        for session_id in gone:
            assert await socket.refused("session.unsubscribe", session_id=session_id) == "not_found"


def is_end(frame: dict[str, Any]) -> bool:
    """The fact, or `not_found` where it was over before all up to it had been read."""
    return frame["type"] in {"session.deleted", "session.member_removed", "error"}
