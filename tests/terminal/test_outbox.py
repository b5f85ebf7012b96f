"""What is said while the server is away, slow or unwilling: kept, sent once, in order."""

import asyncio

import pytest

from chat.terminal import connection
from chat.terminal.errors import Refused
from tests.terminal.frames import Row, run
from tests.terminal.server import Room, ScriptedServer
from tests.terminal.watcher import answers, client_of, sent, until

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(30)]


async def test_the_first_message_starts_a_session_where_none_is_open() -> None:
    async with ScriptedServer() as server, client_of(server) as (client, _):
        first, second = client.send("one"), client.send("two")
        await until(lambda: len(answers(client)) == 2)
        assert len(server.rooms) == 1
        assert first.session_id == second.session_id


async def test_a_line_lost_while_a_session_is_started_starts_no_second_one() -> None:
    async with ScriptedServer() as server:
        server.mute.add("session.subscribe")
        async with client_of(server) as (client, _):
            await client.connection.ready.wait()
            client.send("hello")
            await until(lambda: any(command["type"] == "session.subscribe" for command in server.commands))
            server.mute.clear()
            server.cut()
            await until(lambda: answers(client) == ["you said hello"])
            assert len(server.rooms) == 1


async def test_what_is_said_while_offline_is_kept_and_sent_in_order_afterwards() -> None:
    async with ScriptedServer() as server, client_of(server) as (client, _):
        await client.open(server.room().session_id)
        await client.connection.ready.wait()
        away = asyncio.create_task(server.away(0.3))
        await until(lambda: not client.connection.ready.is_set())
        for text in ("one", "two", "three"):
            client.send(text)
        assert [item.content for item in client.outbox.items] == ["one", "two", "three"]
        await away
        await until(lambda: len(answers(client)) == 3)
        assert [data["content"] for data in sent(server)] == ["one", "two", "three"]
        assert not client.outbox.items


async def test_a_message_whose_confirmation_was_lost_is_sent_again_with_its_key_and_said_once() -> None:
    async with ScriptedServer() as server, client_of(server) as (client, _):
        room = server.room()
        await client.open(room.session_id)
        await client.connection.ready.wait()
        server.mute.add("message.send")
        item = client.send("once")
        await until(lambda: sent(server))
        server.mute.clear()
        server.cut()
        confirmed = await item.confirmed
        await until(lambda: answers(client))
        first, second = sent(server)
        assert first == second
        assert confirmed["duplicate"] is True
        assert [row["content"] for row in room.snapshot()["messages"]] == ["once", "you said once"]
        assert answers(client) == ["you said once"]


async def test_a_message_over_the_rate_is_sent_again_with_the_same_key_and_keeps_its_place() -> None:
    limited = {"code": "rate_limited", "message": "Too fast.", "temporary": True, "retry_after_s": 0.1}
    async with ScriptedServer() as server, client_of(server) as (client, watcher):
        await client.open(server.room().session_id)
        server.errors["message.send"] = [limited, limited]
        client.send("one")
        client.send("two")
        await until(lambda: len(answers(client)) == 2)
        contents = [data["content"] for data in sent(server)]
        assert contents == ["one", "one", "one", "two"]
        assert len({data["key"] for data in sent(server)}) == 2
        assert watcher.told == []


async def test_a_message_that_is_refused_is_told_and_the_next_one_goes() -> None:
    closed = {"code": "session_closed", "message": "This session is closed.", "temporary": False}
    async with ScriptedServer() as server, client_of(server) as (client, _):
        await client.open(server.room().session_id)
        server.errors["message.send"] = [closed]
        refused = client.send("one")
        client.send("two")
        with pytest.raises(Refused, match="closed"):
            await refused.confirmed
        await until(lambda: answers(client) == ["you said two"])


async def test_a_stop_reaches_the_server_even_when_the_line_is_down_at_that_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "delay_s", lambda *_: 0.2)  # the jitter may be so short that nobody sees it down

    async def forever(room: Room, asked: Row, run_id: str) -> None:
        await room.event("run.started", run("running", run_id, message_id="a1"), run_id)

    async with ScriptedServer() as server, client_of(server) as (client, _):
        server.answer = forever
        await client.open(server.room().session_id)
        await client.send("go").confirmed
        await until(lambda: client.talk and client.talk.active_run and client.talk.active_run["status"] == "running")
        server.cut()
        await until(lambda: not client.connection.ready.is_set())
        assert client.stop()
        await until(lambda: any(command["type"] == "run.cancel" for command in server.commands))
