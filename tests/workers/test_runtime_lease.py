"""A worker process: runs that are no longer its own, and the lease."""

import asyncio
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from chat.actions import attempts, runs, sessions, workers
from chat.database import reading, writing
from chat.models import Message, Run, Worker
from tests.inside import Talk, told
from tests.workers.process import (
    LOST,
    LedLLM,
    answering,
    let_no_task_be_left,
    over,
    shown,
    tick,
    until_asked,
    until_row,
)
from workers import runtime as runtime_module
from workers.runtime import DRAINED, FENCED, Runtime

# --- runs that are no longer its own ----------------------------------------------------------------------------------

TAKEN: dict[str, Callable[[Talk, Run], Any]] = {
    "cancelled": lambda talk, run: talk.cancel(run.pk),
    "put back": lambda talk, run: attempts.put_back(run, "drained"),
    "deleted": lambda talk, run: sessions.delete_session(talk.ada, talk.pk),
}


@pytest.mark.parametrize("how", TAKEN)
async def test_a_run_that_was_taken_away_is_let_go_at_the_next_tick_without_redis(
    talk: Talk, runtime: Runtime, llm: LedLLM, redis_server: Any, how: str
) -> None:
    await asyncio.to_thread(told)
    redis_server.kill()
    held = await answering(talk, runtime)
    await until_asked(llm, 1)
    await tick(runtime)
    assert runtime.held, "it is still its own"
    await writing(TAKEN[how], talk, held.run)
    await tick(runtime)
    await over(runtime)
    assert (held.why, llm.closed) == (FENCED, 1)


async def test_a_nudge_makes_it_look_at_that_run_and_a_lost_one_at_all(
    talk: Talk, runtime: Runtime, llm: LedLLM
) -> None:
    held = await answering(talk, runtime)
    runtime._on_nudge({"type": "nudge", "run_id": str(uuid4())})
    runtime._on_nudge({"type": "nudge", "run_id": str(held.run.pk)})
    await let_no_task_be_left(runtime)
    assert held.why is None
    await runs.cancel_run(talk.ada, held.run.pk)
    runtime._on_nudge({"type": "look"})
    await over(runtime)
    assert held.why == FENCED


async def test_a_nudge_while_the_database_is_away_takes_nothing_away(
    talk: Talk, runtime: Runtime, llm: LedLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = await answering(talk, runtime)

    def away(*args: Any) -> Any:
        raise LOST

    monkeypatch.setattr(workers, "still_held", away)
    runtime._on_nudge({"type": "nudge", "run_id": str(held.run.pk)})
    await asyncio.sleep(0)
    await let_no_task_be_left(runtime)
    assert held.why is None


async def test_a_frozen_worker_that_wakes_up_writes_nothing_and_claims_nothing_before_it_renewed(
    talk: Talk, runtime: Runtime, llm: LedLLM, redis: Any, settings: Any
) -> None:
    settings.CHAT_LEASE_S = 5
    held = await answering(talk, runtime)
    llm.say("of the frozen one")
    await shown(held.run, "of the frozen one", redis)

    # Asleep: the lease runs out, another takes over and answers.
    runtime._renewed_at -= 6
    assert not held.kept_since(time.monotonic()), "its tools are told"
    await writing(workers.end_lease, talk.worker_id)
    [lost] = await reading(attempts.lost_runs)
    await writing(attempts.put_back, lost, "worker_lost")
    rescuer = await writing(workers.register_worker, "host:2")
    again = await writing(talk.claim, rescuer)
    await writing(attempts.finish_run, again, "of the rescuer", attempts.Spending())
    waiting = await writing(talk.queue, "Another?")

    # Awake: it would go on where it was.
    await runtime.look_at(talk.pk)
    assert list(runtime.held) == [held.run.pk], "what it claimed now would be taken for lost at once"
    llm.end()
    await over(runtime)
    answers = await reading(lambda: list(Message.objects.filter(role="assistant").values_list("content", flat=True)))
    assert answers == ["of the rescuer"]
    await tick(runtime)
    assert runtime.holds_lease
    await runtime.look_at(talk.pk)
    assert list(runtime.held) == [waiting.pk]


async def test_to_stop_a_run_twice_keeps_the_first_reason(talk: Talk, runtime: Runtime, llm: LedLLM) -> None:
    held = await answering(talk, runtime)
    held.stop(DRAINED)
    held.stop(FENCED)
    await over(runtime)
    await until_row(held.run, status="queued")


# --- the lease --------------------------------------------------------------------------------------------------------


async def test_the_lease_is_renewed_only_while_the_loop_turns(talk: Talk, runtime: Runtime, settings: Any) -> None:
    """A process whose loop hangs holds runs that nobody works on."""
    await writing(workers.end_lease, talk.worker_id)
    runtime._ticked_at = time.monotonic() - runtime_module.LOOP_ALIVE_S - 0.1
    await reading(runtime._renew)
    assert not await reading(Worker.objects.alive().exists)
    runtime._ticked_at = time.monotonic()
    await reading(runtime._renew)
    assert await reading(Worker.objects.alive().exists)


async def test_an_hours_old_lease_is_none(talk: Talk, runtime: Runtime, settings: Any) -> None:
    settings.CHAT_LEASE_S = 5
    assert runtime.holds_lease
    runtime._renewed_at = time.monotonic() - 5
    assert not runtime.holds_lease
