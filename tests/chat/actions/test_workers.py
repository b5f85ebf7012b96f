"""The lease of a worker process, by the database's clock."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from chat.actions import attempts, workers
from chat.actions.events import locked
from chat.models import Worker
from tests.inside import Talk
from tests.threads import Threads


def left_s(worker_id: Any) -> float:
    """How long a lease still holds, as the database sees it."""
    statement = {
        "sqlite": "SELECT (julianday(lease_until) - julianday('now')) * 86400 FROM chat_worker WHERE id = %s",
        "postgresql": "SELECT extract(epoch FROM lease_until - clock_timestamp()) FROM chat_worker WHERE id = %s",
    }[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(statement, [worker_id.hex if connection.vendor == "sqlite" else worker_id])
        return float(cursor.fetchone()[0])


@pytest.fixture
def lying_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine's clock is an hour fast; the database's is right."""
    now = timezone.now
    monkeypatch.setattr(timezone, "now", lambda: now() + timedelta(hours=1))


def test_a_new_worker_holds_a_lease(db: None, settings: Any) -> None:
    settings.CHAT_LEASE_S = 5
    worker_id = workers.register_worker("host:1")
    assert 4 < left_s(worker_id) <= 5.01
    assert Worker.objects.alive().get().name == "host:1"


def test_a_lease_is_renewed_by_the_databases_clock(db: None, settings: Any, lying_clock: None) -> None:
    settings.CHAT_LEASE_S = 5
    worker_id = workers.register_worker("host:1")
    assert 4 < left_s(worker_id) <= 5.01
    settings.CHAT_LEASE_S = 20
    assert workers.renew_lease(worker_id) is True
    assert 19 < left_s(worker_id) <= 20.01


def test_a_machine_whose_clock_is_fast_takes_nobodys_runs(talk: Talk, lying_clock: None) -> None:
    talk.start()
    assert attempts.lost_runs() == []
    assert attempts.stuck_runs(1800, lambda _: 0) == []


def test_fractions_of_a_second_count(db: None, settings: Any) -> None:
    """SQLite compares times as text: they have to be written alike."""
    settings.CHAT_LEASE_S = 0.4
    worker_id = workers.register_worker("host:1")
    assert 0 < left_s(worker_id) <= 0.41
    assert Worker.objects.alive().exists()
    while left_s(worker_id) > -0.01:
        pass
    assert not Worker.objects.alive().exists()


def test_a_lease_that_ran_out_is_renewed_and_says_so(db: None, settings: Any) -> None:
    worker_id = workers.register_worker("host:1")
    workers.end_lease(worker_id)
    assert left_s(worker_id) <= 0
    assert workers.renew_lease(worker_id) is False, "others may have taken the runs over"
    assert workers.renew_lease(worker_id) is True


def test_a_worker_that_was_pruned_while_it_slept_for_days_is_one_again(talk: Talk) -> None:
    worker_id = workers.register_worker("host:2")
    Worker.objects.filter(pk=worker_id).update(lease_until=timezone.now() - timedelta(days=2))
    workers.prune_workers()
    assert workers.renew_lease(worker_id, "host:2") is False
    assert Worker.objects.alive().get(pk=worker_id).name == "host:2"
    talk.queue()
    assert talk.claim(worker_id).worker_id == worker_id


def test_a_worker_that_goes_down_in_order_leaves_its_runs_at_once(talk: Talk) -> None:
    run = talk.start()
    workers.end_lease(talk.worker_id)
    assert [lost.pk for lost in attempts.lost_runs()] == [run.pk]


def test_a_worker_knows_its_rows_and_their_attempts(talk: Talk) -> None:
    run = talk.start()
    other = workers.register_worker("host:2")
    assert workers.held_runs(talk.worker_id) == {run.pk: 1}
    assert workers.held_runs(other) == {}
    assert workers.still_held(talk.worker_id, {run.pk: 1}) == {run.pk}
    assert workers.still_held(talk.worker_id, {run.pk: 2}) == set()
    assert workers.still_held(other, {run.pk: 1}) == set()
    attempts.put_back(run, "drained")
    assert workers.still_held(talk.worker_id, {run.pk: 1}) == set()
    assert talk.claim(other).attempt == 2
    assert workers.held_runs(other) == {run.pk: 2}


@pytest.mark.postgres
def test_a_renewal_waits_for_no_session(talk: Talk, threads: Threads) -> None:
    with locked(talk.pk) as log:
        log.change_session(title="Held")
        assert threads.start(workers.renew_lease, talk.worker_id).result(5) is True


def test_workers_that_ended_long_ago_are_forgotten_unless_a_run_names_them(talk: Talk) -> None:
    long_ago: datetime = timezone.now() - timedelta(days=2)
    talk.start()
    gone, lately = workers.register_worker("gone"), workers.register_worker("lately")
    Worker.objects.exclude(pk=lately).update(lease_until=long_ago)
    workers.prune_workers()
    assert set(Worker.objects.values_list("pk", flat=True)) == {talk.worker_id, lately}
    assert gone not in Worker.objects.values_list("pk", flat=True)
