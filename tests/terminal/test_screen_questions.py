"""Tool calls and questions on a real terminal."""

import asyncio
from uuid import uuid4

import pytest

from tests.terminal.frames import Row, interrupt, message, run, tool_call
from tests.terminal.server import Room, ScriptedServer, answer_with
from tests.terminal.terminal import terminal
from tests.terminal.watcher import sent, until

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(60)]


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
