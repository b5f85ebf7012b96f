"""The client on a real terminal: keys in, a picture out."""

import asyncio
import fcntl
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from uuid import uuid4

import pytest

from tests.terminal.frames import Row, interrupt, message, run, tool_call
from tests.terminal.server import PASSWORD, Room, ScriptedServer, answer_with
from tests.terminal.watcher import sent, until

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(60)]

ROOT = Path(__file__).resolve().parent.parent.parent
ORDERS = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07]*\x07|\x1b[=>]")


class Terminal:
    """The other side of a pseudo-terminal of 24 rows and 80 columns."""

    def __init__(self, process: asyncio.subprocess.Process, descriptor: int) -> None:
        self.process, self._descriptor = process, descriptor
        self.raw = ""
        asyncio.get_running_loop().add_reader(descriptor, self._read)

    def _read(self) -> None:
        data = b""
        with suppress(OSError):  # Linux says so when the other side has gone
            data = os.read(self._descriptor, 65536)
        self.raw += data.decode(errors="replace")
        if not data:
            asyncio.get_running_loop().remove_reader(self._descriptor)

    @property
    def text(self) -> str:
        return ORDERS.sub("", self.raw)

    def type(self, keys: str) -> None:
        os.write(self._descriptor, keys.encode())

    async def shows(self, *wanted: str) -> None:
        try:
            async with asyncio.timeout(15):
                while not all(part in self.text for part in wanted):
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"{wanted} not in\n{self.text[-3000:]}") from None

    async def ended(self) -> int:
        return await asyncio.wait_for(self.process.wait(), 15)


@asynccontextmanager
async def terminal(server: ScriptedServer, *more: str, **env: str) -> AsyncIterator[Terminal]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    # No answer to "where is the cursor?" comes from this terminal.
    kept = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1", "LC_ALL": "C.UTF-8"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "chat.terminal", "--url", server.url, "--user", "ada", *more),
        cwd=ROOT,
        env=kept | {"CHAT_PASSWORD": PASSWORD} | env,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        # Ctrl-C comes from the terminal: in the moments when the client prints, the kernel makes it a signal.
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    shown = Terminal(process, ours)
    try:
        yield shown
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        asyncio.get_running_loop().remove_reader(ours)
        os.close(ours)


async def test_a_talk_from_the_first_message_to_ctrl_d() -> None:
    async with ScriptedServer() as server, terminal(server) as shown:
        await shown.shows("ada at http", "no sessions yet", "/help")
        shown.type("hello\r")
        await shown.shows("› hello", "AI", "you said hello")
        shown.type("again\r")
        await shown.shows("you said again")
        shown.type("\x04")
        assert await shown.ended() == 0


async def test_an_answer_appears_piece_by_piece() -> None:
    go_on = asyncio.Event()

    async def halting(room: Room, asked: Row, run_id: str) -> None:
        await room.event("run.started", run("running", run_id, message_id="a1"), run_id)
        await room.delta("a1", "the first half", run_id)
        await go_on.wait()
        await answer_with(room, run_id, [" of it", "\nand more"], "a1")

    async with ScriptedServer() as server, terminal(server) as shown:
        server.answer = halting
        shown.type("go\r")
        await shown.shows("the first half", "answering", "Ctrl-C stops")
        assert "and more" not in shown.text
        go_on.set()
        await shown.shows("and more")


async def test_ctrl_c_stops_the_answer_and_leaves_the_client_running() -> None:
    stopped = asyncio.Event()

    async def until_stopped(room: Room, asked: Row, run_id: str) -> None:
        await room.event("run.started", run("running", run_id, message_id="a1"), run_id)
        await room.delta("a1", "on and on", run_id)
        while not any(command["type"] == "run.cancel" for command in server.commands):
            await asyncio.sleep(0.01)
        await room.event(
            "message.created", message("a1", "on and on", run_id=run_id, data={"interrupted": True}), run_id
        )
        await room.event("run.cancelled", run("cancelled", run_id), run_id)
        stopped.set()

    async with ScriptedServer() as server, terminal(server) as shown:
        server.answer = until_stopped
        shown.type("go\r")
        await shown.shows("on and on")
        shown.type("\x03")
        await stopped.wait()
        await shown.shows("· stopped")
        shown.type("\x03")
        await shown.shows("Ctrl-D leaves")
        shown.type("/quit\r")
        assert await shown.ended() == 0


async def test_the_commands_list_open_leave_and_retry() -> None:
    async with ScriptedServer() as server:
        room = server.room("s-1")
        await room.event("message.created", message("m1", "from before", "user", run_id="run-7"))
        async with terminal(server) as shown:
            await shown.shows("1  Disk full", "waiting")
            shown.type("/open 1\r")
            await shown.shows("› from before")
            shown.type("/retry\r")
            await shown.shows("! There is no such thing.")
            assert server.commands[-1] | {"ref": 0} == {"type": "run.retry", "ref": 0, "data": {"run_id": "run-7"}}
            shown.type("/nonsense\r/open 9\r/help\r")
            await shown.shows("there is no command /nonsense", "no number 9", "list your sessions")
            shown.type("/new\r//slash\r")
            await shown.shows("you said /slash")
            assert len(server.rooms) == 2


async def test_received_text_gives_no_orders_to_the_terminal() -> None:
    async def hostile(room: Room, asked: Row, run_id: str) -> None:
        await answer_with(
            room, run_id, ["\x1b]0;own", "ed\x07safe\x1b[2J text\x1b]52;c;eA==\x07\n", "\x9b31mred\r\x08"]
        )

    async with ScriptedServer() as server, terminal(server) as shown:
        server.answer = hostile
        shown.type("go\r")
        await shown.shows("safe text", "red")
        for order in ("\x1b]", "\x1b[2J", "\x9b", "\x07", "owned"):
            assert order not in shown.raw


async def test_what_is_said_offline_is_shown_as_unsent_and_goes_out_later() -> None:
    async with ScriptedServer() as server, terminal(server) as shown:
        shown.type("one\r")
        await shown.shows("you said one")
        away = asyncio.create_task(server.away(1.5))
        await shown.shows("next try")
        shown.type("two\r")
        await shown.shows("› two  (not sent yet)")
        await away
        await shown.shows("you said two")


@pytest.mark.parametrize("how", [{"NO_COLOR": "1"}, {}])
async def test_colours_can_be_switched_off(how: dict[str, str]) -> None:
    more = () if how else ("--no-color",)
    async with ScriptedServer() as server, terminal(server, *more, **how) as shown:
        shown.type("hello\r")
        await shown.shows("you said hello")
        assert not re.search(r"\x1b\[[0-9;]*(?:3[0-8]|4[0-8]|9[0-7])m", shown.raw)


async def test_it_is_coloured_where_nothing_speaks_against_it() -> None:
    async with ScriptedServer() as server, terminal(server) as shown:
        shown.type("hello\r")
        await shown.shows("you said hello")
        assert re.search(r"\x1b\[[0-9;]*3[0-8][0-9;]*m", shown.raw)


# --- tool calls and questions -----------------------------------------------------------------------------------------


async def asks_first(room: Room, asked: Row, run_id: str) -> None:
    if asked["content"] != "cancel":
        return  # it waits behind the question
    call_id, call = uuid4().hex, {"tool": "cancel_order", "args": {"order_id": "1001"}}
    await room.event("message.created", tool_call("waiting", call_id, run_id), run_id)
    answer = await room.ask(interrupt("Cancel it?", "approval", uuid4().hex, payload=call), run_id)
    args = answer.get("args") or {"order_id": "1001"}
    status = "returned" if answer["approved"] else "refused"
    ended = tool_call(status, call_id, run_id, args=args, duration_s=0.25)
    await room.event("message.updated", ended, run_id)
    await answer_with(room, run_id, ["that was it"])


def answers(server: ScriptedServer) -> list[Row]:
    return [command["data"]["answer"] for command in server.commands if command["type"] == "interrupt.resolve"]


async def test_a_call_waits_for_a_yes_and_is_one_line_when_it_is_done() -> None:
    async with ScriptedServer() as server, terminal(server) as shown:
        server.answer = asks_first
        shown.type("cancel\r")
        await shown.shows("? Cancel it?", 'cancel_order({"order_id": "1001"})', "waits for a person", "y approves")
        shown.type("perhaps\r")
        await shown.shows("› perhaps")
        await until(lambda: sent(server)[1:])
        assert answers(server) == [], "a message, and no yes"
        shown.type("y\r")
        await shown.shows("· approved", '✓ cancel_order(order_id="1001") · 0.25 s', "that was it")
        assert answers(server)[0] == {"approved": True}


async def test_a_refusal_has_a_reason_and_arguments_can_be_edited() -> None:
    async with ScriptedServer() as server, terminal(server) as shown:
        server.answer = asks_first
        shown.type("cancel\r")
        await shown.shows("y approves")
        shown.type("n not that one\r")
        await shown.shows("· refused: not that one", '✗ cancel_order(order_id="1001") · refused', "that was it")
        shown.type("/new\rcancel\r")
        await shown.shows("new session")
        await until(lambda: shown.text.count("Cancel it?") == 2)
        shown.type("e\r")
        await shown.shows('/args {"order_id": "1001"}')
        shown.type("\x7f" * 3 + '4"}\r')
        await shown.shows("approved, with other arguments", '✓ cancel_order(order_id="1004")')
        assert answers(server)[1] == {"approved": True, "args": {"order_id": "1004"}}


async def test_a_line_that_was_begun_before_the_question_does_not_answer_it() -> None:
    go_on = asyncio.Event()

    async def asks_later(room: Room, asked: Row, run_id: str) -> None:
        await room.event("run.started", run("running", run_id, message_id="a1"), run_id)
        await go_on.wait()
        await asks_first(room, asked, run_id)

    async with ScriptedServer() as server, terminal(server) as shown:
        server.answer = asks_later
        shown.type("cancel\r")
        await shown.shows("answering")
        shown.type("yes")
        await shown.shows("yes")
        go_on.set()
        await shown.shows("y approves")
        shown.type("\r")
        await shown.shows("this was asked while you wrote")
        assert answers(server) == []
        shown.type("\r")
        await shown.shows("· approved", "that was it")


async def test_a_choice_is_made_by_its_number_and_a_wrong_one_is_told() -> None:
    async def asks_which(room: Room, asked: Row, run_id: str) -> None:
        choice = interrupt("Which?", "choice", payload={"choices": ["refund", "replace"]})
        answer = await room.ask(choice, run_id)
        await answer_with(room, run_id, [f"so you chose {answer['choice']}"])

    async with ScriptedServer() as server, terminal(server) as shown:
        server.answer = asks_which
        shown.type("help\r")
        await shown.shows("? Which?", "1  refund", "2  replace")
        shown.type("7\r")
        await shown.shows("! a number, or the words of a choice")
        shown.type("2\r")
        await shown.shows("· answered: replace", "so you chose replace")


async def test_what_nobody_answered_in_time_is_asked_for_again() -> None:
    async def expires(room: Room, asked: Row, run_id: str) -> None:
        if len(sent(server)) > 1:
            await answer_with(room, run_id, ["a second try"])
            return
        asking = asyncio.create_task(room.ask(interrupt("Cancel it?", "approval"), run_id))
        await until(lambda: room.asked)
        await room.settle("i1", "expired")
        await asking
        data = {"interrupt_ids": ["i1"], "ask_again": {"content": "cancel", "agent": "support"}}
        notice = message("n1", "Nobody answered in time", "system", kind="notice", data=data, run_id=run_id)
        await room.event("message.created", notice, run_id)
        await answer_with(room, run_id, ["not done"])

    async with ScriptedServer() as server, terminal(server) as shown:
        server.answer = expires
        shown.type("/again\r")
        await shown.shows("nothing has run out of time")
        shown.type("cancel\r")
        await shown.shows("nobody answered in time", "· Nobody answered in time", "/again asks", "not done")
        shown.type("/again\r")
        await shown.shows("a second try")
        again = sent(server)[1]
        assert (again["content"], again["agent"]) == ("cancel", "support")
        assert again["key"] != sent(server)[0]["key"]
