"""The WebSocket's door, in process: every command and refusal, and what is left when somebody goes. Redis is real."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from channels.testing import WebsocketCommunicator
from django.conf import settings
from rest_framework_simplejwt.tokens import AccessToken

from chat import auth, consumers, failpoints, guests, limits, shards, stream
from chat import writer as writer_module
from chat.actions import attempts, members, runs, sessions
from chat.actions.questions import Question
from chat.consumers import ChatConsumer
from chat.database import reading, writing
from chat.hub import hubs
from chat.models import Interrupt, User
from chat.protocol.commands import NewMember, NewSession
from chat.routing import websocket_urlpatterns
from chatproject.asgi import application
from tests.chat.hub.watching import Pen, act, act_unheard, nothing_is_left, until
from tests.fold import Fold
from tests.inside import Talk, told
from tests.processes import PATIENCE
from tests.servers import Redis

Row = dict[str, Any]
WAIT_S = 10 * PATIENCE


class Socket:
    """A client on channels.testing's communicator."""

    def __init__(
        self,
        user: User | None,
        *,
        app: Any = application,
        drained: Callable[[], Awaitable[Any]] | None = None,
        subprotocols: list[str] | None = None,
        headers: dict[str, str] | None = None,
        query: str = "",
    ) -> None:
        headers = {"host": "chat.test"} | (headers or {})
        if user is not None:
            headers["authorization"] = f"Bearer {AccessToken.for_user(user)}"
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        self.wire = WebsocketCommunicator(app, f"/ws/{query}", headers=raw, subprotocols=subprotocols)
        if drained is not None:
            self.wire.scope["chat.drained"] = drained
        self.frames: list[Row] = []
        self.close_code: int | None = None
        self.subprotocol: str | None = None
        self._refs = 0

    async def open(self) -> Row:
        accepted, subprotocol = await self.wire.connect(timeout=WAIT_S)
        assert accepted, "even a refused socket is accepted"
        self.subprotocol = None if subprotocol is None else str(subprotocol)
        first = await self.next()
        assert first is not None
        return first

    async def next(self) -> Row | None:
        """Give the next frame, None when the socket is closed."""
        event = await self.wire.receive_output(WAIT_S)
        if event["type"] == "websocket.close":
            self.close_code = event["code"]
            return None
        frame: Row = json.loads(event["text"])
        assert {"type", "session_id", "run_id", "seq", "at", "data"} <= set(frame)
        self.frames.append(frame)
        return frame

    async def send(self, kind: str, **data: Any) -> str:
        self._refs += 1
        await self.wire.send_to(text_data=json.dumps({"type": kind, "ref": str(self._refs), "data": data}))
        return str(self._refs)

    async def answer(self, ref: str) -> Row:
        while True:
            frame = await self.next()
            assert frame is not None, f"closed with {self.close_code} before {ref} was answered"
            if frame.get("ref") == ref:
                return frame

    async def ask(self, kind: str, **data: Any) -> Row:
        return await self.answer(await self.send(kind, **data))

    async def ok(self, kind: str, **data: Any) -> Row:
        frame = await self.ask(kind, **data)
        assert frame["type"] == "ok", frame
        answer: Row = frame["data"]
        return answer

    async def refused(self, kind: str, **data: Any) -> str:
        frame = await self.ask(kind, **data)
        assert frame["type"] == "error", frame
        code: str = frame["data"]["code"]
        return code

    async def until(self, holds: Callable[[Row], Any]) -> Row:
        """Read until a frame that is asked for."""
        for frame in self.frames:
            if holds(frame):
                return frame
        while True:
            frame_ = await self.next()
            assert frame_ is not None, f"closed with {self.close_code}"
            if holds(frame_):
                return frame_

    async def closed(self) -> int:
        while await self.next() is not None:
            pass
        assert self.close_code is not None
        return self.close_code

    def log(self, session_id: object) -> list[int]:
        return [f["seq"] for f in self.frames if f["session_id"] == str(session_id) and f["seq"] is not None]

    def fold(self, session_id: object, after: int = 0) -> Fold:
        """What all frames of a session say together. Raises where they break a rule."""
        fold = Fold(str(session_id), after=after)
        for frame in self.frames:
            if frame["session_id"] == str(session_id) and frame["type"] not in ("error", "typing"):
                fold.feed(frame)
        return fold


@asynccontextmanager
async def socket_of(user: User, **options: Any) -> AsyncIterator[Socket]:
    socket = Socket(user, **options)
    ready = await socket.open()
    assert ready["type"] == "connection.ready", ready
    try:
        yield socket
    finally:
        await leave(socket)


async def leave(socket: Socket) -> None:
    if not socket.wire.future.done():
        await socket.wire.disconnect(timeout=WAIT_S)


@pytest.fixture(autouse=True)
async def _nobody_stays(request: pytest.FixtureRequest, talk: Talk) -> AsyncIterator[None]:
    """Every test ends with every socket gone: then nothing may be left of them."""
    yield
    failpoints.armed.clear()
    await nothing_is_left(talk)
    assert not hubs._hubs and not limits._sockets


# --- opening ----------------------------------------------------------------------------------------------------------


async def test_the_first_frame_says_who_one_is_and_what_the_limits_are(talk: Talk) -> None:
    socket = Socket(talk.ada)
    ready = await socket.open()
    assert ready["type"] == "connection.ready" and ready["at"].endswith("Z")
    assert ready["data"]["user"] == {"user_id": str(talk.ada.pk), "username": "ada", "name": talk.ada.as_data()["name"]}
    assert ready["data"]["heartbeat_s"] == consumers.HEARTBEAT_S
    assert ready["data"]["limits"]["content_max"] == 10_000
    assert ready["data"]["limits"]["frame_max_bytes"] == 128 * 1024
    await leave(socket)


async def test_opening_and_following_need_no_redis(talk: Talk, redis_server: Redis) -> None:
    redis_server.kill()
    began = time.monotonic()
    async with socket_of(talk.ada) as socket:
        await socket.ok("session.subscribe", session_id=str(talk.pk), after=0)
        assert time.monotonic() - began < 2 * PATIENCE
        said = await socket.ok("message.send", session_id=str(talk.pk), content="Hello?")
        await socket.until(lambda frame: frame["type"] == "run.queued" and frame["run_id"] == said["run_id"])
        socket.fold(talk.pk)
    redis_server.start()


async def test_of_what_is_offered_only_our_own_subprotocol_is_echoed(talk: Talk) -> None:
    token = str(AccessToken.for_user(talk.ada))
    for offered, echoed in (
        (None, None),
        (["chat.v1"], "chat.v1"),
        (["chat.v1", f"bearer.{token}"], "chat.v1"),
        ([f"bearer.{token}", "chat.v1"], "chat.v1"),
        ([f"bearer.{token}"], None),
        (["something.else"], None),
    ):
        by_subprotocol = bool(offered and any(one.startswith("bearer.") for one in offered))
        socket = Socket(None if by_subprotocol else talk.ada, subprotocols=offered)
        assert (await socket.open())["type"] == "connection.ready"
        assert socket.subprotocol == echoed
        await leave(socket)


async def test_a_refused_socket_is_accepted_told_why_and_closed(talk: Talk, settings: Any) -> None:
    settings.CHAT_SOCKETS_PER_USER = 1
    cookie = f"sessionid={await writing(_cookie_session, talk.ada)}"
    async with socket_of(talk.ada):
        for socket, code, close_code in (
            (Socket(None), "not_authenticated", 4401),
            (Socket(None, headers={"authorization": "Bearer nonsense"}), "not_authenticated", 4401),
            (Socket(None, subprotocols=["chat.v1", "bearer.nonsense"]), "not_authenticated", 4401),
            (Socket(None, query="?ticket=nonsense"), "not_authenticated", 4401),
            (Socket(None, headers={"cookie": cookie}), "forbidden_origin", 4403),
            (Socket(talk.ada, headers={"origin": "https://elsewhere.test"}), "forbidden_origin", 4403),
            (Socket(talk.ada), "too_many_connections", 4429),
        ):
            error = await socket.open()
            assert (error["type"], error["ref"], error["data"]["code"]) == ("error", None, code)
            assert await socket.next() is None and socket.close_code == close_code
            await socket.wire.send_to(text_data="whatever comes now")
            await leave(socket)
        cookie_of_ours = {"cookie": cookie, "origin": "http://chat.test"}
        async with socket_of(talk.ben):
            pass
    await reading(told)  # the first one of Ada's is no longer counted
    socket = Socket(None, headers=cookie_of_ours)
    assert (await socket.open())["type"] == "connection.ready"
    await leave(socket)


def _cookie_session(user: User) -> str:
    from django.contrib.auth import login
    from django.contrib.sessions.backends.db import SessionStore
    from django.http import HttpRequest

    request = HttpRequest()
    request.session = SessionStore()
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    request.session.save()
    return str(request.session.session_key)


async def test_without_a_database_a_socket_is_told_to_come_back(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import InterfaceError

    def away(scope: object) -> None:
        raise InterfaceError("connection already closed")

    monkeypatch.setattr(auth, "identify", away)
    socket = Socket(talk.ada)
    error = await socket.open()
    assert error["data"]["code"] == "unavailable" and error["data"]["retry_after_s"] > 0
    assert await socket.closed() == 4412
    await leave(socket)


@pytest.fixture
def watchful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials are looked at again all the time."""
    monkeypatch.setattr(guests, "WATCH_S", 0.03)
    monkeypatch.setattr(auth, "CHECK_S", 0.03)


async def test_a_token_that_runs_out_closes_the_socket(talk: Talk, watchful: None) -> None:
    token = AccessToken.for_user(talk.ada)
    token.set_exp(lifetime=timedelta(seconds=1))
    socket = Socket(None, headers={"authorization": f"Bearer {token}"})
    assert (await socket.open())["type"] == "connection.ready"
    await socket.ok("session.subscribe", session_id=str(talk.pk))
    assert await socket.closed() == 4401
    assert socket.frames[-1]["data"]["code"] == "not_authenticated"
    await leave(socket)


@pytest.mark.parametrize("by", ["token", "cookie", "ticket"])
async def test_a_user_who_is_made_inactive_is_shown_out(talk: Talk, watchful: None, by: str) -> None:
    from chat.actions import tickets

    if by == "token":
        socket = Socket(talk.ben)
    elif by == "cookie":
        key = await writing(_cookie_session, talk.ben)
        socket = Socket(None, headers={"cookie": f"sessionid={key}", "origin": "http://chat.test"})
    else:
        ticket, _ = await writing(tickets.issue_ticket, talk.ben)
        socket = Socket(None, query=f"?ticket={ticket}")
    assert (await socket.open())["type"] == "connection.ready"
    await asyncio.sleep(0.15)  # looked at several times, and found good
    assert (await socket.ask("ping"))["type"] == "pong"
    await writing(User.objects.filter(pk=talk.ben.pk).update, is_active=False)
    assert await socket.closed() == 4401
    await leave(socket)


async def test_a_sign_out_closes_the_sockets_of_its_cookie(talk: Talk, watchful: None) -> None:
    from django.contrib.sessions.models import Session

    key = await writing(_cookie_session, talk.ada)
    socket = Socket(None, headers={"cookie": f"sessionid={key}", "origin": "http://chat.test"})
    assert (await socket.open())["type"] == "connection.ready"
    await writing(Session.objects.filter(session_key=key).delete)
    assert await socket.closed() == 4401
    await leave(socket)


# --- commands ---------------------------------------------------------------------------------------------------------


def ask(talk: Talk) -> Interrupt:
    """Have the run that waits first ask people which order is meant."""
    run = attempts.interrupt_run(talk.claim(), [Question("question", "Which order?")])
    return Interrupt.objects.get(run_id=run.pk)


async def test_every_command_is_answered_once_with_its_shape(talk: Talk) -> None:
    session_id = str(talk.pk)
    async with socket_of(talk.ada) as socket:
        subscribed = await socket.ok("session.subscribe", session_id=session_id)
        assert set(subscribed) == {"session", "last_seq"}
        assert subscribed["session"]["session_id"] == session_id and subscribed["session"]["my_role"] == "owner"
        assert "messages" not in subscribed["session"]
        assert subscribed["last_seq"] == subscribed["session"]["last_seq"] == await reading(lambda: talk.last_seq)

        said = await socket.ok("message.send", session_id=session_id, content="One", key="k1")
        assert set(said) == {"message_id", "run_id", "duplicate"} and said["duplicate"] is False
        again = await socket.ok("message.send", session_id=session_id, content="One", key="k1")
        assert again == {**said, "duplicate": True}
        assert await socket.refused("message.send", session_id=session_id, content="Two", key="k1") == "conflict"
        assert await socket.ok("message.update", message_id=said["message_id"], content="One!") == {}

        other = await socket.ok("message.send", session_id=session_id, content="Two")
        moved = await socket.ok("run.move", run_id=other["run_id"], before=said["run_id"])
        assert moved == {"run_id": other["run_id"], "status": "queued"}
        cancelled = await socket.ok("run.cancel", run_id=other["run_id"])
        assert cancelled == {"run_id": other["run_id"], "status": "cancelled"}
        assert await socket.ok("run.cancel", run_id=other["run_id"]) == cancelled
        retried = await socket.ok("run.retry", run_id=other["run_id"])
        assert set(retried) == {"run_id", "status"} and retried["status"] == "queued"

        unknown = await socket.refused("interrupt.resolve", interrupt_id=str(uuid4()), answer={"approved": True})
        assert unknown == "not_found"
        asked = await act(ask, talk)
        resolved = await socket.ok("interrupt.resolve", interrupt_id=str(asked.pk), answer={"text": "7"})
        assert resolved == {"interrupt_id": str(asked.pk), "run_id": str(asked.run_id)}
        late = await socket.refused("interrupt.resolve", interrupt_id=str(asked.pk), answer={"text": "8"})
        assert late == "already_resolved"
        assert await socket.ok("typing", session_id=session_id, active=True) == {}
        pong = await socket.ask("ping")
        assert (pong["type"], pong["data"]) == ("pong", {})
        assert await socket.ok("session.unsubscribe", session_id=session_id) == {}

        answers = [frame["ref"] for frame in socket.frames if "ref" in frame]
        assert sorted(answers, key=int) == [str(n) for n in range(1, socket._refs + 1)]
        socket.fold(talk.pk, after=subscribed["last_seq"])


async def test_what_is_not_yours_is_not_there(talk: Talk, eve: User) -> None:
    said = await act(talk.post, "Private")
    asked = await act(ask, talk)
    async with socket_of(eve) as socket:
        session_id, run_id = str(talk.pk), str(said.run_id)
        for command in (
            {"kind": "session.subscribe", "session_id": session_id},
            {"kind": "session.unsubscribe", "session_id": session_id},
            {"kind": "message.send", "session_id": session_id, "content": "Hello"},
            {"kind": "message.update", "message_id": str(said.message_id), "content": "Mine now"},
            {"kind": "run.cancel", "run_id": run_id},
            {"kind": "run.retry", "run_id": run_id},
            {"kind": "run.move", "run_id": run_id, "before": None},
            {"kind": "interrupt.resolve", "interrupt_id": str(asked.pk), "answer": {"text": "7"}},
            {"kind": "typing", "session_id": session_id, "active": True},
        ):
            assert await socket.refused(**command) == "not_found", command
        assert await socket.refused("session.subscribe", session_id=str(uuid4())) == "not_found"


async def test_a_viewer_reads_and_does_not_write(talk: Talk) -> None:
    await act(members.add_member, talk.ada, talk.pk, NewMember(username="ben", role="viewer"))
    said = await act(talk.post, "Look")
    asked = await act(ask, talk)
    async with socket_of(talk.ben) as socket:
        subscribed = await socket.ok("session.subscribe", session_id=str(talk.pk), after=0)
        assert subscribed["session"]["my_role"] == "viewer"
        for kind, data in (
            ("message.send", {"session_id": str(talk.pk), "content": "Hello"}),
            ("run.cancel", {"run_id": str(said.run_id)}),
            ("interrupt.resolve", {"interrupt_id": str(asked.pk), "answer": {"text": "7"}}),
            ("typing", {"session_id": str(talk.pk), "active": True}),
        ):
            assert await socket.refused(kind, **data) == "not_allowed"


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("no json", None),
        ("[]", None),
        ('{"type": "ping", "ref": 7}', None),
        ('{"type": "ping", "ref": "' + "x" * 65 + '"}', None),
        ('{"type": "fly", "ref": "a"}', "a"),
        ('{"type": "ping", "ref": "a", "more": 1}', "a"),
        ('{"type": "ping", "ref": "a", "data": {"more": 1}}', "a"),
        ('{"type": "session.subscribe", "ref": "a", "data": {"session_id": "nonsense"}}', "a"),
        (
            '{"type": "session.subscribe", "ref": "a", "data": {"session_id": "'
            + str(UUID(int=1))
            + '", "after": -1}}',
            "a",
        ),
        (
            '{"type": "message.send", "ref": "a", "data": {"session_id": "' + str(UUID(int=1)) + '", "content": " "}}',
            "a",
        ),
        ("null", None),
        ("", None),
    ],
)
async def test_what_is_no_command_is_an_error_and_the_socket_stays(talk: Talk, text: str, ref: str | None) -> None:
    async with socket_of(talk.ada) as socket:
        await socket.wire.send_input({"type": "websocket.receive", "text": text})
        error = await socket.next()
        assert error is not None and (error["type"], error["ref"]) == ("error", ref)
        assert error["data"]["code"] == "invalid_input" and error["data"]["temporary"] is False
        assert (await socket.ask("ping"))["type"] == "pong"


async def test_binary_and_oversized_frames_are_refused_and_the_socket_stays(talk: Talk) -> None:
    async with socket_of(talk.ada) as socket:
        await socket.wire.send_to(bytes_data=b"\x00\x01")
        assert (await socket.next())["data"]["code"] == "invalid_input"  # type: ignore[index]
        for filling in ("x" * 128 * 1024, "🦉" * 33_000):
            await socket.wire.send_to(
                text_data=json.dumps({"type": "ping", "data": {"x": filling}}, ensure_ascii=False)
            )
            assert (await socket.next())["data"]["code"] == "too_large"  # type: ignore[index]
        assert (await socket.ask("ping"))["type"] == "pong"


async def test_a_flood_of_refused_frames_closes_the_socket(talk: Talk) -> None:
    async with socket_of(talk.ada) as socket:
        for _ in range(consumers.REFUSED_MAX):
            await socket.wire.send_to(text_data="nonsense")
        assert await socket.closed() == 4413


async def test_refused_frames_of_long_ago_are_forgiven(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "REFUSED_WINDOW_S", 0.05)
    async with socket_of(talk.ada) as socket:
        for _ in range(3):
            for _ in range(consumers.REFUSED_MAX // 2):
                await socket.wire.send_to(text_data="nonsense")
            assert (await socket.ask("ping"))["type"] == "pong"
            await asyncio.sleep(0.06)


async def test_a_ping_does_not_wait_for_a_slow_command_and_other_commands_keep_their_order(talk: Talk) -> None:
    go_on = asyncio.Event()
    failpoints.armed["hub.subscribed"] = go_on.wait  # type: ignore[assignment]
    async with socket_of(talk.ada) as socket:
        subscribing = await socket.send("session.subscribe", session_id=str(talk.pk))
        sending = await socket.send("message.send", session_id=str(talk.pk), content="After I subscribed")
        assert (await socket.ask("ping"))["type"] == "pong"
        assert not [frame for frame in socket.frames if frame["type"] == "ok"]
        go_on.set()
        await socket.answer(subscribing)
        said = (await socket.answer(sending))["data"]
        await socket.until(lambda frame: frame["type"] == "run.queued" and frame["run_id"] == said["run_id"])


async def test_who_asks_too_much_at_once_is_told_so(talk: Talk) -> None:
    go_on = asyncio.Event()
    failpoints.armed["hub.subscribed"] = go_on.wait  # type: ignore[assignment]
    async with socket_of(talk.ada) as socket:
        refs = [await socket.send("session.subscribe", session_id=str(talk.pk)) for _ in range(consumers.INBOX_MAX + 5)]
        refused = await socket.next()
        assert refused is not None and refused["data"]["code"] == "unavailable" and refused["data"]["temporary"]
        go_on.set()
        await socket.until(lambda frame: len({one["ref"] for one in socket.frames if "ref" in one}) == len(refs))
        answers = [frame["type"] for frame in socket.frames if "ref" in frame]
        assert 4 <= answers.count("error") <= 5 and answers.count("ok") + answers.count("error") == len(refs)


async def test_a_command_that_fails_is_an_error_and_no_end(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import InterfaceError

    for problem, code in (
        (RuntimeError("a mistake of ours, with /a/path in it"), "internal"),
        (InterfaceError("connection already closed"), "unavailable"),
    ):

        def fail(*_: object, problem: Exception = problem) -> None:
            raise problem

        monkeypatch.setattr(consumers, "read_membership", fail)
        async with socket_of(talk.ada) as socket:
            error = await socket.ask("session.subscribe", session_id=str(talk.pk))
            assert error["data"]["code"] == code and "path" not in str(error)
            assert (await socket.ask("ping"))["type"] == "pong"


# --- following --------------------------------------------------------------------------------------------------------


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


async def test_what_waits_of_an_old_subscription_does_not_mix_with_the_new_one(talk: Talk) -> None:
    """A slow socket has pieces of the old one in its queue when the new one begins."""
    gate = asyncio.Event()
    gate.set()
    pen = Pen(await act(talk.start))
    async with socket_of(talk.ada, app=ChatConsumer.as_asgi(), drained=gate.wait) as socket:
        await socket.ok("session.subscribe", session_id=str(talk.pk), after=0)
        await until(lambda: len(hubs._hubs[talk.pk].viewers) == 1, "it follows")
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


# --- going ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["disconnect", "cancel"])
@pytest.mark.parametrize("step", ["hub.subscribed", "hub.read", "hub.drafts", "hub.join.read", "hub.join.page", None])
async def test_a_client_that_goes_leaves_nothing_behind(talk: Talk, how: str, step: str | None) -> None:
    """Wherever it was: at a step of subscribing, or in the middle of an answer. The fixture looks for remains."""
    pen = Pen(await act(talk.start))
    reached = asyncio.Event()

    async def stay() -> None:
        reached.set()
        await asyncio.sleep(60)

    socket = Socket(talk.ada)
    await socket.open()
    if step is not None:
        failpoints.armed[step] = stay
        await socket.send("session.subscribe", session_id=str(talk.pk), after=0)
        await asyncio.wait_for(reached.wait(), WAIT_S)
    else:
        await socket.ok("session.subscribe", session_id=str(talk.pk), after=0)
        await act(pen.write, "So far")
    before = asyncio.all_tasks()
    if how == "disconnect":
        await socket.wire.disconnect(timeout=WAIT_S)
    else:  # as daphne does when an application takes too long, or the process ends
        socket.wire.future.cancel()
        await asyncio.wait({socket.wire.future})
    await nothing_is_left(talk)
    await until(
        lambda: not [t for t in before & asyncio.all_tasks() if "chat/" in str(t.get_coro())], "no task is left"
    )


async def test_a_client_that_goes_before_it_was_let_in_leaves_nothing_behind(talk: Talk) -> None:
    socket = Socket(talk.ada)
    await socket.wire.send_input({"type": "websocket.connect"})
    await asyncio.sleep(0)
    socket.wire.future.cancel()
    await asyncio.wait({socket.wire.future})


async def test_a_task_that_fails_takes_the_socket_along(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken() -> None:
        raise AttributeError("a private attribute is gone")

    socket = Socket(talk.ada, app=ChatConsumer.as_asgi(), drained=broken)
    await socket.open()
    await socket.send("ping")
    assert await socket.closed() == 4412
    assert socket.frames[-1]["data"]["code"] == "internal" and socket.frames[-1]["data"]["retry_after_s"] > 0
    await leave(socket)


# --- a client that is slow --------------------------------------------------------------------------------------------


async def test_one_that_falls_behind_goes_on_from_what_was_written_and_keeps_its_answers(
    talk: Talk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(writer_module, "QUEUED_MAX", 20_000)
    monkeypatch.setattr(writer_module, "ROOM", 5_000)
    monkeypatch.setattr("chat.hub.hub.GULP", 5_000)
    gate = asyncio.Event()
    gate.set()
    async with socket_of(talk.ada, app=ChatConsumer.as_asgi(), drained=gate.wait) as socket:
        await socket.ok("session.subscribe", session_id=str(talk.pk), after=0)
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
                await act(runs.cancel_run, talk.ada, run)
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
    gate = asyncio.Event()
    gate.set()
    async with socket_of(talk.ada, app=ChatConsumer.as_asgi(), drained=gate.wait) as socket:
        await socket.ok("session.subscribe", session_id=str(talk.pk), after=0)
        await until(lambda: len(hubs._hubs[talk.pk].viewers) == 1, "it follows")
        gate.clear()
        await act(talk.answer, "A question", "x" * 6_000)
        pen = Pen(await act(talk.start, "Another"))
        cancelling = await socket.send("run.cancel", run_id=str(pen.run.pk))
        last = await reading(lambda: talk.last_seq)
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
    gate = asyncio.Event()
    gate.set()
    async with socket_of(talk.ben, app=ChatConsumer.as_asgi(), drained=gate.wait) as socket:
        await socket.ok("session.subscribe", session_id=str(talk.pk), after=0)
        await until(lambda: len(hubs._hubs[talk.pk].viewers) == 1, "it follows")
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
    gate = asyncio.Event()
    gate.set()
    socket = Socket(talk.ada, app=ChatConsumer.as_asgi(), drained=gate.wait)
    await socket.open()
    await socket.ok("session.subscribe", session_id=str(talk.pk), after=0)
    gate.clear()
    await act(talk.answer)
    assert await socket.closed() == 4408
    assert socket.frames[-1]["type"] == "error" and socket.frames[-1]["data"]["retry_after_s"] > 0
    await leave(socket)


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


async def test_both_paths_lead_to_the_same_door() -> None:
    assert [str(pattern.pattern) for pattern in websocket_urlpatterns] == ["ws/", "ws"]
