"""`manage.py chat` as its own process, with no terminal: lines in, answers out, an exit code."""

import asyncio
import fcntl
import os
import sys
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from chat.terminal.api import Api
from chat.terminal.client import Client
from chat.terminal.lines import PIECE, PIECES, Lines, read_lines
from tests.terminal.frames import Row, frame, interrupt, message, run, session, tool_call
from tests.terminal.server import PASSWORD, Answer, Room, ScriptedServer, answer_with
from tests.terminal.watcher import Watcher, right_password, until

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(60)]

ROOT = Path(__file__).resolve().parent.parent.parent


class Ended(NamedTuple):
    code: int
    out: str
    err: str


MANAGE = ("manage.py", "chat")
ALONE = ("-m", "chat.terminal")  # the same without Django, which takes most of the time


async def start(
    url: str,
    *more: str,
    way: tuple[str, ...] = ALONE,
    password: str | None = PASSWORD,
    user: str = "ada",
    data_dir: Path | None = None,
) -> asyncio.subprocess.Process:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "CHAT_DATA_DIR") if name in os.environ}
    env = kept | {"CHAT_ENV": "local"} | ({"CHAT_PASSWORD": password} if password is not None else {})
    env |= {"CHAT_DATA_DIR": str(data_dir)} if data_dir else {}
    where = ("--url", url) if url else ()
    command = (sys.executable, *way, *where, "--user", user, *more)
    pipe = asyncio.subprocess.PIPE
    # A session of its own: there is no terminal to ask for a password on, wherever the tests run.
    return await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env=env, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
    )


async def talk(url: str, said: str, *more: str, **options: Any) -> Ended:
    process = await start(url, *more, **options)
    out, err = await asyncio.wait_for(process.communicate(said.encode()), 30)
    return Ended(process.returncode or 0, out.decode(), err.decode())


@pytest.mark.parametrize("way", [MANAGE, ALONE])
async def test_a_line_is_a_message_and_only_the_answers_come_out(way: tuple[str, ...]) -> None:
    async with ScriptedServer() as server:
        ended = await talk(server.url, "one\n\n/help\r\nlast without a line break", way=way)
        assert ended == (0, "you said one\nyou said /help\nyou said last without a line break\n", "")
        assert len(server.rooms) == 1


async def test_it_goes_on_with_the_session_that_was_named() -> None:
    async with ScriptedServer() as server:
        server.room("s-1")
        server.room("s-2")
        ended = await talk(server.url, "hello\n", "s-2")
        assert ended == (0, "you said hello\n", "")
        assert not server.rooms["s-1"].log
        assert len(server.rooms) == 2


async def test_that_an_answer_is_not_whole_is_told_beside_it() -> None:
    async def cut(room: Room, asked: Row, run_id: str) -> None:
        await room.event("message.created", message("a1", "First,", run_id=run_id, data={"cut": "length"}), run_id)
        await room.event("run.succeeded", run("succeeded", run_id, message_id="a1"), run_id)

    async with ScriptedServer() as server:
        server.answer = cut
        ended = await talk(server.url, "hello\n")
    assert (ended.code, ended.out) == (0, "First,\n")
    assert "too long" in ended.err


async def test_nothing_to_say_is_no_error() -> None:
    async with ScriptedServer() as server:
        assert await talk(server.url, "") == (0, "", "")


async def test_an_answer_is_written_when_it_is_there_and_not_only_at_the_end() -> None:
    async with ScriptedServer() as server:
        process = await start(server.url)
        assert process.stdin and process.stdout
        for text in ("one", "two"):
            process.stdin.write(f"{text}\n".encode())
            line = await asyncio.wait_for(process.stdout.readline(), 20)
            assert line.decode() == f"you said {text}\n"
        process.stdin.close()
        assert await asyncio.wait_for(process.wait(), 20) == 0


async def test_a_lost_line_and_a_lost_worker_in_the_middle_leave_one_whole_answer() -> None:
    async def unlucky(room: Room, asked: Row, run_id: str) -> None:
        await room.event("run.started", run("running", run_id, message_id="a1"), run_id)
        await room.delta("a1", "never fini", run_id)
        restarted = run("queued", run_id, attempt=2) | {"reason": "worker_lost", "discarded": ["a1"]}
        await room.event("run.restarted", restarted, run_id)
        server.cut()
        await answer_with(room, run_id, ["one\n", "whole\x1b[2J ", "answer"], "a2", pause_s=0.01)

    async with ScriptedServer() as server:
        server.answer = unlucky
        assert await talk(server.url, "go\n") == (0, "one\nwhole answer\n", "")


async def test_a_failed_run_is_an_error_and_ends_it() -> None:
    async def fails(room: Room, asked: Row, run_id: str) -> None:
        if asked["content"] == "good":
            await answer_with(room, run_id, ["fine"])
            return
        error = {"code": "llm_timeout", "message": "The model took too long.", "temporary": True}
        await room.event("run.failed", run("failed", run_id, error=error), run_id)

    async with ScriptedServer() as server:
        server.answer = fails
        ended = await talk(server.url, "good\nbad\ngood\n", way=MANAGE)
        assert ended == (1, "fine\n", "chat: The model took too long.\n")


async def test_an_answer_that_somebody_stopped_is_an_error() -> None:
    async def stopped(room: Room, asked: Row, run_id: str) -> None:
        await room.event("run.cancelled", run("cancelled", run_id), run_id)

    async with ScriptedServer() as server:
        server.answer = stopped
        assert await talk(server.url, "go\n") == (1, "", "chat: the answer was stopped\n")


@pytest.mark.parametrize("last", ["session.deleted", "session.member_removed", "error"])
async def test_a_session_that_is_gone_while_a_line_waits_for_its_answer_is_an_error(last: str) -> None:
    async def never(room: Room, asked: Row, run_id: str) -> None:
        await room.event("run.started", run("running", run_id, message_id="a1"), run_id)
        await room.delta("a1", "half of", run_id)
        not_found: Row = {"code": "not_found", "message": "There is no such thing.", "temporary": False}
        data = not_found if last == "error" else session(room.session_id) | {"member": {"user_id": "u"}}
        seq = None if last == "error" else len(room.log) + 1
        await server.shut_out(room, frame(last, seq, data, room.session_id) | {"ref": None})

    async with ScriptedServer() as server:
        server.answer = never
        process = await start(server.url)  # whose input stays open
        assert process.stdin and process.stdout and process.stderr
        process.stdin.write(b"go\n")
        assert await asyncio.wait_for(process.wait(), 20) == 1
        told = b"chat: this session was deleted, or you no longer take part in it\n"
        assert (await process.stdout.read(), await process.stderr.read()) == (b"", told)


async def test_it_goes_on_when_somebody_else_is_taken_out_of_the_session() -> None:
    async def without_ben(room: Room, asked: Row, run_id: str) -> None:
        await room.event("session.member_removed", room.row() | {"member": {"user_id": "ben"}})
        await answer_with(room, run_id, ["you said ", asked["content"]], pause_s=0.05)

    async with ScriptedServer() as server:
        server.answer = without_ben
        assert await talk(server.url, "one\ntwo\n") == (0, "you said one\nyou said two\n", "")


@pytest.mark.parametrize(
    ("becomes", "out"),
    [
        ({"joined": {"run_id": "run-1", "read": True}}, "of the first\n"),
        ({"joined": {"run_id": "run-2", "read": True}}, "of the second\n"),  # another one's message is its question
        ({}, "of the second\n"),
    ],
)
async def test_what_joins_a_run_has_its_answer_from_the_run_that_reads_it(becomes: Row, out: str) -> None:
    async def ends(room: Room, asked: Row, run_id: str) -> None:
        changed = asked | {"run_id": None if becomes else "run-2", "data": becomes}
        await room.event("message.updated", changed, "run-1")
        await room.event("run.queued", run("queued", "run-2"), "run-2")
        await answer_with(room, "run-1", ["of the first"])
        await answer_with(room, "run-2", ["of the second"])

    assert await joining(ends) == (0, out, "")


async def test_what_joined_a_run_that_was_interrupted_before_it_read_it_waits_for_the_next_one() -> None:
    async def interrupted(room: Room, asked: Row, run_id: str) -> None:
        await room.event("run.cancelled", run("cancelled", "run-1"), "run-1")
        await asyncio.sleep(0.1)
        await room.event("message.updated", asked | {"run_id": "run-2", "data": {}}, "run-2")
        await room.event("run.queued", run("queued", "run-2"), "run-2")
        await answer_with(room, "run-2", ["of the second"])

    assert await joining(interrupted) == (0, "of the second\n", "")


async def joining(answer: Answer) -> Ended:
    """A line that joins the run under way."""
    async with ScriptedServer() as server:
        server.answer = answer
        room = server.room("s-1")
        room.open_run = "run-1"
        await room.event("run.queued", run("queued", "run-1"), "run-1")
        return await talk(server.url, "and when?\n", "s-1")


async def test_a_refused_message_is_an_error() -> None:
    async with ScriptedServer() as server:
        server.errors["message.send"] = [
            {"code": "invalid_input", "message": "That is\x1b[2J too long.", "temporary": False}
        ]
        assert await talk(server.url, "x\n") == (1, "", "chat: That is too long.\n")


async def test_what_cannot_begin_is_an_error_that_says_why() -> None:
    async with ScriptedServer() as server:
        assert await talk(server.url, "x\n", password="no") == (1, "", "chat: Name and password do not match.\n")
        assert await talk(server.url, "x\n", "unknown") == (1, "", "chat: There is no such thing.\n")
        assert "CHAT_PASSWORD" in (await talk(server.url, "x\n", password=None)).err
        assert "--user" in (await talk(server.url, "x\n", user="")).err
        url = server.url
    gone = await talk(url, "x\n")
    assert (gone.code, gone.out) == (1, "")
    assert gone.err.startswith(f"chat: no answer from {url}")
    assert "not the address" in (await talk("ftp://x", "x\n")).err


async def test_an_error_ends_it_although_the_input_stays_open() -> None:
    async with ScriptedServer() as server:
        process = await start(server.url)
        assert process.stdin and process.stdout
        process.stdin.write(b"one\n")
        await asyncio.wait_for(process.stdout.readline(), 20)
        server.accounts.clear()
        server.tokens.clear()
        server.refreshes.clear()
        await server.close(4401)
        assert await asyncio.wait_for(process.wait(), 20) == 1


async def test_of_an_endless_input_little_is_read_before_it_is_said(tmp_path: Path) -> None:
    said = b"hello\n" * 1_000_000
    (tmp_path / "said").write_bytes(said)
    with (tmp_path / "said").open("rb", buffering=0) as file:
        lines = read_lines(file.fileno())
        assert await anext(lines) == "hello"
        await until(lambda: file.tell() >= PIECES * PIECE)
        await asyncio.sleep(0.2)  # without a bound it has read all of it by now
        assert file.tell() <= (PIECES + 1) * PIECE < len(said)
        assert [line async for line in lines] == ["hello"] * 999_999


async def test_the_address_is_that_of_the_stack_that_runs_on_this_folder(tmp_path: Path) -> None:
    async with ScriptedServer() as server:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "env").write_text(f"PORT={server.port}\nREDIS_URL=redis://127.0.0.1:1/0\n")
        with (tmp_path / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # as who runs there does
            said = await talk("", "hello\n", data_dir=tmp_path, way=MANAGE)
        assert said == (0, "you said hello\n", "")


# --- questions --------------------------------------------------------------------------------------------------------

APPROVAL = interrupt("Cancel it?", "approval", payload={"tool": "cancel_order", "args": {"order_id": "1001"}})
ASKED = """Cancel it?
  cancel_order({"order_id": "1001"})
  (y approves, n or n REASON refuses)
"""


async def asks_first(room: Room, asked: Row, run_id: str) -> None:
    if asked["content"] != "cancel":
        await answer_with(room, run_id, ["you said ", asked["content"]])
        return
    await room.event("message.created", tool_call("waiting", run_id=run_id), run_id)
    answer = await room.ask(APPROVAL, run_id)
    await room.event("message.updated", tool_call("returned" if answer["approved"] else "refused"), run_id)
    await answer_with(room, run_id, ["done" if answer["approved"] else f"not done: {answer.get('reason')}"])


@pytest.mark.parametrize(
    ("line", "answer", "out"),
    [
        ("y", {"approved": True}, "done"),
        ("n too late", {"approved": False, "reason": "too late"}, "not done: too late"),
    ],
)
async def test_the_line_after_a_question_answers_it(line: str, answer: Row, out: str) -> None:
    async with ScriptedServer() as server:
        server.answer = asks_first
        ended = await talk(server.url, f"cancel\n{line}\nmore\n")
        assert ended == (0, f"{out}\nyou said more\n", ASKED)
        assert [c["data"]["answer"] for c in server.commands if c["type"] == "interrupt.resolve"] == [answer]


@pytest.mark.parametrize(("said", "why"), [("cancel\nyes, please\n", "is no answer"), ("cancel\n", "no line left")])
async def test_a_question_that_no_line_answers_is_an_error_and_never_a_yes(said: str, why: str) -> None:
    async with ScriptedServer() as server:
        server.answer = asks_first
        ended = await talk(server.url, said)
        assert (ended.code, ended.out) == (1, "")
        assert ended.err.startswith(ASKED) and why in ended.err
        assert not [c for c in server.commands if c["type"] == "interrupt.resolve"]


async def test_it_goes_on_when_somebody_else_answers_and_keeps_the_next_line() -> None:
    async with ScriptedServer() as server:
        server.answer = asks_first
        process = await start(server.url)
        assert process.stdin and process.stdout and process.stderr
        process.stdin.write(b"cancel\n")
        assert await asyncio.wait_for(process.stderr.readline(), 20) == b"Cancel it?\n"
        (room,) = server.rooms.values()
        await room.settle("i1", answer={"approved": False})
        assert await asyncio.wait_for(process.stdout.readline(), 20) == b"not done: None\n"
        process.stdin.write(b"hello\n")
        process.stdin.close()
        assert await asyncio.wait_for(process.stdout.readline(), 20) == b"you said hello\n"
        assert await asyncio.wait_for(process.wait(), 20) == 0


async def test_a_line_that_is_read_while_the_question_is_settled_is_kept_for_the_next_message() -> None:
    async def line() -> str | None:
        return "hello"

    lines, client = Lines(StringIO(), StringIO()), Client(Api("http://127.0.0.1:1", "ada", right_password), Watcher())
    lines._next = reading = asyncio.create_task(line())
    await reading
    assert client.question is None
    await lines._answer(client, APPROVAL, read_lines(-1))
    assert lines._next is reading and not client._answering
    await client.api.close()


async def test_an_answer_that_comes_too_late_is_no_error() -> None:
    async with ScriptedServer() as server:
        server.answer = asks_first
        server.errors["interrupt.resolve"] = [{"code": "expired", "message": "Too late.", "temporary": False}]
        process = await start(server.url)
        assert process.stdin and process.stdout and process.stderr
        process.stdin.write(b"cancel\ny\n")
        process.stdin.close()
        while not [c for c in server.commands if c["type"] == "interrupt.resolve"]:
            await asyncio.sleep(0.01)
        (room,) = server.rooms.values()
        await room.settle("i1", "expired", {"approved": False})
        assert await asyncio.wait_for(process.stdout.readline(), 20) == b"not done: None\n"
        assert await asyncio.wait_for(process.wait(), 20) == 0


async def test_a_new_session_is_with_the_agent_that_was_named() -> None:
    async with ScriptedServer() as server:
        assert (await talk(server.url, "hello\n", "--agent", "support")).code == 0
        assert ("POST", "/api/sessions/", {"agent": "support"}) in server.requests
