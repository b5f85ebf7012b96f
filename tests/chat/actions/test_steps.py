"""Steps and their calls in the log: written under the fence, once, and told whole."""

import copy
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from chat.actions import attempts, steps
from chat.actions.tool_calls import Change
from chat.errors import Fenced
from chat.models import Interrupt, Message, Run, ToolCall
from tests.chat.actions.test_attempts_fence import (
    cancelled,
    deleted,
    everything,
    finished,
    put_back,
    taken_again,
    taken_over,
)
from tests.inside import Talk, told
from tests.servers import Redis
from tests.threads import Threads, stopped_at, wait_until_blocked

Status = ToolCall.Status


def entry(run: Run, index: int = 0, status: str = Status.CALLED, step: int = 0, **more: Any) -> ToolCall:
    columns: dict[str, Any] = {"effect": "once", "access": "write", "calls": 1, "attempt": run.attempt} | more
    return ToolCall(
        session_id=run.session_id,
        run_id=run.pk,
        step=step,
        index=index,
        call_id=f"c{index}",
        tool="send",
        args_json="{}",
        status=status,
        **columns,
    )


def begin(run: Run, *calls: ToolCall, text: str = "I send it.") -> None:
    step = {
        "step_id": str(uuid4()),
        "name": "tools",
        "text": text,
        "tool_call_ids": [str(call.pk) for call in calls],
    }
    state = {"steps": [*run.state.get("steps", ()), step]}
    answer_id = uuid4() if text else run.answer_id
    assert answer_id is not None
    steps.begin_step(run, state, text, answer_id, calls)
    run.state, run.answer_id, run.drafts = state, answer_id, [str(answer_id)]


def returns(call: ToolCall, result: str = "sent") -> Change:
    return Change(call, {"status": Status.RETURNED, "result": result, "text": result, "error": None})


def everything_of_calls() -> list[Any]:
    return [*everything(), list(ToolCall.objects.order_by("pk").values())]


def test_a_step_is_told_with_its_words_its_calls_and_the_id_of_what_follows(talk: Talk) -> None:
    run = talk.start()
    first = run.answer_id
    before = talk.last_seq
    begin(
        run,
        entry(run),
        entry(run, 1, Status.WAITING),
        entry(run, 2, Status.FAILED, error={"code": "x", "message": "X"}),
    )
    assert talk.types(before) == [
        "message.created",
        "step.started",
        "message.created",
        "tool.called",
        "message.created",
        "message.created",
        "tool.returned",
        "run.updated",
    ]
    said, started, *_, updated = talk.log(before)
    assert said.data["message_id"] == str(first) and said.data["content"] == "I send it."
    now = Run.objects.get(pk=run.pk)
    assert started.data["message_id"] == str(now.answer_id) == updated.data["message_id"] != str(first)
    assert now.drafts == [str(now.answer_id)] and now.state == run.state
    assert {key: started.data[key] for key in ("name", "index", "status")} == {
        "name": "tools",
        "index": 0,
        "status": "running",
    }


def test_the_last_call_that_returns_finishes_the_step(talk: Talk) -> None:
    run = talk.start()
    first, second = entry(run), entry(run, 1)
    begin(run, first, second)
    before = talk.last_seq
    steps.record_calls(run, [returns(second)])
    assert talk.types(before) == ["message.updated", "tool.returned"]
    steps.record_calls(run, [returns(first)])
    assert talk.types(before)[2:] == ["message.updated", "tool.returned", "step.finished"]
    row = ToolCall.objects.get(pk=first.pk)
    assert row.duration_s is not None and row.duration_s >= 0
    assert Message.objects.get(pk=first.pk).data["tool_call"] == row.as_data()


def test_what_is_written_a_second_time_changes_and_tells_nothing(talk: Talk) -> None:
    """Its COMMIT was heard of too late: it is done again, with the same words."""
    run = talk.start()
    call = entry(run)
    was = run.answer_id
    begin(run, call)
    after = everything_of_calls()
    state, answer_id = run.state, run.answer_id
    run.answer_id = was
    assert answer_id is not None
    steps.begin_step(run, state, "I send it.", answer_id, [call])
    assert everything_of_calls() == after
    run.answer_id = answer_id
    steps.record_calls(run, [returns(call)])
    after = everything_of_calls()
    steps.record_calls(run, [returns(call)])
    assert everything_of_calls() == after


WRITES: dict[str, Callable[[Run, ToolCall], Any]] = {
    "begin": lambda run, call: begin(run, entry(run, step=1)),
    "record": lambda run, call: steps.record_calls(run, [returns(call)]),
}


@pytest.mark.parametrize("lose", [cancelled, put_back, taken_over, taken_again, finished, deleted])
@pytest.mark.parametrize("write", WRITES)
def test_a_worker_that_lost_its_claim_writes_no_step(talk: Talk, write: str, lose: Callable[[Talk, Run], None]) -> None:
    run = talk.start()
    call = entry(run)
    begin(run, call)
    if lose is finished:
        steps.record_calls(run, [returns(call)])
    lose(talk, run)
    before = everything_of_calls()
    with pytest.raises(Fenced):
        WRITES[write](run, call)
    assert everything_of_calls() == before


@pytest.mark.postgres
@pytest.mark.parametrize("write", WRITES)
def test_a_step_that_waited_while_the_run_was_taken_away_is_refused(talk: Talk, threads: Threads, write: str) -> None:
    run = talk.start()
    call = entry(run)
    begin(run, call)
    with stopped_at("cancel.commit") as stop:
        taking = threads.start(talk.cancel, run.pk)
        stop.wait()
        writing = threads.start(WRITES[write], run, call)
        wait_until_blocked()
        stop.go_on()
        taking.result(20)
        with pytest.raises(Fenced):
            writing.result(20)


@pytest.mark.parametrize(("effect", "status"), [("pure", "cancelled"), ("idempotent", "unknown"), ("once", "unknown")])
@pytest.mark.parametrize("end", ["cancel", "fail"])
def test_a_run_that_ends_settles_what_it_leaves_open(talk: Talk, effect: str, status: str, end: str) -> None:
    run = talk.start()
    called = entry(run, effect=effect)
    begin(run, called, entry(run, 1, Status.WAITING), entry(run, 2, Status.HELD))
    before = talk.last_seq
    if end == "cancel":
        talk.cancel(run.pk)
    else:
        attempts.fail_run(run, {"code": "internal", "message": "No.", "temporary": True}, "")
    rows = list(ToolCall.objects.filter(run_id=run.pk).in_order())
    assert [row.status for row in rows] == [status, "cancelled", "cancelled"]
    assert all(row.ended_at for row in rows)
    types = talk.types(before)
    assert types.count("tool.returned") == 3 and types.count("step.finished") == 1
    assert types[-1] == ("run.cancelled" if end == "cancel" else "run.failed")
    [step] = [event for event in talk.log(before) if event.type == "step.finished"]
    assert step.data["status"] == ("cancelled" if end == "cancel" else "failed")


@pytest.mark.parametrize("text", ["", "I send it."])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_failure_takes_along_a_step_that_its_worker_has_not_heard_of(talk: Talk, text: str, is_first: bool) -> None:
    """Its time was over while that was saved: what it knows is how things were before."""
    run = talk.start()
    if not is_first:
        before = entry(run)
        begin(run, before, text="")
        steps.record_calls(run, [returns(before)])
    known, begun = copy.copy(run), talk.last_seq
    call = entry(run, step=0 if is_first else 1)
    begin(run, call, text=text)
    attempts.fail_run(known, {"code": "run_too_long", "message": "No.", "temporary": False}, text)
    assert ToolCall.objects.get(pk=call.pk).status == "unknown"
    types = talk.types(begun)
    assert types.count("tool.returned") == types.count("step.finished") == 1 and types[-1] == "run.failed"
    said = Message.objects.filter(run_id=run.pk, role="assistant").values_list("pk", "content", "data")
    assert list(said) == ([(known.answer_id, text, {})] if text else []), "it is said once, and whole"


def test_a_run_that_kills_its_workers_is_given_up_with_its_calls(talk: Talk, settings: Any) -> None:
    settings.CHAT_CRASHES_MAX = 1
    run = talk.start()
    begin(run, entry(run))
    attempts.put_back(run, "worker_lost", stuck=True)
    assert Run.objects.get(pk=run.pk).status == "failed"
    assert ToolCall.objects.get(run_id=run.pk).status == "unknown"


def test_the_newest_question_about_a_call_counts(talk: Talk) -> None:
    run = talk.start()
    call = entry(run, status=Status.WAITING)
    begin(run, call)
    for prompt in ("first", "second"):
        Interrupt.objects.create(session_id=talk.pk, run=run, tool_call=call, reason="question", prompt=prompt)
    assert steps.asked_of(run)[call.pk].prompt == "second"
    Interrupt.objects.all().delete()  # no event told of them


def test_a_checkpoint_that_comes_after_its_step_is_not_said_again(talk: Talk, redis_server: Redis) -> None:
    run = talk.start()
    first = run.answer_id
    begin(run, entry(run), text="I send it.")
    told()
    redis_server.kill()
    attempts.keep_checkpoint(run, first, "I send it.")
    talk.cancel(run.pk)
    assert [one.content for one in Message.objects.filter(run_id=run.pk, role="assistant")] == ["I send it."]


def test_the_checkpoint_of_what_follows_a_step_is_kept(talk: Talk, redis_server: Redis) -> None:
    run = talk.start()
    begin(run, entry(run), text="I send it.")
    told()
    redis_server.kill()
    attempts.keep_checkpoint(run, run.answer_id, "It is")
    talk.cancel(run.pk)
    said = Message.objects.filter(run_id=run.pk, role="assistant").order_by("seq")
    assert [one.content for one in said] == ["I send it.", "It is"]
