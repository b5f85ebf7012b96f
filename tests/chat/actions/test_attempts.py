"""What a worker does with a run: the claim, its fence, the ways to an end, and what a sweep does for a dead one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db import OperationalError
from django.utils import timezone

from chat import stream
from chat.actions import attempts, runs, sessions, workers
from chat.actions.attempts import Spending
from chat.errors import Fenced, NotFound
from chat.models import ChatSession, Event, Message, Run, Usage, Worker
from tests.inside import WAIT_S, Talk, Threads, failing_at, new_talk, rung, stopped_at, told, wait_until_blocked

SPENT = Spending("demo", 7, 5, Decimal("0.25"))
ERROR = {"code": "llm_unavailable", "message": "The language model cannot be reached.", "temporary": True}


def everything() -> list[Any]:
    """All that an action could write, to see that one wrote nothing."""
    models = (ChatSession, Event, Message, Run, Usage)
    return [list(model.objects.order_by("pk").values()) for model in models]


def let_lease_run_out(worker_id: UUID) -> None:
    Worker.objects.filter(pk=worker_id).update(lease_until=timezone.now() - timedelta(seconds=1))


# --- the claim --------------------------------------------------------------------------------------------------------


def test_a_claim_starts_the_run_and_promises_the_id_of_its_answer(talk: Talk) -> None:
    run = talk.queue()
    claimed = talk.claim()
    now = Run.objects.get(pk=run.pk)
    assert (now.status, now.attempt, now.worker_id, now.slot) == ("running", 1, talk.worker_id, 1)
    assert now.drafts == [str(now.answer_id)]
    event = talk.log()[-1]
    assert (event.type, event.run_id) == ("run.started", run.pk)
    assert (event.data["message_id"], event.data["attempt"]) == (str(now.answer_id), 1)
    assert (claimed.attempt, claimed.answer_id, claimed.worker_id) == (1, now.answer_id, talk.worker_id)


def test_a_claim_sets_the_fence_to_its_attempt(talk: Talk, redis: Any) -> None:
    run = talk.start()
    told()
    assert redis.hget(stream.fence_key(talk.pk, run.pk), "a") == b"1"


def test_one_run_of_a_session_goes_on_and_the_others_wait_in_order(talk: Talk) -> None:
    first, second, third = talk.queue("1"), talk.queue("2", talk.ben), talk.queue("3")
    order = []
    for _ in range(3):
        run = talk.claim()
        order.append(run.pk)
        assert attempts.claim_run(talk.worker_id, talk.pk) is None, "one is running"
        attempts.finish_run(run, "Hello!", SPENT)
    assert order == [first.pk, second.pk, third.pk]
    assert attempts.claim_run(talk.worker_id, talk.pk) is None, "nothing is left"


def test_a_run_that_was_put_back_goes_before_those_that_came_after_it(talk: Talk) -> None:
    run = talk.start()
    talk.queue("later")
    back = attempts.put_back(run, "drained")
    assert back is not None and back.position == run.position
    assert talk.claim().pk == run.pk


def test_many_claims_of_one_session_at_once_start_one_run(talk: Talk, threads: Threads) -> None:
    talk.queue("1")
    talk.queue("2")
    claims = threads.at_once(*[lambda: attempts.claim_run(talk.worker_id, talk.pk)] * 6)
    assert [claim is not None for claim in claims].count(True) == 1
    assert Run.objects.filter(status="running").count() == 1


def test_a_session_whose_first_run_asks_a_person_waits_for_the_answer(talk: Talk) -> None:
    asking = talk.queue()
    talk.queue("behind the question")
    Run.objects.filter(pk=asking.pk).update(status="interrupted")
    assert attempts.claim_run(talk.worker_id, talk.pk) is None
    Run.objects.filter(pk=asking.pk).update(status="queued")
    assert talk.claim().pk == asking.pk


def test_nothing_is_claimed_in_a_session_that_is_gone(talk: Talk) -> None:
    talk.queue()
    sessions.delete_session(talk.ada, talk.pk)
    assert attempts.claim_run(talk.worker_id, talk.pk) is None


# --- so many running runs a user --------------------------------------------------------------------------------------


def test_a_user_has_so_many_running_runs_and_others_are_not_held_by_it(talk: Talk, settings: Any) -> None:
    settings.CHAT_RUNS_PER_USER = 2
    talks = [talk, *(new_talk(talk.ada, talk.ben, talk.worker_id) for _ in range(3))]
    for one in talks:
        one.queue()
    started = [attempts.claim_run(talk.worker_id, one.pk) for one in talks]
    assert [run.slot if run else None for run in started] == [1, 2, None, None]
    bens = new_talk(talk.ben, talk.ada, talk.worker_id)
    assert bens.start(by=talk.ben).slot == 1
    assert started[0] is not None
    attempts.finish_run(started[0], "Hello!", SPENT)
    assert talks[2].claim().slot == 1, "the first free one"


def test_no_limit_of_running_runs_is_none(talk: Talk, settings: Any) -> None:
    settings.CHAT_RUNS_PER_USER = 0
    started = [new_talk(talk.ada, talk.ben, talk.worker_id).start() for _ in range(6)]
    assert [run.slot for run in started] == [None] * 6


@pytest.mark.postgres
def test_claims_that_saw_the_same_free_slot_do_not_both_take_it(talk: Talk, threads: Threads, settings: Any) -> None:
    """To count the running ones in the claim lets one too many through: each counts before the other commits."""
    settings.CHAT_RUNS_PER_USER = 1
    other = new_talk(talk.ada, talk.ben, talk.worker_id)
    talk.queue()
    other.queue()
    with stopped_at("claim.slot") as stop:
        slow = threads.start(attempts.claim_run, talk.worker_id, talk.pk)
        stop.wait()
        assert other.claim().slot == 1
        stop.go_on()
        assert slow.result(WAIT_S) is None
    assert Run.objects.filter(status="running").count() == 1


@pytest.mark.postgres
def test_a_claim_that_lost_the_race_for_a_slot_takes_the_next_one(talk: Talk, threads: Threads, settings: Any) -> None:
    settings.CHAT_RUNS_PER_USER = 2
    other = new_talk(talk.ada, talk.ben, talk.worker_id)
    talk.queue()
    other.queue()
    with stopped_at("claim.slot") as stop:
        slow = threads.start(talk.claim)
        stop.wait()
        assert other.claim().slot == 1
        stop.go_on()
        assert slow.result(WAIT_S).slot == 2


def test_the_limit_holds_however_many_claims_come_at_once(talk: Talk, threads: Threads, settings: Any) -> None:
    settings.CHAT_RUNS_PER_USER = 3
    talks = [new_talk(talk.ada, talk.ben, talk.worker_id) for _ in range(8)]
    for one in talks:
        one.queue()
    claims = threads.at_once(*[lambda one=one: attempts.claim_run(talk.worker_id, one.pk) for one in talks])
    assert Run.objects.filter(status="running").count() == 3, claims


# --- an end -----------------------------------------------------------------------------------------------------------


def test_an_answer_its_usage_and_the_end_of_its_run_are_one_transaction(talk: Talk) -> None:
    run = talk.start()
    before = talk.last_seq
    attempts.finish_run(run, "Hello!", SPENT)
    message, now = Message.objects.get(pk=run.answer_id), Run.objects.get(pk=run.pk)
    assert (message.content, message.role, message.run_id, message.parent_id) == (
        "Hello!",
        "assistant",
        run.pk,
        run.message_id,
    )
    assert (now.status, now.drafts, now.slot, now.worker_id, now.llm) == ("succeeded", [], None, None, "demo")
    assert talk.types(before) == ["message.created", "session.updated", "run.succeeded"]
    assert talk.log()[-1].data["usage"] == {"input_tokens": 7, "output_tokens": 5, "cost_usd": 0.25}
    usage = Usage.objects.get(run=run, attempt=1)
    assert (usage.llm, usage.input_tokens, usage.output_tokens, usage.cost_usd) == ("demo", 7, 5, Decimal("0.25"))


def test_a_failure_keeps_what_was_shown_and_tells_people_why(talk: Talk) -> None:
    run = talk.start()
    before = talk.last_seq
    attempts.fail_run(run, ERROR, "Hel", SPENT)
    partial = Message.objects.get(pk=run.answer_id)
    assert (partial.content, partial.data) == ("Hel", {"interrupted": True})
    notice = Message.objects.get(role="system")
    assert (notice.kind, notice.content, notice.author["kind"]) == ("error", ERROR["message"], "system")
    assert talk.types(before) == ["message.created", "message.created", "session.updated", "run.failed"]
    assert Run.objects.get(pk=run.pk).error == ERROR


def test_a_failure_before_anything_was_shown_makes_no_empty_message(talk: Talk) -> None:
    run = talk.start()
    attempts.fail_run(run, ERROR, " \n", SPENT)
    assert not Message.objects.filter(pk=run.answer_id).exists()


@pytest.mark.parametrize("end", ["finish", "fail"])
def test_an_end_refuses_what_still_comes_and_forgets_the_draft(talk: Talk, redis: Any, end: str) -> None:
    run = talk.start()
    told()
    redis.set(stream.draft_key(talk.pk, run.answer_id), "so far")
    redis.set(stream.draft_key(talk.pk, run.answer_id, stream.REASONING), "so far")
    attempts.finish_run(run, "Hello!", SPENT) if end == "finish" else attempts.fail_run(run, ERROR, "", SPENT)
    told()
    assert redis.hget(stream.fence_key(talk.pk, run.pk), "a") == b"2"
    assert not redis.keys("chat:draft:*")


def test_what_a_stopped_attempt_cost_is_stored_after_its_end_without_an_event(talk: Talk) -> None:
    run = talk.start()
    runs.cancel_run(talk.ada, run.pk)
    before = talk.last_seq
    attempts.record_usage(run, SPENT)
    attempts.record_usage(run, Spending("demo", 100, 100))
    assert Usage.objects.get(run=run, attempt=1).output_tokens == 5, "an attempt is accounted for once"
    assert talk.last_seq == before


def test_what_an_attempt_cost_in_a_session_that_is_gone_is_forgotten(talk: Talk) -> None:
    run = talk.start()
    sessions.delete_session(talk.ada, talk.pk)
    attempts.record_usage(run, SPENT)
    assert not Usage.objects.exists()


# --- the fence --------------------------------------------------------------------------------------------------------

WRITES: dict[str, Callable[[Run], Any]] = {
    "finish": lambda run: attempts.finish_run(run, "Hello!", SPENT),
    "fail": lambda run: attempts.fail_run(run, ERROR, "Hel", SPENT),
    "keep a checkpoint": lambda run: attempts.keep_checkpoint(run, "Hel"),
    "hand back": lambda run: attempts.put_back(run, "drained"),
    "give up as lost": lambda run: attempts.put_back(run, "worker_lost"),
    "give up as stuck": lambda run: attempts.put_back(run, "worker_lost", stuck=True),
}


def cancelled(talk: Talk, run: Run) -> None:
    runs.cancel_run(talk.ada, run.pk)


def put_back(talk: Talk, run: Run) -> None:
    attempts.put_back(run, "drained")


def taken_over(talk: Talk, run: Run) -> None:
    attempts.put_back(run, "drained")
    talk.claim(workers.register_worker("another"))


def taken_again(talk: Talk, run: Run) -> None:
    """The same worker claimed it again: its older attempt is as dead as another's."""
    attempts.put_back(run, "drained")
    talk.claim()


def finished(talk: Talk, run: Run) -> None:
    attempts.finish_run(run, "Hello from before!", SPENT)


def deleted(talk: Talk, run: Run) -> None:
    sessions.delete_session(talk.ada, talk.pk)


@pytest.mark.parametrize("lose", [cancelled, put_back, taken_over, taken_again, finished, deleted])
@pytest.mark.parametrize("write", WRITES)
def test_a_worker_that_lost_its_claim_writes_nothing(
    talk: Talk, write: str, lose: Callable[[Talk, Run], None], redis: Any
) -> None:
    run = talk.start()
    lose(talk, run)
    before = everything()
    rung(redis)
    try:
        assert WRITES[write](run) is None
        assert write in ("hand back", "give up as lost", "give up as stuck")
    except Fenced:
        pass
    assert everything() == before
    assert rung(redis) == []


@pytest.mark.parametrize("write", ["finish", "fail", "keep a checkpoint"])
def test_a_worker_writes_nothing_into_another_workers_attempt(talk: Talk, write: str) -> None:
    run = talk.start()
    run.worker_id = workers.register_worker("another")
    before = everything()
    with pytest.raises(Fenced):
        WRITES[write](run)
    assert everything() == before


@pytest.mark.postgres
@pytest.mark.parametrize("write", ["finish", "fail", "hand back", "give up as stuck"])
def test_a_write_that_waited_while_the_run_was_taken_away_is_refused(talk: Talk, threads: Threads, write: str) -> None:
    """What held before the wait for the lock does not count: the fence is looked at afterwards."""
    run = talk.start()
    with stopped_at("cancel.commit") as stop:
        taking = threads.start(runs.cancel_run, talk.ada, run.pk)
        stop.wait()
        writing = threads.start(WRITES[write], run)
        wait_until_blocked()
        stop.go_on()
        taking.result(WAIT_S)
        assert isinstance(writing.exception(WAIT_S), Fenced) or writing.result() is None
    assert talk.types()[-1] == "run.cancelled"


def test_an_end_whose_reply_was_lost_is_refused_when_it_is_tried_again(talk: Talk) -> None:
    """The COMMIT arrived: the second try finds the attempt over, and writes no second answer."""
    run = talk.start()
    lost = OperationalError("server closed the connection unexpectedly")
    with failing_at("finish.committed", lost), pytest.raises(OperationalError):
        attempts.finish_run(run, "Hello!", SPENT)
    before = everything()
    with pytest.raises(Fenced):
        attempts.finish_run(run, "Hello!", SPENT)
    assert everything() == before
    assert Message.objects.filter(role="assistant").count() == 1


def test_a_checkpoint_is_forgotten_with_its_attempt(talk: Talk) -> None:
    run = talk.start()
    attempts.keep_checkpoint(run, "of the first attempt")
    attempts.put_back(run, "drained")
    assert Run.objects.get(pk=run.pk).checkpoint == ""
    again = talk.claim()
    attempts.keep_checkpoint(again, "of the second")
    attempts.finish_run(again, "Hello!", SPENT)
    assert Run.objects.get(pk=run.pk).checkpoint == ""


# --- put back ---------------------------------------------------------------------------------------------------------


def test_a_run_handed_back_waits_for_its_next_attempt_and_names_what_is_void(talk: Talk) -> None:
    run = talk.start()
    before = talk.last_seq
    back = attempts.put_back(run, "drained")
    assert back is not None
    assert (back.status, back.attempt, back.crashes, back.worker_id, back.slot) == ("queued", 2, 0, None, None)
    assert (back.answer_id, back.drafts) == (None, [])
    [event] = talk.log(before)
    assert (event.type, event.data["attempt"], event.data["reason"]) == ("run.restarted", 2, "drained")
    assert event.data["discarded"] == [str(run.answer_id)]
    again = talk.claim()
    assert (again.attempt, again.crashes) == (2, 0)
    assert again.answer_id != run.answer_id, "two attempts never share an id"


def test_what_is_void_is_what_the_run_had_promised_when_it_was_put_back(talk: Talk) -> None:
    """The sweep read the run some time ago; it may have promised more since."""
    run = talk.start()
    more = [str(run.answer_id), "22222222-2222-4222-8222-222222222222"]
    Run.objects.filter(pk=run.pk).update(drafts=more)
    attempts.put_back(run, "drained")
    assert talk.log()[-1].data["discarded"] == more


def test_a_run_put_back_refuses_the_deltas_of_its_last_attempt(talk: Talk, redis: Any) -> None:
    run = talk.start()
    told()
    redis.set(stream.draft_key(talk.pk, run.answer_id), "so far")
    attempts.put_back(run, "drained")
    told()
    assert redis.hget(stream.fence_key(talk.pk, run.pk), "a") == b"2"
    assert not redis.keys("chat:draft:*")


def test_an_attempt_never_falls(talk: Talk) -> None:
    talk.queue()
    seen = []
    for reason in ("drained", "worker_lost", "drained"):
        run = talk.claim()
        seen.append(run.attempt)
        let_lease_run_out(talk.worker_id)
        attempts.put_back(run, reason)
        seen.append(Run.objects.get(pk=run.pk).attempt)
    assert seen == [1, 2, 2, 3, 3, 4]


# --- the dead ---------------------------------------------------------------------------------------------------------


def test_a_run_whose_workers_lease_ran_out_is_lost_and_counts_as_a_crash(talk: Talk) -> None:
    run = talk.start()
    assert attempts.lost_runs() == []
    assert attempts.put_back(run, "worker_lost") is None, "the lease holds"
    let_lease_run_out(talk.worker_id)
    [lost] = attempts.lost_runs()
    back = attempts.put_back(lost, "worker_lost")
    assert back is not None and (back.status, back.attempt, back.crashes) == ("queued", 2, 1)
    assert talk.log()[-1].data["reason"] == "worker_lost"


def test_a_lease_that_was_renewed_after_the_sweep_looked_saves_its_runs(talk: Talk) -> None:
    talk.start()
    let_lease_run_out(talk.worker_id)
    [lost] = attempts.lost_runs()
    workers.renew_lease(talk.worker_id)
    assert attempts.put_back(lost, "worker_lost") is None
    assert Run.objects.get(pk=lost.pk).status == "running"


def test_many_sweeps_at_once_put_a_run_back_once(talk: Talk, threads: Threads) -> None:
    run = talk.start()
    let_lease_run_out(talk.worker_id)
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
        let_lease_run_out(talk.worker_id)
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
    let_lease_run_out(talk.worker_id)
    for _ in range(5):
        attempts.put_back(talk.claim(), "worker_lost")
    assert Run.objects.get().status == "queued"


def test_a_run_that_hangs_is_taken_from_a_worker_that_lives(talk: Talk) -> None:
    run = talk.start()
    assert attempts.stuck_runs(60) == []
    Run.objects.filter(pk=run.pk).update(started_at=timezone.now() - timedelta(seconds=61))
    [stuck] = attempts.stuck_runs(60)
    back = attempts.put_back(stuck, "worker_lost", stuck=True)
    assert back is not None and (back.status, back.crashes) == ("queued", 1)


# --- what nobody came for ---------------------------------------------------------------------------------------------


def test_sessions_whose_doorbell_was_lost_are_found_in_the_order_of_their_waiting(talk: Talk) -> None:
    others = [new_talk(talk.ada, talk.ben, talk.worker_id) for _ in range(2)]
    for one in (others[1], talk, others[0]):
        one.queue()
    assert attempts.claimable_sessions(0) == [others[1].pk, talk.pk, others[0].pk]
    assert attempts.claimable_sessions(60) == [], "their doorbell may still come"


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
    assert attempts.claimable_sessions(0) == [free.pk], "one row a session"
    talk.start()
    assert attempts.claimable_sessions(0) == [], "Ada's two places are taken"
    assert free.post(by=talk.ben)
    assert attempts.claimable_sessions(0) == [], "Ben's waits behind Ada's"


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
    assert attempts.claimable_sessions(0) == [bens.pk]


def test_a_claim_in_a_session_that_vanishes_under_it_finds_nothing(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    talk.queue()
    locked = attempts.locked

    def delete_first(session_id: UUID) -> Any:
        monkeypatch.setattr(attempts, "locked", locked)
        sessions.delete_session(talk.ada, session_id)
        return locked(session_id)

    monkeypatch.setattr(attempts, "locked", delete_first)
    with pytest.raises(NotFound):
        attempts.claim_run(talk.worker_id, talk.pk)
