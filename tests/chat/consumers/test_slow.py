"""A client that is slow goes on from what it was sent, and one that takes nothing is given up."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings

from chat import consumers, guests, shards, stream
from chat import writer as writer_module
from chat.actions import members
from chat.consumers import ChatConsumer
from chat.database import reading
from chat.hub import hubs
from tests.chat.consumers.sockets import WAIT_S, Socket, gated
from tests.chat.hub.watching import Pen, act, nothing_is_left, until
from tests.inside import Talk


async def test_one_that_falls_behind_goes_on_from_what_was_written_and_keeps_its_answers(
    talk: Talk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(writer_module, "QUEUED_MAX", 20_000)
    monkeypatch.setattr(writer_module, "ROOM", 5_000)
    monkeypatch.setattr("chat.hub.hub.GULP", 5_000)
    async with gated(talk.ada, talk) as (socket, gate):
        for times in range(3):
            gate.clear()
            for number in range(12):
                await act(talk.answer, f"Question {times} {number}", "x" * 700)
            pen = Pen(await act(talk.start, "And?"))
            await act(pen.write, "So far")
            refs = [await socket.send("message.send", session_id=str(talk.pk), content=f"Mine {n}") for n in range(3)]
            refs.append(await socket.send("typing", session_id=str(talk.pk), active=True))
            await until(socket.wire.input_queue.empty, "all commands were read")
            await asyncio.sleep(0.1)
            gate.set()
            for ref in refs:
                assert (await socket.until(lambda frame: frame.get("ref") == ref))["type"] == "ok"  # noqa: B023
            await act(pen.write, ", and more")
            await socket.until(lambda frame: frame["data"].get("text", "").endswith(", and more"))
            await act(pen.finish)
            for run in await reading(_waiting, talk):
                await act(talk.cancel, run)
        await act(talk.post, "The last one")
        last = await reading(lambda: talk.last_seq)
        await socket.until(lambda frame: frame["seq"] == last)
        assert socket.log(talk.pk) == list(range(1, last + 1))
        socket.fold(talk.pk)
        assert caplog.text.count("fell behind") >= 3


def _waiting(talk: Talk) -> list[UUID]:
    from chat.models import Run

    return list(Run.objects.open().filter(session_id=talk.pk).values_list("pk", flat=True))


async def test_a_cancel_is_told_before_its_ok_to_one_that_fell_behind(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "QUEUED_MAX", 5_000)
    async with gated(talk.ada, talk) as (socket, gate):
        gate.clear()
        await act(talk.answer, "A question", "x" * 6_000)
        pen = Pen(await act(talk.start, "Another"))
        last = await reading(lambda: talk.last_seq)
        cancelling = await socket.send("run.cancel", run_id=str(pen.run.pk))
        await until(lambda: hubs._hubs[talk.pk].last > last, "it is cancelled")
        await asyncio.sleep(0.05)
        gate.set()
        await socket.answer(cancelling)
        assert [frame["type"] for frame in socket.frames][-2:] == ["run.cancelled", "ok"]
        socket.fold(talk.pk)


async def test_one_that_fell_behind_is_told_when_it_was_taken_out_meanwhile(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "QUEUED_MAX", 5_000)
    async with gated(talk.ben, talk) as (socket, gate):
        gate.clear()
        await act(talk.answer, "A question", "x" * 6_000)
        await act(members.remove_member, talk.ada, talk.pk, talk.ben.pk)
        await nothing_is_left(talk)
        gate.set()
        error = await socket.until(lambda frame: frame["type"] == "error")
        assert (error["session_id"], error["data"]["code"]) == (str(talk.pk), "not_found")
        assert (await socket.ask("ping"))["type"] == "pong"
        assert "session.member_removed" not in [frame["type"] for frame in socket.frames]


async def test_one_that_takes_nothing_is_closed(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "CHAT_SLOW_S", 0.05)
    monkeypatch.setattr(guests, "WATCH_S", 0.05)
    async with gated(talk.ada, talk) as (socket, gate):
        gate.clear()
        await act(talk.answer)
        assert await socket.closed() == 4408
        assert socket.frames[-1]["type"] == "error" and socket.frames[-1]["data"]["retry_after_s"] > 0


async def test_one_that_cannot_even_be_told_is_given_up(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a server that makes senders wait, the goodbye waits too."""
    monkeypatch.setattr(settings, "CHAT_SLOW_S", 0.05)
    monkeypatch.setattr(guests, "WATCH_S", 0.05)
    monkeypatch.setattr(consumers, "GOODBYE_S", 0.05)
    jammed = asyncio.Event()

    async def jam(scope: Any, receive: Any, send: Any) -> None:
        async def waiting(message: Any) -> None:
            if jammed.is_set():
                await asyncio.sleep(60)
            await send(message)

        scope["chat.drained"] = lambda: asyncio.sleep(0)
        await ChatConsumer.as_asgi()(scope, receive, waiting)

    socket = Socket(talk.ada, app=jam)
    await socket.open()
    await socket.ok("session.subscribe", session_id=str(talk.pk), after=0)
    jammed.set()
    await act(talk.answer)
    await asyncio.wait_for(asyncio.shield(socket.wire.future), WAIT_S)  # the application ends: the server drops it
    assert shards.channel_of(stream.session_group(talk.pk)) not in shards.layer()._get_layer()._listeners
