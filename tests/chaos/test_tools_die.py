"""Workers die between a tool's effect and its record: once is once, the same key comes again, a person is asked."""

from pathlib import Path

import pytest

from tests.chaos.crowd import QUICK
from tests.chaos.lost_calls import LostCalls, ask
from tests.conftest import NewStack
from tests.deeds import AGENT, Deeds
from tests.processes import eventually

CALLS = 50  # of three kinds; `make chaos ARGS="--fault 26"` loses more of them


@pytest.fixture
def deeds(tmp_path: Path) -> Deeds:
    return Deeds(tmp_path)


async def test_no_kill_makes_a_call_happen_twice_that_must_not(new_stack: NewStack, deeds: Deeds) -> None:
    stack = new_stack(workers=0, env=QUICK | deeds.env)
    deeds.employ(stack)
    async with stack.client(stack.person("ada")) as client:
        calls = LostCalls(stack, deeds, client, CALLS)
        await calls.lose()
        await calls.recover()
        await calls.answer()
        print(f"{CALLS} calls were hit between effect and record; {calls.launched} were asked about")


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
