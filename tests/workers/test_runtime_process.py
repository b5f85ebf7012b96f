"""A whole worker process with its threads, from its start to its end."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import InterfaceError

from chat.actions import attempts, messages, workers
from chat.errors import Fenced
from chat.models import Message, Run, Tool, Worker
from tests.inside import WAIT_S, Talk, new_talk, rung
from tests.processes import eventually
from tests.threads import stopped_at
from tests.workers.process import LOST, forget_publishers
from workers import runtime as runtime_module
from workers.llm.loops import client_here
from workers.runtime import Runtime
from workers.tools import load_tools

SPENT = attempts.Spending("demo", 1, 1)


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


def started(process: Runtime) -> None:
    process.start()
    eventually(lambda: process.worker_id, "it is registered")


def begun(process: Runtime, talk: Talk) -> messages.Posted:
    """Ask something that it begins to answer."""
    posted = talk.post()
    process.ring(str(posted.run_id))
    eventually(lambda: process.held, "it runs")
    return posted


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


def test_it_tells_at_its_start_what_tools_it_has(process: Runtime) -> None:
    started(process)
    told = {tool.name: tool for tool in Tool.objects.all()}
    assert set(told) == set(load_tools())
    assert told["cancel_order"].needs_approval and told["cancel_order"].args_schema["required"] == ["order_id"]


def test_a_process_answers_what_waits_with_and_without_a_doorbell(talk: Talk, process: Runtime) -> None:
    started(process)
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
    started(process)


def test_the_thread_of_the_lease_survives_every_error_of_the_database(
    talk: Talk, process: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the last one that may die: without it every run of the process is taken for lost."""
    started(process)
    renew, problems = workers.renew_lease, [LOST, InterfaceError("connection already closed")]

    def away_for_a_while(worker_id: Any, name: str) -> bool:
        if problems:
            raise problems.pop()
        return renew(worker_id, name)

    monkeypatch.setattr(workers, "renew_lease", away_for_a_while)
    eventually(lambda: not problems, "both were met")
    assert process.worker_id
    Worker.objects.filter(pk=process.worker_id).update(name="seen")
    workers.end_lease(process.worker_id)
    eventually(Worker.objects.alive().filter(name="seen").exists, "it is renewed again")


def test_a_run_that_is_cancelled_is_let_go_within_a_tick_or_a_nudge(
    talk: Talk, process: Runtime, settings: Any
) -> None:
    settings.CHAT_LLM = "demo?tokens=1000&tokens_per_s=50"
    started(process)
    posted = begun(process, talk)
    talk.cancel(posted.run_id)
    eventually(lambda: not process.held, "it is let go", 5)


def test_a_process_that_goes_down_hands_its_runs_back_and_ends_its_lease(
    talk: Talk, process: Runtime, settings: Any, redis: Any
) -> None:
    settings.CHAT_LLM = "demo?tokens=1000&tokens_per_s=50"
    started(process)
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
    started(process)
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


def test_a_process_that_goes_down_closes_its_connections_to_models(process: Runtime) -> None:
    """What is open when its loop is gone, Python complains of, and an operator wonders about."""
    started(process)
    closed = threading.Event()

    class Client:
        async def close(self) -> None:
            closed.set()

    async def open_one() -> None:
        client_here("of this test", Client)

    process.spawn(open_one())
    process.wait_drained()
    assert closed.is_set()


def test_a_process_that_goes_down_takes_nothing_new(talk: Talk, process: Runtime) -> None:
    started(process)
    process.drain()
    posted = talk.post()
    process.ring(str(posted.run_id))
    process.wait_drained()
    assert Run.objects.get(pk=posted.run_id).attempt == 0


def test_a_drained_run_goes_on_in_another_process_from_the_start(talk: Talk, process: Runtime, settings: Any) -> None:
    settings.CHAT_LLM = "demo?tokens=1000&tokens_per_s=50"
    started(process)
    posted = begun(process, talk)
    process.wait_drained()
    again = talk.claim()
    assert (again.pk, again.attempt) == (posted.run_id, 2)
    with pytest.raises(Fenced):
        attempts.finish_run(Run(pk=again.pk, session_id=talk.pk, worker_id=process.worker_id, attempt=1), "", SPENT)
    attempts.finish_run(again, "Hello!", SPENT)
