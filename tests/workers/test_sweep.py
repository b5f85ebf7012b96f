"""The sweep: the dead are found, the living are left alone, and nobody judges who slept himself."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import DataError, InterfaceError, OperationalError
from django.utils import timezone
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken

from chat import stream
from chat.actions import attempts, forget, sessions, tickets, tokens, workers
from chat.actions.usage import Spending
from chat.models import Agent, Run, Ticket, Usage, Worker
from chat.outbox import outbox
from tests.inside import Talk, new_talk, rung, told
from tests.threads import Threads
from workers import sweep as sweep_module
from workers.bill import as_saved
from workers.sweep import cost_of_shown, prune, sweep, sweep_forever


class Watchful:
    """What the sweep needs of a runtime: whether it lives, and sessions to look at."""

    def __init__(self) -> None:
        self.holds_lease = True
        self.draining = False
        self.looked_at: list[Any] = []

    def look_at(self, session_id: Any) -> Any:
        return session_id

    def spawn(self, session_id: Any) -> None:
        self.looked_at.append(session_id)


@pytest.fixture
def watchful() -> Any:
    return Watchful()


def kill(talk: Talk) -> None:
    Worker.objects.filter(pk=talk.worker_id).update(lease_until=timezone.now() - timedelta(seconds=1))


def test_what_a_dead_worker_had_shown_is_accounted_for(talk: Talk, watchful: Any, redis: Any, settings: Any) -> None:
    settings.CHAT_LLM = "demo"
    run = talk.start()
    told()
    redis.set(stream.draft_key(talk.pk, run.answer_id), "twelve bytes")
    kill(talk)
    sweep(watchful)
    assert list(Usage.objects.values_list("attempt", "llm", "input_tokens", "output_tokens")) == [(1, "demo", 0, 3)]
    assert talk.log()[-1].data["usage"]["output_tokens"] == 3
    told()
    assert not redis.hget(stream.fence_key(talk.pk, run.pk), "h"), "the next attempt is not held"


def test_what_a_fallback_had_shown_is_the_fallbacks(talk: Talk, settings: Any) -> None:
    settings.CHAT_LLM = "demo"
    run = talk.start()
    run.state = {"spent": as_saved(run, [Spending("demo", 5, 0), Spending("demo?tokens=9", 5, 1)])}
    run.checkpoint = "twelve bytes"
    assert [(one.llm, one.output_tokens) for one in cost_of_shown(run)] == [("demo", 0), ("demo?tokens=9", 4)]


def long_ago(run: Run, **columns: float) -> None:
    Run.objects.filter(pk=run.pk).update(**{name: timezone.now() - timedelta(seconds=s) for name, s in columns.items()})


def test_the_runs_of_a_dead_worker_are_put_back_and_those_of_the_living_are_not(
    talk: Talk, watchful: Any, redis: Any
) -> None:
    dead, other = talk.start(), new_talk(talk.ada, talk.ben, workers.register_worker("host:2"))
    alive = other.start()
    kill(talk)
    rung(redis)
    sweep(watchful)
    assert Run.objects.get(pk=dead.pk).status == "queued"
    assert Run.objects.get(pk=alive.pk).status == "running"
    assert rung(redis) == [dead.pk]
    before = talk.last_seq
    sweep(watchful)
    assert talk.last_seq == before


def test_many_sweeps_at_once_do_what_one_does(talk: Talk, watchful: Any, threads: Threads) -> None:
    others = [new_talk(talk.ada, talk.ben, talk.worker_id) for _ in range(3)]
    for one in (talk, *others):
        one.start()
    kill(talk)
    done = threads.at_once(*[lambda: sweep(watchful)] * 5)
    assert done == [None] * 5
    assert set(Run.objects.values_list("status", "attempt", "crashes")) == {("queued", 2, 1)}


def test_a_worker_that_slept_itself_judges_nobody(talk: Talk, watchful: Any) -> None:
    """After the database was away every lease is out, and so is its own: whoever renews first would take them all."""
    run = talk.start()
    kill(talk)
    watchful.holds_lease = False
    sweep(watchful)
    assert Run.objects.get(pk=run.pk).status == "running"


def test_a_run_over_its_hard_age_is_put_back_whatever_the_lease_says(talk: Talk, watchful: Any, settings: Any) -> None:
    settings.CHAT_RUN_S = 20
    run = talk.start()
    long_ago(run, started_at=139)
    sweep(watchful)
    assert Run.objects.get(pk=run.pk).status == "running"
    long_ago(run, started_at=141)
    sweep(watchful)
    now = Run.objects.get(pk=run.pk)
    assert (now.status, now.crashes) == ("queued", 1)


@pytest.mark.parametrize("run_s", [20, 600, 0])
def test_an_agent_may_give_its_runs_more_time_or_less(talk: Talk, watchful: Any, settings: Any, run_s: int) -> None:
    settings.CHAT_RUN_S = run_s
    run = talk.start()
    Agent.objects.filter(pk=run.agent_id).update(run_limit={"seconds": 60})
    long_ago(run, started_at=179)
    sweep(watchful)
    assert Run.objects.get(pk=run.pk).status == "running"
    long_ago(run, started_at=181)
    sweep(watchful)
    assert Run.objects.get(pk=run.pk).status == "queued"


def test_where_an_answer_may_take_as_long_as_it_likes_none_is_over_its_age(
    talk: Talk, watchful: Any, settings: Any
) -> None:
    settings.CHAT_RUN_S = 0
    run = talk.start()
    long_ago(run, started_at=10**6)
    sweep(watchful)
    assert Run.objects.get(pk=run.pk).status == "running"
    Run.objects.filter(pk=run.pk).update(started_at=run.started_at)


def test_sessions_that_nobody_came_for_are_looked_at(talk: Talk, watchful: Any) -> None:
    run = talk.queue()
    sweep(watchful)
    assert watchful.looked_at == [], "its doorbell may still come"
    long_ago(run, queued_at=2)
    sweep(watchful)
    assert watchful.looked_at == [talk.pk]
    Run.objects.filter(pk=run.pk).update(queued_at=run.queued_at)


def test_while_redis_is_away_no_doorbell_is_waited_for(talk: Talk, watchful: Any) -> None:
    talk.queue()
    outbox.pause()
    sweep(watchful)
    assert watchful.looked_at == [talk.pk]


def once_it_looked(monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], Any]) -> None:
    """Have something happen when the sweep has found what is lost, and has not rescued it yet."""
    lost_runs = attempts.lost_runs

    def and_then() -> list[Run]:
        found = lost_runs()
        meanwhile()
        return found

    monkeypatch.setattr(attempts, "lost_runs", and_then)


def test_a_run_that_ends_while_the_sweep_looks_stays_ended(
    talk: Talk, watchful: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = talk.start()
    kill(talk)
    once_it_looked(monkeypatch, lambda: talk.cancel(run.pk))
    sweep(watchful)
    assert Run.objects.get(pk=run.pk).status == "cancelled"
    assert talk.types()[-1] == "run.cancelled"


def test_a_session_that_is_deleted_while_the_sweep_looks_keeps_it_from_nothing_else(
    talk: Talk, watchful: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = new_talk(talk.ada, talk.ben, talk.worker_id)
    talk.start()
    others = other.start()
    kill(talk)
    once_it_looked(monkeypatch, lambda: sessions.delete_session(talk.ada, talk.pk))
    sweep(watchful)
    assert Run.objects.get(pk=others.pk).status == "queued"


@pytest.mark.parametrize("problem", [KeyError("words of people"), DataError("out of range")])
def test_a_run_that_cannot_be_put_back_keeps_the_sweep_from_nothing_else(
    talk: Talk, watchful: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, problem: Exception
) -> None:
    other, third = (new_talk(talk.ada, talk.ben, talk.worker_id) for _ in range(2))
    broken, others, waiting = talk.start(), other.start(), third.queue()
    Run.objects.filter(pk=waiting.pk).update(queued_at=timezone.now() - timedelta(minutes=1))
    kill(talk)
    cost_of = sweep_module.cost_of_shown

    def breaks(run: Run) -> list[Spending]:
        if run.pk == broken.pk:
            raise problem
        return cost_of(run)

    monkeypatch.setattr(sweep_module, "cost_of_shown", breaks)
    sweep(watchful)
    assert Run.objects.get(pk=broken.pk).status == "running"
    assert Run.objects.get(pk=others.pk).status == "queued"
    assert third.pk in watchful.looked_at
    assert f"run {broken.pk} cannot be put back: {type(problem).__name__}" in caplog.text
    assert "words" not in caplog.text


# --- again and again --------------------------------------------------------------------------------------------------


def naps(monkeypatch: pytest.MonkeyPatch, problems: list[BaseException | None], watchful: Any) -> list[float]:
    """Sweep once for each given problem, and give how long it slept before and after."""
    slept: list[float] = []
    turns = iter(problems)

    def one_sweep(runtime: Any) -> None:
        problem = next(turns)
        if problem is problems[-1]:
            runtime.draining = True
        if problem is not None:
            raise problem

    monkeypatch.setattr(sweep_module, "sweep", one_sweep)
    monkeypatch.setattr(sweep_module.time, "sleep", slept.append)
    sweep_forever(watchful)
    return slept


def test_tidying_that_takes_long_holds_up_no_sweep(
    watchful: Any, monkeypatch: pytest.MonkeyPatch, threads: Threads, settings: Any
) -> None:
    swept, may_end = threading.Event(), threading.Event()
    monkeypatch.setattr(sweep_module, "sweep", lambda _: swept.set())
    monkeypatch.setattr(sweep_module.Tidying, "look", lambda _: may_end.wait(20))
    settings.CHAT_SWEEP_S = 0.01
    both = [threads.start(forever, watchful) for forever in (sweep_module.tidy_forever, sweep_forever)]
    assert swept.wait(10)
    watchful.draining = True
    may_end.set()
    for one in both:
        one.result(10)


@pytest.mark.parametrize("problem", [OperationalError("gone"), InterfaceError("connection already closed")])
def test_the_sweep_holds_off_after_the_database_was_away(
    db: None, watchful: Any, monkeypatch: pytest.MonkeyPatch, settings: Any, problem: Exception
) -> None:
    """Its restart must not look like the death of every worker."""
    settings.CHAT_SWEEP_S = 1
    before, held_off, again = naps(monkeypatch, [problem, KeyError("last")], watchful)
    assert 0.7 <= before <= 1.3 and 0.7 <= again <= 1.3
    assert held_off == sweep_module.HOLD_OFF_S >= 4


def test_a_bug_in_one_sweep_is_not_the_last_sweep(db: None, watchful: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(naps(monkeypatch, [RuntimeError("bug"), RuntimeError("bug"), None], watchful)) == 3


def test_the_sweeps_of_many_processes_drift_apart(
    db: None, watchful: Any, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.CHAT_SWEEP_S = 1
    assert len({round(nap, 6) for nap in naps(monkeypatch, [*[None] * 9, KeyError("last")], watchful)}) > 5


def test_what_ran_out_long_ago_is_pruned(talk: Talk) -> None:
    gone = workers.register_worker("gone")
    Worker.objects.filter(pk=gone).update(lease_until=timezone.now() - timedelta(days=2))
    tickets.issue_ticket(talk.ada)
    Ticket.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    prune()
    assert not Worker.objects.filter(pk=gone).exists()
    assert not Ticket.objects.exists()


def test_what_a_person_signed_in_with_is_pruned_when_it_has_run_out(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forget, "BATCH", 2)
    for _ in range(5):
        tokens.rotate_token(tokens.issue_tokens(talk.ada).refresh)
        SessionStore().create()
    OutstandingToken.objects.update(expires_at=timezone.now() - timedelta(days=1))
    Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
    good, login = tokens.issue_tokens(talk.ada).refresh, SessionStore()
    login.create()
    prune()
    assert (OutstandingToken.objects.count(), BlacklistedToken.objects.count()) == (1, 0)
    assert [one.session_key for one in Session.objects.all()] == [login.session_key]
    tokens.rotate_token(good)


def test_a_sweep_of_a_quiet_server_is_quick(talk: Talk, watchful: Any) -> None:
    talk.answer()
    began = time.monotonic()
    for _ in range(10):
        sweep(watchful)
    assert time.monotonic() - began < 2
