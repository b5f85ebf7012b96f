"""What a sweep does for runs whose worker died, and for those that nobody came for."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from chat.actions import attempts, claims, workers
from chat.models import Run
from tests.inside import Talk, new_talk, rung
from tests.threads import Threads, deleted_before_it_is_locked

# --- the dead ---------------------------------------------------------------------------------------------------------


def test_a_run_whose_workers_lease_ran_out_is_lost_and_counts_as_a_crash(talk: Talk) -> None:
    run = talk.start()
    assert attempts.lost_runs() == []
    assert attempts.put_back(run, "worker_lost") is None, "the lease holds"
    workers.end_lease(talk.worker_id)
    [lost] = attempts.lost_runs()
    back = attempts.put_back(lost, "worker_lost")
    assert back is not None and (back.status, back.attempt, back.crashes) == ("queued", 2, 1)
    assert talk.log()[-1].data["reason"] == "worker_lost"


def test_a_lease_that_was_renewed_after_the_sweep_looked_saves_its_runs(talk: Talk) -> None:
    talk.start()
    workers.end_lease(talk.worker_id)
    [lost] = attempts.lost_runs()
    workers.renew_lease(talk.worker_id)
    assert attempts.put_back(lost, "worker_lost") is None
    assert Run.objects.get(pk=lost.pk).status == "running"


def test_many_sweeps_at_once_put_a_run_back_once(talk: Talk, threads: Threads) -> None:
    run = talk.start()
    workers.end_lease(talk.worker_id)
    back = threads.at_once(*[lambda: attempts.put_back(run, "worker_lost")] * 6)
    assert [one is not None for one in back].count(True) == 1
    now = Run.objects.get(pk=run.pk)
    assert (now.attempt, now.crashes) == (2, 1)
    assert talk.types().count("run.restarted") == 1


def test_a_run_without_any_worker_is_lost(talk: Talk) -> None:
    run = talk.start()
    Run.objects.filter(pk=run.pk).update(worker=None)
    assert [lost.pk for lost in attempts.lost_runs()] == [run.pk]


def test_a_run_that_crashes_its_workers_three_times_is_given_up(talk: Talk, redis: Any) -> None:
    talk.queue()
    behind = talk.queue("behind it")
    for crashes in (1, 2, 3):
        run = talk.claim()
        workers.end_lease(talk.worker_id)
        rung(redis)
        now = attempts.put_back(run, "worker_lost")
        assert now is not None and now.crashes == crashes
    assert (now.status, now.error) == ("failed", attempts.WORKER_LOST)
    assert talk.types()[-2:] == ["message.created", "run.failed"]
    assert rung(redis) == [behind.pk], "the others go on"
    assert (now.drafts, now.slot) == ([], None)


def test_to_be_handed_back_is_no_crash_however_often(talk: Talk) -> None:
    talk.queue()
    for _ in range(5):
        attempts.put_back(talk.claim(), "drained")
    now = Run.objects.get()
    assert (now.status, now.crashes, now.attempt) == ("queued", 0, 6)


def test_no_limit_of_crashes_is_none(talk: Talk, settings: Any) -> None:
    settings.CHAT_CRASHES_MAX = 0
    talk.queue()
    workers.end_lease(talk.worker_id)
    for _ in range(5):
        attempts.put_back(talk.claim(), "worker_lost")
    assert Run.objects.get().status == "queued"


def test_a_run_that_hangs_is_taken_from_a_worker_that_lives(talk: Talk) -> None:
    run = talk.start()
    assert attempts.stuck_runs(60, lambda _: 0) == []
    Run.objects.filter(pk=run.pk).update(started_at=timezone.now() - timedelta(seconds=61))
    [stuck] = attempts.stuck_runs(60, lambda _: 0)
    back = attempts.put_back(stuck, "worker_lost", stuck=True)
    assert back is not None and (back.status, back.crashes) == ("queued", 1)


def test_an_attempt_that_began_while_hung_ones_are_looked_for_is_none_of_them(talk: Talk) -> None:
    run = talk.start()
    Run.objects.filter(pk=run.pk).update(started_at=timezone.now() - timedelta(hours=1))

    def limit_of(run_limit: dict[str, Any]) -> float:  # meanwhile another sweep is faster, and a worker claims it
        attempts.put_back(Run.objects.get(pk=run.pk), "worker_lost", stuck=True)
        talk.claim()
        return 0.0

    assert attempts.stuck_runs(60, limit_of) == []


# --- what nobody came for ---------------------------------------------------------------------------------------------


def test_sessions_whose_doorbell_was_lost_are_found_in_the_order_of_their_waiting(talk: Talk) -> None:
    others = [new_talk(talk.ada, talk.ben, talk.worker_id) for _ in range(2)]
    for one in (others[1], talk, others[0]):
        one.queue()
    assert claims.claimable_sessions(0) == [others[1].pk, talk.pk, others[0].pk]
    assert claims.claimable_sessions(60) == [], "their doorbell may still come"


def test_only_what_may_go_on_is_found(talk: Talk, settings: Any) -> None:
    settings.CHAT_RUNS_PER_USER = 2
    running, asking, free = (new_talk(talk.ada, talk.ben, talk.worker_id) for _ in range(3))
    running.start()
    running.queue("behind what runs")
    asked = asking.queue()
    Run.objects.filter(pk=asked.pk).update(status="interrupted")
    asking.queue("behind a question")
    free.queue("first")
    free.queue("second")
    assert claims.claimable_sessions(0) == [free.pk], "one row a session"
    talk.start()
    assert claims.claimable_sessions(0) == [], "Ada's two places are taken"
    assert free.post(by=talk.ben)
    assert claims.claimable_sessions(0) == [], "Ben's waits behind Ada's"


def test_the_many_waiting_runs_of_one_user_hide_nobody_elses(talk: Talk, settings: Any) -> None:
    settings.CHAT_RUNS_PER_USER = 1
    settings.CHAT_WAITING_PER_SESSION = 0
    talk.start()
    crowded = new_talk(talk.ada, talk.ben, talk.worker_id)
    queued = crowded.queue()
    same = {"session_id": crowded.pk, "user": talk.ada, "agent": queued.agent, "message_id": queued.message_id}
    many = [Run(position=1000 + number, queued_at=queued.queued_at, **same) for number in range(300)]
    Run.objects.bulk_create(many)
    bens = new_talk(talk.ben, talk.ada, talk.worker_id)
    bens.queue(by=talk.ben)
    assert claims.claimable_sessions(0) == [bens.pk]


def test_a_claim_in_a_session_that_vanishes_under_it_finds_nothing(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    talk.queue()
    deleted_before_it_is_locked(claims, talk, monkeypatch)
    assert claims.claim_run(talk.worker_id, talk.pk) is None
