"""A worker that lost its claim writes nothing; and what is void when a run is put back."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.db import OperationalError

from chat import stream
from chat.actions import attempts, sessions, workers
from chat.actions.usage import Spending
from chat.errors import Fenced
from chat.models import ChatSession, Event, Message, Run, Usage
from tests.inside import WAIT_S, Talk, rung, told
from tests.threads import Threads, failing_at, stopped_at, wait_until_blocked

SPENT = Spending("demo", 7, 5, Decimal("0.25"))
ERROR = {"code": "llm_unavailable", "message": "The language model cannot be reached.", "temporary": True}


def everything() -> list[Any]:
    """All that an action could write, to see that one wrote nothing."""
    models = (ChatSession, Event, Message, Run, Usage)
    return [list(model.objects.order_by("pk").values()) for model in models]


# --- the fence --------------------------------------------------------------------------------------------------------

WRITES: dict[str, Callable[[Run], Any]] = {
    "finish": lambda run: attempts.finish_run(run, "Hello!", SPENT),
    "fail": lambda run: attempts.fail_run(run, ERROR, "Hel", SPENT),
    "keep a checkpoint": lambda run: attempts.keep_checkpoint(run, run.answer_id, "Hel"),
    "hand back": lambda run: attempts.put_back(run, "drained"),
    "give up as lost": lambda run: attempts.put_back(run, "worker_lost"),
    "give up as stuck": lambda run: attempts.put_back(run, "worker_lost", stuck=True),
}


def cancelled(talk: Talk, run: Run) -> None:
    talk.cancel(run.pk)


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
        taking = threads.start(talk.cancel, run.pk)
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
    attempts.keep_checkpoint(run, run.answer_id, "of the first attempt")
    attempts.put_back(run, "drained")
    assert Run.objects.get(pk=run.pk).checkpoint == ""
    again = talk.claim()
    attempts.keep_checkpoint(again, again.answer_id, "of the second")
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
        workers.end_lease(talk.worker_id)
        attempts.put_back(run, reason)
        seen.append(Run.objects.get(pk=run.pk).attempt)
    assert seen == [1, 2, 2, 3, 3, 4]
