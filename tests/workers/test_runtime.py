"""A worker process: its doors, and rows that it holds without knowing."""

import asyncio
import logging
import threading
from typing import Any
from uuid import uuid4

import pytest
from django.db import OperationalError

from chat import failpoints
from chat.actions import attempts, claims, messages
from chat.database import reading, writing
from chat.models import Run
from tests.inside import WAIT_S, Talk, new_talk, rung
from tests.threads import Threads, deleted_before_it_is_locked, failing_at, stopped_at
from tests.workers.process import LOST, LedLLM, let_all_settle, let_no_task_be_left, over, tick, until, until_row
from workers import runner
from workers.runtime import Runtime

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
    claim_run, looked, go_on = claims.claim_run, threading.Event(), threading.Event()

    def slow(worker_id: Any, session_id: Any) -> Run | None:
        found = claim_run(worker_id, session_id)
        looked.set()
        assert go_on.wait(WAIT_S)
        return found

    monkeypatch.setattr(claims, "claim_run", slow)
    failpoints.armed["claim.slow"] = lambda: None  # in a thread: on the loop no ring could come
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
    deleted_before_it_is_locked(claims, talk, monkeypatch)
    await runtime.look_at(talk.pk)
    assert not runtime.held and not runtime._looking
    assert not caplog.records


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
