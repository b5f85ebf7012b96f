"""The client on a real terminal: keys in, a picture out."""

import asyncio
import re

import pytest

from tests.terminal.frames import Row, frame, message, run
from tests.terminal.server import Room, ScriptedServer, answer_with
from tests.terminal.terminal import terminal
from tests.terminal.watcher import until

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(60)]


async def test_a_talk_from_the_first_message_to_ctrl_d() -> None:
    async with ScriptedServer() as server, terminal(server) as shown:
        await shown.shows("ada at http", "no sessions yet", "/help")
        shown.type("hello\r")
        await shown.shows("› hello", "AI", "you said hello")
        shown.type("again\r")
        await shown.shows("you said again")
        assert await shown.leaves() == 0


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
            shown.type("/open ²\r")  # a digit to Python, and no number
            await until(lambda: ("GET", "/api/sessions/%C2%B2/", {}) in server.requests)
            shown.type("/nonsense\r/open 9\r/help\r")
            await shown.shows("there is no command /nonsense", "no number 9", "list your sessions")
            shown.type("/new\r//slash\r")
            await shown.shows("you said /slash")
            assert len(server.rooms) == 2


async def test_a_session_that_is_gone_is_told_and_answers_no_more() -> None:
    go_on = asyncio.Event()

    async def deleted_meanwhile(room: Room, asked: Row, run_id: str) -> None:
        await room.event("run.started", run("running", run_id, message_id="a1"), run_id)
        await room.delta("a1", "the first half", run_id)
        await go_on.wait()
        deleted = frame("session.deleted", len(room.log) + 1, room.row(), room.session_id)
        await server.shut_out(room, deleted)

    async with ScriptedServer() as server, terminal(server) as shown:
        server.answer = deleted_meanwhile
        shown.type("go\r")
        await shown.shows("the first half", "answering")
        go_on.set()
        await shown.shows("! this session was deleted, or you no longer take part in it", "· not finished")
        shown.type("hello?\r")
        await shown.shows("! not sent: There is no such thing.")
        shown.type("\x03")  # stops nothing
        await shown.shows("Ctrl-D leaves")


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
