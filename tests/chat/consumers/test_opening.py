"""Who is let in, what they are told first, and who is shown out again."""

import asyncio
import time
from datetime import timedelta
from typing import Any

import pytest
from rest_framework_simplejwt.tokens import AccessToken

from chat import auth, consumers, guests
from chat.database import reading, writing
from chat.models import User
from chat.routing import websocket_urlpatterns
from tests.chat.consumers.sockets import Socket, leave, socket_of
from tests.chat.signed_in import session_of
from tests.inside import Talk, told
from tests.processes import PATIENCE
from tests.servers import Redis


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
    cookie = f"sessionid={await writing(session_of, talk.ada)}"
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
        key = await writing(session_of, talk.ben)
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

    key = await writing(session_of, talk.ada)
    socket = Socket(None, headers={"cookie": f"sessionid={key}", "origin": "http://chat.test"})
    assert (await socket.open())["type"] == "connection.ready"
    await writing(Session.objects.filter(session_key=key).delete)
    assert await socket.closed() == 4401
    await leave(socket)


async def test_both_paths_lead_to_the_same_door() -> None:
    assert [str(pattern.pattern) for pattern in websocket_urlpatterns] == ["ws/", "ws", ""]  # and the last to none
