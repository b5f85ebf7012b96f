"""A run is lost between the row of a call and the call: it is not made, and nobody believes that it was."""

import asyncio
from typing import Any

import pytest

from chat.actions import attempts
from chat.database import writing
from chat.errors import Fenced
from chat.models import Run
from tests.inside import Talk
from tests.workers.acting import calls, statuses
from tests.workers.process import process_of, tick, until
from workers.llm.base import ToolCall as Wanted
from workers.runtime import Held
from workers.steps import Steps
from workers.tools import call as calling
from workers.tools import tool


class Payment:
    """A tool that must not be called twice, and how often it was."""

    def __init__(self) -> None:
        self.made = 0

        @tool(effect="once", access="write", needs_approval=False)
        def pay() -> str:
            """Pay."""
            self.made += 1
            return "paid"

        self.tools = {"pay": pay}

    async def begin(self, held: Held) -> Steps:
        steps = Steps(held, self.tools)
        await steps.begin("", [Wanted("1", "pay", "{}")], 0.0)
        return steps

    async def waits_for_room(self, run: Run) -> tuple[asyncio.Semaphore, asyncio.Task[Any]]:
        """Begin a payment where all that may be called at once is under way, until the room is released."""
        room = calling._slots.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(1))
        await room.acquire()
        steps = await self.begin(Held(run))
        finishing = asyncio.ensure_future(steps.finish())
        await until(lambda: room._waiters, "it waits for room")
        return room, finishing


async def test_a_call_is_not_made_when_its_claim_was_lost_while_it_waited_for_room(talk: Talk) -> None:
    payment, run = Payment(), await writing(talk.start)
    room, finishing = await payment.waits_for_room(run)
    await writing(lambda: attempts.put_back(run, "worker_lost", stuck=True))
    room.release()
    with pytest.raises(Fenced):
        await finishing
    assert not payment.made and not room.locked()
    assert await statuses(run) == [("pay", "called")], "whoever goes on with it asks people, as of any that was lost"


async def test_a_call_that_has_waited_for_room_is_made_while_its_claim_holds(talk: Talk) -> None:
    payment, run = Payment(), await writing(talk.start)
    room, finishing = await payment.waits_for_room(run)
    room.release()
    await finishing
    assert payment.made == 1 and await statuses(run) == [("pay", "returned")]


@pytest.mark.parametrize("is_renewed", [False, True])
async def test_a_call_is_not_made_once_the_lease_ran_out_also_when_it_was_renewed(talk: Talk, is_renewed: bool) -> None:
    payment, run, runtime = Payment(), await writing(talk.start), process_of(talk.worker_id)
    steps = await payment.begin(Held(run, kept_since=runtime.kept_lease_since))
    runtime._renewed_at = float("-inf")  # frozen, say
    if is_renewed:
        await tick(runtime)
        assert runtime.holds_lease
    await steps.finish()
    [call] = await calls(run)
    assert not payment.made and call.status == "failed" and call.error and call.error["code"] == "not_called"
    if is_renewed:
        again = Steps(Held(run, kept_since=runtime.kept_lease_since), payment.tools)
        await again.begin("", [Wanted("2", "pay", "{}")], 0.0)
        await again.finish()
        assert payment.made == 1, "what is written down since then is made"
