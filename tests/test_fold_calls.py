"""The fold of steps and calls: it follows a run that acts, and refuses each way to tell of it wrongly."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.fold import Fold, Frame, Row, Violation
from tests.test_fold import ANSWER, SECOND, asked, delta, event, message_row, run_row

STEP, CALL = "s-1", "t-1"


def step(status: str = "running", **changes: Any) -> Row:
    return {"step_id": STEP, "name": "tools", "index": 0, "status": status, "data": {}} | changes


def call(status: str, **changes: Any) -> Row:
    more: Row = {"result": 7} if status == "returned" else {}
    return {"tool_call_id": CALL, "tool": "look", "args": {}, "status": status, "access": "read"} | more | changes


def shown(status: str, **changes: Any) -> Row:
    return message_row(CALL, "tool", "", category="agent", data={"tool_call": call(status)}) | changes


def acting() -> list[tuple[str, Row]]:
    """A run that looks once and answers."""
    return [
        ("run.started", run_row("running", 1, ANSWER)),
        ("message.created", message_row(ANSWER, "assistant", "Let me look.")),
        ("step.started", step(message_id=SECOND)),
        ("message.created", shown("called")),
        ("tool.called", call("called")),
        ("run.updated", run_row("running", 1, SECOND)),
        ("message.updated", shown("returned")),
        ("tool.returned", call("returned")),
        ("step.finished", step("succeeded")),
        ("message.created", message_row(SECOND, "assistant", "Seven.")),
        ("run.succeeded", run_row("succeeded", 1, SECOND)),
    ]


def fed(told: list[tuple[str, Row]], fold: Fold | None = None) -> Fold:
    fold = fold or Fold("s-1")
    frames: list[Frame] = asked()
    frames += [event(len(frames) + number, kind, data) for number, (kind, data) in enumerate(told, 1)]
    for frame in frames:
        fold.feed(frame)
    return fold


def test_a_run_that_acts_is_followed() -> None:
    fold = fed(acting())
    assert fold.calls.calls[CALL]["result"] == 7
    assert fold.calls.steps[STEP]["status"] == "succeeded"
    assert fold.calls.called == {CALL: 1}
    answer = fold.answer("r-1")
    assert answer and answer["content"] == "Seven."


def test_deltas_after_a_step_are_of_the_message_that_it_names() -> None:
    fold = fed(acting()[:6])
    fold.feed(delta(0, "Sev", message_id=SECOND))
    with pytest.raises(Violation):
        fold.feed(delta(0, "x", message_id="m-nobodys"))


Change = Callable[[list[tuple[str, Row]]], None]


def without(kind: str, nth: int = 0) -> Change:
    def change(told: list[tuple[str, Row]]) -> None:
        del told[[index for index, (one, _) in enumerate(told) if one == kind][nth]]

    return change


def with_(kind: str, **changes: Any) -> Change:
    def change(told: list[tuple[str, Row]]) -> None:
        index = [one for one, _ in told].index(kind)
        told[index] = (kind, {key: value for key, value in (told[index][1] | changes).items() if value is not ...})

    return change


def twice(kind: str) -> Change:
    def change(told: list[tuple[str, Row]]) -> None:
        index = [one for one, _ in told].index(kind)
        told.insert(index + 1, told[index])

    return change


def late(kind: str) -> Change:
    """Tell of something after the run's end."""

    def change(told: list[tuple[str, Row]]) -> None:
        index = [one for one, _ in told].index(kind)
        told.append(told.pop(index))

    return change


@pytest.mark.parametrize(
    "change",
    [
        without("step.finished"),
        without("tool.returned"),
        without("message.updated"),
        with_("step.started", index=...),
        with_("step.started", index=1),
        with_("step.started", status="succeeded"),
        with_("step.finished", status="running"),
        with_("step.finished", index=3),
        with_("tool.called", args=...),
        with_("tool.called", status="waiting"),
        with_("tool.returned", status="called"),
        with_("tool.returned", result=...),
        with_("tool.returned", tool="other"),
        with_("tool.returned", result=8),
        with_("message.updated", role="assistant"),
        with_("message.updated", message_id="t-2"),
        twice("step.started"),
        twice("step.finished"),
        twice("tool.returned"),
        late("step.started"),
        late("tool.called"),
    ],
)
def test_what_the_wire_forbids_is_refused(change: Change) -> None:
    told = acting()
    change(told)
    with pytest.raises(Violation):
        fed(told)


def test_a_call_that_was_over_is_not_changed_by_its_message() -> None:
    told = acting()
    told.insert(9, ("message.updated", shown("returned", data={"tool_call": call("returned", result=8)})))
    with pytest.raises(Violation):
        fed(told)


def test_a_run_does_not_ask_people_while_a_tool_is_at_work() -> None:
    told = acting()[:6]
    question: Row = {"interrupt_id": "i-1", "session_id": "s-1", "run_id": "r-1", "reason": "approval", "prompt": "?"}
    question |= {"payload": {}, "answer_schema": {}, "status": "open", "answer": None, "resolved_by": None}
    question |= {"expires_at": None, "created_at": "2026-01-02T03:04:05.678901Z"}
    told += [("interrupt.opened", question), ("run.interrupted", run_row("interrupted", 1))]
    with pytest.raises(Violation):
        fed(told)


def test_what_is_pure_may_be_called_again_by_another_attempt() -> None:
    told = acting()
    third = "m-third"
    back = {**run_row("queued", 2), "reason": "worker_lost", "discarded": [SECOND]}
    again = [
        ("run.restarted", back),
        ("run.started", run_row("running", 2, third)),
        ("message.updated", shown("called")),
        ("tool.called", call("called")),
    ]
    told[6:6] = again
    told[-2:] = [
        ("message.created", message_row(third, "assistant", "Seven.")),
        ("run.succeeded", run_row("succeeded", 2, third)),
    ]
    assert fed(told).calls.called == {CALL: 2}
