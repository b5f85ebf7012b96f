"""The ways to sign in, the origins that may, and the close code of each refusal."""

import asyncio
import dataclasses
import json
import re

import httpx2
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from tests.conftest import SWIFT, NewStack
from tests.stack import Stack
from tests.wire import Client, Person, Refused

PASSWORD = "correct horse battery"


async def greet(client: Client) -> None:
    """Check that a signed-in client can talk."""
    assert client.hello is not None
    ready = client.hello["data"]
    assert ready["user"]["user_id"] == client.person.user_id and ready["heartbeat_s"] > 0 and ready["limits"]
    session_id = await client.new_session()
    await client.subscribe(session_id)
    await client.answered(session_id, await client.say(session_id, "Hi", llm=SWIFT))


@pytest.mark.parametrize("by", ["bearer", "subprotocol", "ticket"])
async def test_a_token_signs_in_by(by: str, stack: Stack, ada: Person) -> None:
    async with stack.client(ada, by=by) as client:
        await greet(client)


async def test_a_password_gives_tokens_that_rotate_and_can_be_revoked(stack: Stack) -> None:
    ada = stack.person("ada", PASSWORD)
    client = stack.client(dataclasses.replace(ada, token=""))
    with pytest.raises(Refused) as refused:
        await client.post("/api/auth/token/", {"username": ada.username, "password": "wrong"})
    assert (refused.value.status, refused.value.code) == (401, "not_authenticated")
    first = await client.post("/api/auth/token/", {"username": ada.username, "password": PASSWORD})
    assert first.keys() == {"access", "refresh", "expires_in_s"}
    second = await client.post("/api/auth/token/refresh/", {"refresh": first["refresh"]})
    assert second.keys() == first.keys() and second["refresh"] != first["refresh"]
    with pytest.raises(Refused, match="not_authenticated"):
        await client.post("/api/auth/token/refresh/", {"refresh": first["refresh"]})
    assert await client.post("/api/auth/token/revoke/", {"refresh": second["refresh"]}) is None
    with pytest.raises(Refused, match="not_authenticated"):
        await client.post("/api/auth/token/refresh/", {"refresh": second["refresh"]})
    await client.close_http()
    async with stack.client(dataclasses.replace(ada, token=second["access"])) as signed_in:
        me = await signed_in.get("/api/me/")
        assert me == {"user_id": ada.user_id, "username": ada.username, "name": ada.username, "is_staff": False}


async def sign_in_by_form(web: str, username: str, password: str) -> httpx2.AsyncClient:
    http = httpx2.AsyncClient(base_url=web, timeout=30, trust_env=False)
    page = await http.get("/login/")
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    assert token, page.text
    form = {"username": username, "password": password, "csrfmiddlewaretoken": token[1]}
    done = await http.post("/login/", data=form, headers={"Referer": web + "/login/", "Origin": web})
    assert done.status_code == 302, done.text
    return http


async def open_with_cookie(web: str, http: httpx2.AsyncClient, origin: str | None) -> ClientConnection:
    cookies = "; ".join(f"{name}={value}" for name, value in http.cookies.items())
    url = web.replace("http", "ws", 1) + "/ws/"
    return await connect(
        url, additional_headers={"Cookie": cookies}, origin=Origin(origin) if origin else None, proxy=None
    )


async def first_frame_and_code(socket: ClientConnection) -> tuple[str, int | None]:
    frame = json.loads(await asyncio.wait_for(socket.recv(), 10))
    if frame["type"] == "error":
        await asyncio.wait_for(socket.wait_closed(), 10)
        return frame["data"]["code"], socket.close_code
    await socket.close()
    return frame["type"], None


async def test_a_cookie_signs_in_from_our_own_pages_alone(stack: Stack) -> None:
    ada = stack.person("ada", PASSWORD)
    web = stack.webs[0].url
    http = await sign_in_by_form(web, ada.username, PASSWORD)
    ready, refused = ("connection.ready", None), ("forbidden_origin", 4403)
    assert await first_frame_and_code(await open_with_cookie(web, http, web)) == ready
    assert await first_frame_and_code(await open_with_cookie(web, http, "https://evil.example")) == refused
    assert await first_frame_and_code(await open_with_cookie(web, http, None)) == refused
    without = await http.post("/api/sessions/", json={})
    assert without.status_code == 403, without.text  # an unsafe request by cookie needs the CSRF token
    headers = {"X-CSRFToken": http.cookies["csrftoken"], "Origin": web, "Referer": web + "/"}
    assert (await http.post("/api/sessions/", json={}, headers=headers)).status_code == 201
    await http.aclose()


async def test_origins_of_a_token_and_the_end_of_a_sign_in(new_stack: NewStack) -> None:
    stack = new_stack(workers=0, env={"CHAT_ORIGINS": "https://app.example", "CHAT_ACCESS_TOKEN_S": "6"})
    ada = stack.person("ada")
    for origin in (None, stack.webs[0].url, "https://app.example"):
        async with stack.client(ada, origin=origin) as client:
            await client.command("ping")
    for by in ("bearer", "ticket", "subprotocol"):
        foreign = stack.client(ada, by=by, origin="https://evil.example")
        with pytest.raises(Refused, match="forbidden_origin"):
            await foreign.connect()
        assert foreign.closes == [4403]
        await foreign.close_http()
    # Whose sign-in ends, by a token that runs out or by an account made inactive, is closed within 30 s, and told why.
    fresh, banned = stack.person("ada"), stack.person("ben")
    async with stack.client(fresh) as client, stack.client(banned) as other:
        stack.ask("User.objects.filter(pk=pk).update(is_active=False)", pk=banned.user_id)
        assert await asyncio.gather(client.closed_with(within_s=35), other.closed_with(within_s=30)) == [4401, 4401]
        assert client.errors[-1]["code"] == other.errors[-1]["code"] == "not_authenticated"
    again = stack.client(banned)
    with pytest.raises(Refused, match="not_authenticated"):
        await again.connect()
    assert again.closes == [4401]
    await again.close_http()


async def test_whoever_is_not_signed_in_is_told_so_and_closed(stack: Stack, ada: Person) -> None:
    refused = ("not_authenticated", 4401)
    url = stack.webs[0].url.replace("http", "ws", 1) + "/ws/"
    assert await first_frame_and_code(await connect(url, proxy=None)) == refused
    bad = {"Authorization": "Bearer nonsense"}
    assert await first_frame_and_code(await connect(url, additional_headers=bad, proxy=None)) == refused
    assert await first_frame_and_code(await connect(url + "?ticket=nonsense", proxy=None)) == refused
    protocols = [Subprotocol("bearer.nonsense"), Subprotocol("chat.v1")]
    socket = await connect(url, subprotocols=protocols, proxy=None)
    assert socket.subprotocol == "chat.v1", "the token is never echoed"
    assert await first_frame_and_code(socket) == refused


async def test_a_ticket_works_once(stack: Stack, ada: Person) -> None:
    client = stack.client(ada)
    ticket = await client.post("/api/ws-tickets/")
    assert ticket.keys() == {"ticket", "expires_at"}
    await client.close_http()
    url = stack.webs[1].url.replace("http", "ws", 1) + f"/ws/?ticket={ticket['ticket']}"
    assert await first_frame_and_code(await connect(url, proxy=None)) == ("connection.ready", None)
    assert await first_frame_and_code(await connect(url, proxy=None)) == ("not_authenticated", 4401)


async def test_a_flood_of_refused_frames_is_closed(stack: Stack, ada: Person) -> None:
    async with stack.client(ada) as client:
        for _ in range(99):
            await client.send_raw("no json")
        await client.until(lambda: len(client.errors) == 99, "each is answered")
        assert {error["code"] for error in client.errors} == {"invalid_input"}
        await client.command("ping")
        await client.send_raw(b"binary")
        assert await client.closed_with() == 4413
