"""Workers die between a tool's effect and its record: once is once, the same key comes again, a person is asked."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from tests.chaos.crowd import QUICK
from tests.conftest import NewStack
from tests.deeds import AGENT, Deeds
from tests.processes import eventually
from tests.stack import Stack
from tests.wire import Client

# Calls that a kill hits; `make test ARGS=…` with more of them in CHAT_TEST_CALLS takes longer, and finds no more.
CALLS = int(os.environ.get("CHAT_TEST_CALLS", "50"))
KINDS = ("peek", "stamp", "launch")
HAPPENED, AGAIN, LEAVE = "It happened", "It did not happen: call it", "Leave it"


@pytest.fixture
def deeds(tmp_path: Path) -> Deeds:
    return Deeds(tmp_path)


async def ask(client: Client, content: str) -> tuple[str, str]:
    """Ask in a session of its own."""
    session_id = await client.new_session()
    await client.subscribe(session_id)
    return session_id, await client.say(session_id, content, agent=AGENT)


def statuses(client: Client, asked: dict[str, str]) -> list[str | None]:
    return [client.folds[session_id].status(run_id) for session_id, run_id in asked.items()]


async def settled(client: Client, asked: dict[str, str], **expected: int) -> None:
    there = lambda: Counter(statuses(client, asked)) == expected  # noqa: E731
    await client.until(there, f"the runs are {expected}", 60)


def made(stack: Stack) -> dict[str, tuple[str, str]]:
    rows = stack.ask("list(ToolCall.objects.values_list('id', 'tool', 'status'))")
    return {key: (tool, status) for key, tool, status in rows}


async def test_no_kill_makes_a_call_happen_twice_that_must_not(new_stack: NewStack, deeds: Deeds) -> None:
    env = QUICK | deeds.env
    stack = new_stack(workers=0, env=env)
    deeds.employ(stack)
    doomed = stack.add_worker(CHAT_FAILPOINTS="tool.made=rest:600")
    async with stack.client(stack.person("ada")) as client:
        asked: dict[str, str] = {}
        for number in range(CALLS):
            session_id, run_id = await ask(client, f"Please {KINDS[number % 3]} {number + 1000}")
            asked[session_id] = run_id
        eventually(lambda: len(deeds.done()) == CALLS, "every effect is there, and no record", 60)
        assert {status for _, status in made(stack).values()} == {"called"}
        doomed.kill()
        rescuer = stack.add_worker()
        lost_for_good = sum(number % 3 == KINDS.index("launch") for number in range(CALLS))
        await settled(client, asked, succeeded=CALLS - lost_for_good, interrupted=lost_for_good)

        assert set(deeds.times("peek").values()) == {2}
        assert set(deeds.times("stamp").values()) == {2}, "and each with its own key, which came again"
        assert set(deeds.times("launch").values()) == {1}
        assert Counter(made(stack).values())["launch", "unknown"] == lost_for_good

        # Nobody is needed while people think: not even a worker.
        rescuer.kill()
        open_questions = [
            row
            for session_id in asked
            for row in client.folds[session_id].interrupts.values()
            if row["status"] == "open"
        ]
        chosen: dict[str, str] = {}
        for row, choice in zip(open_questions, [HAPPENED, AGAIN, LEAVE] * CALLS, strict=False):
            await client.command("interrupt.resolve", interrupt_id=row["interrupt_id"], answer={"choice": choice})
            chosen[row["payload"]["tool_call_id"]] = choice
        assert len(chosen) == lost_for_good
        stack.add_worker()
        await settled(client, asked, succeeded=CALLS)
        times = deeds.times("launch")
        assert all(times[key] == (2 if choice == AGAIN else 1) for key, choice in chosen.items())
        expected = {HAPPENED: "returned", AGAIN: "returned", LEAVE: "failed"}
        rows = made(stack)
        assert all(rows[key][1] == expected[choice] for key, choice in chosen.items())
        await client.agrees()
        print(f"{CALLS} calls were hit between effect and record; {lost_for_good} were asked about")


async def test_a_stop_ends_a_run_whose_tool_is_at_work_and_a_drain_lets_the_tool_finish(
    new_stack: NewStack, deeds: Deeds
) -> None:
    stack = new_stack(workers=1, env=QUICK | deeds.env)
    deeds.employ(stack)
    [leaving] = stack.workers
    async with stack.client(stack.person("ada")) as client:
        session_id, stopped = await ask(client, "Please linger 8")
        fold = client.folds[session_id]
        eventually(lambda: deeds.done("begun"), "the tool is at work")
        await client.command("run.cancel", run_id=stopped)
        assert fold.status(stopped) == "cancelled"
        last_seq = fold.last_seq
        deeds.let_go(8)
        eventually(lambda: deeds.done("linger"), "its thread ends")

        run_id = await client.say(session_id, "Please linger 9", agent=AGENT)
        eventually(lambda: len(deeds.done("begun")) == 2, "the tool is at work")
        leaving.terminate()
        deeds.let_go(9)
        leaving.wait()
        stack.add_worker()
        await client.ended(session_id, run_id)
        assert fold.status(run_id) == "succeeded" and not fold.interrupts
        assert fold.runs[run_id]["crashes"] == 0
        assert len(deeds.done("linger")) == 2, "each once"
        told = [frame for frame in client.log(session_id) if frame["run_id"] == stopped and frame["seq"] > last_seq]
        assert not told, "after its end nothing was told of the one that was stopped"
        await client.agrees()
