"""A worker process: its doors, its lease, its rows, and how it goes down."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.db import InterfaceError, OperationalError

from chat.actions import attempts, messages, runs, sessions, workers
from chat.database import reading, writing
from chat.errors import Fenced
from chat.models import Message, Run, Worker
from tests.inside import WAIT_S, Talk, Threads, failing_at, new_talk, rung, stopped_at, told
from tests.processes import eventually
from tests.workers.process import LedLLM, begun, forget_publishers, over, shown, tick, until, until_row
from workers import runner
from workers import runtime as runtime_module
from workers.runtime import DRAINED, FENCED, Runtime

LOST = OperationalError("server closed the connection unexpectedly")


def expire(worker_id: Any) -> None:
    workers.end_lease(worker_id)


async def let_all_settle(runtime: Runtime) -> None:
    await until(lambda: not runtime._tasks and not runtime._looking, "everything has settled")


# --- the doors --------------------------------------------------------------------------------------------------------


async def test_a_doorbell_means_look_at_this_session_and_not_do_this_run(
    talk: Talk, runtime: Runtime, llm: LedLLM
) -> None:
    first, second = await writing(talk.queue, "1"), await writing(talk.queue, "2")
    runtime.ring(str(second.pk))
    await until(lambda: runtime.held, "something is claimed")
    assert list(runtime.held) == [first.pk]


async def test_a_doorbell_for_what_is_gone_or_over_does_nothing(talk: Talk, runtime: Runtime) -> None:
    ended = await writing(talk.answer)
    for run_id in (ended.pk, uuid4()):
        runtime.ring(str(run_id))
    await asyncio.sleep(0)
    await let_all_settle(runtime)
    assert not runtime.held


async def test_many_doorbells_at_once_start_a_session_once(talk: Talk, runtime: Runtime) -> None:
    run = await writing(talk.queue)
    await writing(talk.queue)
    for _ in range(20):
        runtime.ring(str(run.pk))
    await until(lambda: runtime.held, "something is claimed")
    await let_all_settle(runtime)
    assert list(runtime.held) == [run.pk]


async def test_a_doorbell_that_comes_during_a_claim_is_not_lost(
    talk: Talk, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The claim that is under way may have looked before what this ring is about."""
    claim_run, looked, go_on = attempts.claim_run, threading.Event(), threading.Event()

    def slow(worker_id: Any, session_id: Any) -> Run | None:
        found = claim_run(worker_id, session_id)
        looked.set()
        assert go_on.wait(WAIT_S)
        return found

    monkeypatch.setattr(attempts, "claim_run", slow)
    looking = asyncio.ensure_future(runtime.look_at(talk.pk))
    await asyncio.to_thread(looked.wait, WAIT_S)
    # On SQLite the claim holds the only writing thread; another process posts.
    run = await reading(talk.queue)
    await runtime.look_at(talk.pk)
    go_on.set()
    await looking
    assert list(runtime.held) == [run.pk]


async def test_a_full_worker_leaves_rows_to_others_and_looks_again_when_it_has_room(
    talk: Talk, runtime: Runtime, llm: LedLLM, settings: Any
) -> None:
    settings.CHAT_RUNS_PER_WORKER = 2
    talks = [talk, *[await writing(new_talk, talk.ada, talk.ben, talk.worker_id) for _ in range(3)]]
    for one in talks:
        await writing(one.queue)
    await asyncio.gather(*(runtime.look_at(one.pk) for one in talks))
    assert len(runtime.held) == 2
    assert await reading(Run.objects.filter(status="queued").count) == 2
    settings.CHAT_RUNS_PER_WORKER = 0
    await asyncio.gather(*(runtime.look_at(one.pk) for one in talks))
    assert len(runtime.held) == 4, "no limit is none"


async def test_a_claim_that_fails_is_logged_and_ends_nothing(
    talk: Talk, runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    run = await writing(talk.queue)
    with failing_at("claim.slot", LOST):
        runtime.ring(str(run.pk))
        await asyncio.sleep(0)
        await let_all_settle(runtime)
    assert "server closed the connection" in caplog.text
    runtime.ring(str(run.pk))
    await until(lambda: runtime.held, "the next doorbell is heard")


async def test_nothing_is_claimed_before_there_is_a_worker_or_while_it_goes_down(talk: Talk, runtime: Runtime) -> None:
    await writing(talk.queue)
    worker_id, runtime.worker_id = runtime.worker_id, None
    await runtime.look_at(talk.pk)
    runtime.worker_id, runtime.draining = worker_id, True
    await runtime.look_at(talk.pk)
    assert not runtime.held
    assert await reading(Run.objects.filter(status="queued").exists)


async def test_a_session_that_is_deleted_during_a_claim_is_nothing_to_do(
    talk: Talk, runtime: Runtime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await writing(talk.queue)
    locked = attempts.locked

    def delete_first(session_id: Any) -> Any:
        monkeypatch.setattr(attempts, "locked", locked)
        sessions.delete_session(talk.ada, session_id)
        return locked(session_id)

    monkeypatch.setattr(attempts, "locked", delete_first)
    await runtime.look_at(talk.pk)
    assert not runtime.held and not runtime._looking
    assert not caplog.records


# --- rows that it holds without knowing -------------------------------------------------------------------------------


async def test_a_claim_whose_reply_was_lost_is_handed_back_at_the_second_look(
    talk: Talk, runtime: Runtime, redis: Any
) -> None:
    run = await writing(talk.queue)
    with failing_at("claim.committed", LOST), pytest.raises(OperationalError):
        await runtime.look_at(talk.pk)
    assert not runtime.held
    await until_row(run, status="running")
    await tick(runtime)
    await let_all_settle(runtime)
    await until_row(run, status="running", attempt=1)
    await tick(runtime)
    await let_all_settle(runtime)
    await until_row(run, status="queued", attempt=2, crashes=0)
    assert run.pk in await asyncio.to_thread(rung, redis)


async def test_a_busy_worker_hands_such_a_row_back_too(talk: Talk, runtime: Runtime, threads: Threads) -> None:
    """However many other claims are under way."""
    other = await writing(new_talk, talk.ada, talk.ben, talk.worker_id)
    run = await writing(talk.queue)
    with failing_at("claim.committed", LOST), pytest.raises(OperationalError):
        await runtime.look_at(talk.pk)
    runtime._looking[other.pk] = False
    for _ in range(2):
        await tick(runtime)
    await until_row(run, status="queued", attempt=2, crashes=0)
    del runtime._looking[other.pk]


async def test_a_row_that_is_only_being_claimed_is_not_handed_back(talk: Talk, runtime: Runtime) -> None:
    run = await writing(talk.queue)
    with stopped_at("claim.committed") as stop:
        looking = asyncio.ensure_future(runtime.look_at(talk.pk))
        await asyncio.to_thread(stop.wait)
        for _ in range(3):
            await tick(runtime)
        await let_no_task_be_left(runtime)
        stop.go_on()
        await looking
    assert list(runtime.held) == [run.pk]
    await until_row(run, status="running", attempt=1)


async def let_no_task_be_left(runtime: Runtime) -> None:
    await until(lambda: not runtime._tasks, "nothing is under way")


async def test_a_run_whose_task_failed_to_end_it_is_handed_back_and_counts_as_a_crash(
    talk: Talk, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would be claimed and dropped for ever."""

    async def explode(held: Any) -> None:
        held.has_begun = True
        raise RuntimeError("a bug in the runner itself")

    monkeypatch.setattr(runner, "execute", explode)
    run = await writing(talk.queue)
    for crashes in (1, 2, 3):
        await runtime.look_at(talk.pk)
        await over(runtime)
        for _ in range(2):
            await tick(runtime)
        row = await until_row(run, crashes=crashes)
    assert (row.status, row.error) == ("failed", attempts.WORKER_LOST)


# --- runs that are no longer its own ----------------------------------------------------------------------------------

TAKEN: dict[str, Callable[[Talk, Run], Any]] = {
    "cancelled": lambda talk, run: runs.cancel_run(talk.ada, run.pk),
    "put back": lambda talk, run: attempts.put_back(run, "drained"),
    "deleted": lambda talk, run: sessions.delete_session(talk.ada, talk.pk),
}


@pytest.mark.parametrize("how", TAKEN)
async def test_a_run_that_was_taken_away_is_let_go_at_the_next_tick_without_redis(
    talk: Talk, runtime: Runtime, llm: LedLLM, redis_server: Any, how: str
) -> None:
    await asyncio.to_thread(told)
    redis_server.kill()
    await writing(talk.post)
    held = await begun(runtime, talk)
    await until(lambda: llm.prompts, "the model is asked")
    await tick(runtime)
    assert runtime.held, "it is still its own"
    await writing(TAKEN[how], talk, held.run)
    await tick(runtime)
    await over(runtime)
    assert (held.why, llm.closed) == (FENCED, 1)


async def test_a_nudge_makes_it_look_at_that_run_and_a_lost_one_at_all(
    talk: Talk, runtime: Runtime, llm: LedLLM
) -> None:
    await writing(talk.post)
    held = await begun(runtime, talk)
    runtime._on_nudge({"type": "nudge", "run_id": str(uuid4())})
    runtime._on_nudge({"type": "nudge", "run_id": str(held.run.pk)})
    await let_no_task_be_left(runtime)
    assert held.why is None
    await writing(runs.cancel_run, talk.ada, held.run.pk)
    runtime._on_nudge({"type": "look"})
    await over(runtime)
    assert held.why == FENCED


async def test_a_nudge_while_the_database_is_away_takes_nothing_away(
    talk: Talk, runtime: Runtime, llm: LedLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    await writing(talk.post)
    held = await begun(runtime, talk)

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
    await writing(talk.post)
    held = await begun(runtime, talk)
    llm.say("of the frozen one")
    await shown(held.run, "of the frozen one", redis)

    # Asleep: the lease runs out, another takes over and answers.
    runtime._renewed_at -= 6
    await writing(expire, talk.worker_id)
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


# --- the lease --------------------------------------------------------------------------------------------------------


async def test_the_lease_is_renewed_only_while_the_loop_turns(talk: Talk, runtime: Runtime, settings: Any) -> None:
    """A process whose loop hangs holds runs that nobody works on."""
    await writing(expire, talk.worker_id)
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


# --- with its threads -------------------------------------------------------------------------------------------------


@pytest.fixture
def process(db: None, redis: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runtime]:
    """A whole process: its loop, the thread of the lease, the thread of the sweep."""
    settings.CHAT_SWEEP_S = 0.05
    settings.CHAT_MESSAGES_PER_10S = 0
    settings.CHAT_LLM = "demo?tokens=5&tokens_per_s=0&first_token_ms=0"
    monkeypatch.setattr(runtime_module, "LEASE_TICK_S", 0.05)
    made = Runtime()
    yield made
    if made._loop is not None:
        made.wait_drained()
        wait_for_its_threads(made)
    forget_publishers()


def wait_for_its_threads(runtime: Runtime) -> None:
    loop = runtime._loop
    assert loop is not None
    loop.call_soon_threadsafe(loop.stop)
    for thread in threading.enumerate():
        if thread.name in ("runtime", "lease", "sweep"):
            thread.join(WAIT_S)
    eventually(lambda: not loop.is_running(), "the loop stands still")
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0.01))
    loop.close()


def test_a_process_answers_what_waits_with_and_without_a_doorbell(talk: Talk, process: Runtime) -> None:
    process.start()
    eventually(lambda: process.worker_id, "it is registered")
    rung_for, overheard = talk.post("With a doorbell"), new_talk(talk.ada, talk.ben, talk.worker_id)
    process.ring(str(rung_for.run_id))
    silent = overheard.post("Without")
    for posted in (rung_for, silent):
        eventually(lambda posted=posted: Run.objects.get(pk=posted.run_id).status == "succeeded", "it is answered")
    assert Message.objects.filter(role="assistant", content="w1 w2 w3 w4 w5").count() == 2


def test_a_process_needs_no_database_to_start(talk: Talk, process: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    register, problems = workers.register_worker, [LOST, InterfaceError("connection already closed")]

    def away_at_first(name: str) -> Any:
        if problems:
            raise problems.pop()
        return register(name)

    monkeypatch.setattr(workers, "register_worker", away_at_first)
    monkeypatch.setattr(runtime_module.time, "sleep", lambda seconds: None)
    process.start()
    eventually(lambda: process.worker_id, "it is registered")


def test_the_thread_of_the_lease_survives_every_error_of_the_database(
    talk: Talk, process: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the last one that may die: without it every run of the process is taken for lost."""
    process.start()
    eventually(lambda: process.worker_id, "it is registered")
    renew, problems = workers.renew_lease, [LOST, InterfaceError("connection already closed")]

    def away_for_a_while(worker_id: Any) -> bool:
        if problems:
            raise problems.pop()
        return renew(worker_id)

    monkeypatch.setattr(workers, "renew_lease", away_for_a_while)
    eventually(lambda: not problems, "both were met")
    Worker.objects.filter(pk=process.worker_id).update(name="seen")
    expire(process.worker_id)
    eventually(Worker.objects.alive().filter(name="seen").exists, "it is renewed again")


def test_a_run_that_is_cancelled_is_let_go_within_a_tick_or_a_nudge(
    talk: Talk, process: Runtime, settings: Any
) -> None:
    settings.CHAT_LLM = "demo?tokens=1000&tokens_per_s=50"
    process.start()
    eventually(lambda: process.worker_id, "it is registered")
    posted = talk.post()
    process.ring(str(posted.run_id))
    eventually(lambda: process.held, "it runs")
    runs.cancel_run(talk.ada, posted.run_id)
    eventually(lambda: not process.held, "it is let go", 5)


def test_a_process_that_goes_down_hands_its_runs_back_and_ends_its_lease(
    talk: Talk, process: Runtime, settings: Any, redis: Any
) -> None:
    settings.CHAT_LLM = "demo?tokens=1000&tokens_per_s=50"
    process.start()
    eventually(lambda: process.worker_id, "it is registered")
    talks = [talk, *(new_talk(talk.ada, talk.ben, talk.worker_id) for _ in range(3))]
    for one in talks:
        process.ring(str(one.post().run_id))
    eventually(lambda: len(process.held) == 4, "all run")
    rung(redis)
    process.wait_drained()
    assert set(Run.objects.values_list("status", "attempt", "crashes")) == {("queued", 2, 0)}
    assert set(rung(redis)) == set(Run.objects.values_list("pk", flat=True))
    assert not Worker.objects.alive().filter(pk=process.worker_id).exists()
    assert talk.log()[-1].data["reason"] == "drained"


def test_a_claim_that_is_under_way_when_the_process_goes_down_is_handed_back_too(talk: Talk, process: Runtime) -> None:
    """It commits after the drain has begun: else the run would wait for the sweep, and count as a crash."""
    process.start()
    eventually(lambda: process.worker_id, "it is registered")
    with stopped_at("claim.committed") as stop:
        run = talk.post()
        process.ring(str(run.run_id))
        stop.wait()
        process.drain()
        assert not process._ended.wait(0.1)
        stop.go_on()
        process.wait_drained()
    now = Run.objects.get(pk=run.run_id)
    assert (now.status, now.attempt, now.crashes) == ("queued", 2, 0)


def test_a_process_that_goes_down_takes_nothing_new(talk: Talk, process: Runtime) -> None:
    process.start()
    eventually(lambda: process.worker_id, "it is registered")
    process.drain()
    posted = talk.post()
    process.ring(str(posted.run_id))
    process.wait_drained()
    assert Run.objects.get(pk=posted.run_id).attempt == 0


def test_a_drained_run_goes_on_in_another_process_from_the_start(talk: Talk, process: Runtime, settings: Any) -> None:
    settings.CHAT_LLM = "demo?tokens=1000&tokens_per_s=50"
    process.start()
    eventually(lambda: process.worker_id, "it is registered")
    posted = talk.post()
    process.ring(str(posted.run_id))
    eventually(lambda: process.held, "it runs")
    process.wait_drained()
    again = talk.claim()
    assert (again.pk, again.attempt) == (posted.run_id, 2)
    with pytest.raises(Fenced):
        attempts.finish_run(Run(pk=again.pk, session_id=talk.pk, worker_id=process.worker_id, attempt=1), "", SPENT)
    attempts.finish_run(again, "Hello!", SPENT)


SPENT = attempts.Spending("demo", 1, 1)


async def test_a_doorbell_of_a_run_that_waits_behind_its_users_limit_changes_nothing(
    talk: Talk, runtime: Runtime, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CHAT_RUNS_PER_USER = 1
    other = await writing(new_talk, talk.ada, talk.ben, talk.worker_id)
    await writing(talk.start)
    held: messages.Posted = await writing(other.post)
    with caplog.at_level(logging.WARNING):
        runtime.ring(str(held.run_id))
        await asyncio.sleep(0)
        await let_all_settle(runtime)
    assert not runtime.held and not caplog.records


async def test_to_stop_a_run_twice_keeps_the_first_reason(talk: Talk, runtime: Runtime, llm: LedLLM) -> None:
    await writing(talk.post)
    held = await begun(runtime, talk)
    held.stop(DRAINED)
    held.stop(FENCED)
    await over(runtime)
    await until_row(held.run, status="queued")
