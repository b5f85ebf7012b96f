"""Signing in, staying signed in, and being sent away."""

import pytest

from chat.terminal.api import Api
from chat.terminal.client import Client
from chat.terminal.errors import SignInRefused
from tests.terminal.server import ScriptedServer
from tests.terminal.watcher import Watcher, answers, client_of, right_password, until

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(30)]


async def test_4401_renews_the_token_and_resumes() -> None:
    async with ScriptedServer() as server, client_of(server) as (client, _):
        await client.open(server.room().session_id)
        await client.connection.ready.wait()
        server.tokens.clear()
        await server.close(4401)
        await until(lambda: len(server.credentials) == 2)
        await client.connection.ready.wait()
        client.send("still here")
        await until(lambda: answers(client))
        assert [path for _, path, _ in server.requests if "token" in path] == [
            "/api/auth/token/",
            "/api/auth/token/refresh/",
        ]


async def test_where_the_refresh_is_refused_it_signs_in_again_with_the_password() -> None:
    async with ScriptedServer() as server, client_of(server) as (client, _):
        await client.connection.ready.wait()
        server.tokens.clear()
        server.refreshes.clear()
        await server.close(4401)
        await until(lambda: len(server.credentials) == 2 and client.connection.ready.is_set())
        tokens = [path for _, path, _ in server.requests if "token" in path]
        assert tokens == ["/api/auth/token/", "/api/auth/token/refresh/", "/api/auth/token/"]


async def test_a_password_that_is_no_longer_good_ends_it() -> None:
    async def ask_password() -> str:
        return "wrong"

    async with ScriptedServer() as server:
        api = Api(server.url, "ada", ask_password)
        with pytest.raises(SignInRefused, match="do not match"):
            await Client(api, Watcher()).run()
        await api.close()


async def test_sockets_refused_with_a_fresh_token_are_not_tried_for_ever() -> None:
    async with ScriptedServer() as server:
        server.refusals = [(4401, {"code": "not_authenticated", "message": "No.", "temporary": False})] * 9
        api = Api(server.url, "ada", right_password)
        with pytest.raises(SignInRefused, match="No"):
            await Client(api, Watcher()).run()
        await api.close()
        assert len(server.credentials) == 3


async def test_a_socket_is_renewed_before_its_token_runs_out() -> None:
    async with ScriptedServer() as server:
        server.expires_in_s = 2.0
        async with client_of(server) as (client, _):
            await client.open(server.room().session_id)
            await until(lambda: len(server.credentials) >= 2)
            await until(client.connection.ready.is_set)
            client.send("hello")
            await until(lambda: answers(client))
            assert server.credentials[:2] == ["Bearer access-1", "Bearer access-2"]
            assert client.connection.problem == ""
