"""The client on a real socket, against a scripted server: what is cut, refused or restarted on the way."""

import asyncio
import time

import pytest

from chat.terminal import connection
from chat.terminal.connection import delay_s
from chat.terminal.errors import Refused
from tests.terminal.frames import Row, message, run
from tests.terminal.server import PASSWORD, Room, ScriptedServer, answer_with, finish
from tests.terminal.watcher import answers, client_of, restarting, until

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(30)]


async def test_it_signs_in_and_shows_an_answer_piece_by_piece() -> None:
    async def slowly(room: Room, asked: Row, run_id: str) -> None:
        await answer_with(room, run_id, ["one ", "two ", "three"], pause_s=0.02)

    async with ScriptedServer() as server, client_of(server) as (client, watcher):
        server.answer = slowly
        await client.open(server.room().session_id)
        confirmed = await client.send("count").confirmed
        await until(lambda: answers(client))
        assert watcher.seen == ["one ", "one two ", "one two three"]
        assert confirmed["duplicate"] is False
        assert server.requests[0] == ("POST", "/api/auth/token/", {"username": "ada", "password": PASSWORD})
        assert server.credentials == ["Bearer access-1"]


@pytest.mark.parametrize("lose", ["cut", "4408", "1011", "4412"])
async def test_a_connection_lost_in_the_middle_of_an_answer_leaves_the_text_as_if_it_never_was(lose: str) -> None:
    pieces = [f"word{n} " for n in range(30)]

    async def with_a_loss(room: Room, asked: Row, run_id: str) -> None:
        await room.event("run.started", run("running", run_id, message_id="a1"), run_id)
        for n, piece in enumerate(pieces):
            await room.delta("a1", piece, run_id)
            await asyncio.sleep(0.005)
            if n == 10 and lose == "cut":
                server.cut()
            elif n == 10:
                await server.close(int(lose), restarting(0.01) if lose == "4412" else None)
        await until(lambda: room.followers)
        await finish(room, run_id, "a1", "".join(pieces))

    async with ScriptedServer() as server, client_of(server) as (client, watcher):
        server.answer = with_a_loss
        await client.open(server.room().session_id)
        client.send("count")
        await until(lambda: answers(client))
        assert answers(client) == ["".join(pieces)]
        assert watcher.seen[-1].startswith(watcher.seen[0])
        assert all(later.startswith(earlier) for earlier, later in zip(watcher.seen, watcher.seen[1:], strict=False))
        assert len(server.credentials) == 2
        resumed = [command["data"]["after"] for command in server.commands if command["type"] == "session.subscribe"]
        assert resumed == [0, 3]


async def test_an_answer_finished_while_the_line_was_down_is_there_afterwards() -> None:
    async def finished_meanwhile(room: Room, asked: Row, run_id: str) -> None:
        await room.event("run.started", run("running", run_id, message_id="a1"), run_id)
        await room.delta("a1", "half", run_id)
        server.cut()
        await asyncio.sleep(0)
        await finish(room, run_id, "a1", "half and whole")

    async with ScriptedServer() as server, client_of(server) as (client, _):
        server.answer = finished_meanwhile
        await client.open(server.room().session_id)
        client.send("go")
        await until(lambda: answers(client))
        assert answers(client) == ["half and whole"]


async def test_a_restarted_run_shows_the_second_attempt_alone() -> None:
    async def lost_once(room: Room, asked: Row, run_id: str) -> None:
        await room.event("run.started", run("running", run_id, message_id="a1"), run_id)
        await room.delta("a1", "never fini", run_id)
        restarted = run("queued", run_id, attempt=2) | {"reason": "worker_lost", "discarded": ["a1"]}
        await room.event("run.restarted", restarted, run_id)
        await answer_with(room, run_id, ["whole"], "a2")

    async with ScriptedServer() as server, client_of(server) as (client, _):
        server.answer = lost_once
        await client.open(server.room().session_id)
        client.send("go")
        await until(lambda: answers(client))
        assert answers(client) == ["whole"]


async def test_a_restarting_server_is_given_the_time_that_it_asks_for() -> None:
    async with ScriptedServer() as server, client_of(server) as (client, _):
        await client.connection.ready.wait()
        closed_at = time.monotonic()
        await server.close(4412, restarting(0.6))
        await until(lambda: not client.connection.ready.is_set())
        await until(lambda: client.connection.problem)
        assert "restart" in client.connection.problem.lower()
        await client.connection.ready.wait()
        assert 0.6 <= time.monotonic() - closed_at < 1.5


async def test_too_many_connections_is_waited_out() -> None:
    async with ScriptedServer() as server:
        too_many = {"code": "too_many_connections", "message": "Too many.", "temporary": True, "retry_after_s": 0.3}
        server.refusals = [(4429, too_many)]
        began_at = time.monotonic()
        async with client_of(server) as (client, _):
            await client.connection.ready.wait()
        assert time.monotonic() - began_at >= 0.3


async def test_a_log_that_no_longer_reaches_back_is_replaced_by_a_fresh_reading() -> None:
    async with ScriptedServer() as server, client_of(server) as (client, watcher):
        room = server.room()
        await client.open(room.session_id)
        client.send("one")
        await until(lambda: answers(client))
        away = asyncio.create_task(server.away(0.1))
        await until(lambda: not client.connection.ready.is_set())
        for n in range(5):
            await room.event("message.created", message(f"m{n}", f"missed {n}", "user", key=None))
        room.oldest_kept = len(room.log)
        await away
        await until(lambda: watcher.again == 1)
        client.send("two")
        await until(lambda: len(answers(client)) == 2)
        assert client.talk is not None
        assert [item.text for item in client.talk.items if item.text.startswith("missed")] == [
            f"missed {n}" for n in range(5)
        ]


async def test_a_silent_server_is_asked_and_then_left() -> None:
    async with ScriptedServer() as server:
        server.ready_frame = {"heartbeat_s": 0.1, "limits": {}}
        async with client_of(server) as (client, _):
            await client.connection.ready.wait()
            await until(lambda: sum(command["type"] == "ping" for command in server.commands) >= 3)
            assert len(server.credentials) == 1  # each ping was answered
            server.mute.add("ping")
            await until(lambda: len(server.credentials) == 2)


async def test_a_server_that_answers_pings_and_not_a_command_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "ANSWER_S", 0.3)
    async with ScriptedServer() as server:
        server.mute.add("session.subscribe")
        async with client_of(server) as (client, _):
            room = server.room()
            await client.open(room.session_id)
            await client.connection.ready.wait()
            await until(lambda: room.followers)
            server.mute.clear()
            await until(lambda: len(server.credentials) == 2)
            client.send("hello")
            await until(lambda: answers(client) == ["you said hello"])


async def test_the_sessions_are_left_and_opened_without_mixing_their_frames() -> None:
    async with ScriptedServer() as server, client_of(server) as (client, _):
        first, second = server.room(), server.room()
        await client.open(first.session_id)
        client.send("in the first")
        await until(lambda: answers(client))
        await client.open(second.session_id)
        await until(lambda: second.followers and not first.followers)
        client.send("in the second")
        await until(lambda: answers(client) == ["you said in the second"])


async def test_delays_double_up_to_a_ceiling_with_full_jitter_and_keep_the_time_that_the_server_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "FIRST_DELAY_S", 0.5)
    many = [[delay_s(failures, None, 1006) for _ in range(200)] for failures in range(1, 12)]
    for failures, delays in enumerate(many, 1):
        ceiling = min(15.0, 0.5 * 2 ** (failures - 1))
        assert 0 <= min(delays) < 0.2 * ceiling
        assert 0.8 * ceiling < max(delays) <= ceiling
    asked = [delay_s(1, Refused("restarting", "", retry_after_s=4.0), 4412) for _ in range(200)]
    assert min(asked) >= 4.0 and 5.0 < max(asked) <= 6.0
