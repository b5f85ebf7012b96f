"""The fold itself: it follows a good stream to the state of a page load, and refuses each way to break the wire."""

import copy
from typing import Any

import pytest

from tests.fold import Fold, Frame, Row, Violation, differences

SESSION, RUN, ASKED, ANSWER, SECOND = "s-1", "r-1", "m-ask", "m-answer", "m-answer-2"
AT = "2026-01-02T03:04:05.678901Z"
AUTHOR = {"kind": "agent", "name": "assistant", "title": "", "avatar": "", "color": ""}


def session_row(**changes: Any) -> Row:
    row: Row = {"session_id": SESSION, "title": "", "status": "new", "agent": "assistant", "incident_id": None}
    row |= {"parent_id": None, "metadata": {}, "on_busy": "queue", "my_role": "owner", "last_seq": 1}
    return row | {"created_at": AT, "updated_at": AT} | changes


def message_row(message_id: str, role: str = "user", content: str = "hi", **changes: Any) -> Row:
    row: Row = {
        "message_id": message_id,
        "session_id": SESSION,
        "run_id": RUN,
        "parent_id": None,
        "key": None,
        "role": role,
    }
    row |= {"author": AUTHOR, "kind": "text", "category": "chat", "content": content, "data": {}, "attachments": []}
    return row | {"created_at": AT, "updated_at": AT, "deleted_at": None} | changes


def run_row(status: str = "queued", attempt: int = 0, message_id: str | None = None, **changes: Any) -> Row:
    row: Row = {"run_id": RUN, "session_id": SESSION, "message_id": message_id, "status": status, "position": 3}
    row |= {
        "question_id": ASKED,
        "attempt": attempt,
        "crashes": 0,
        "agent": "assistant",
        "llm": "demo",
        "fallback_status": None,
    }
    row |= {"usage": {"input_tokens": 0, "output_tokens": 0, "cost_usd": 0}, "error": None}
    times = ("queued_at", "started_at", "interrupted_at", "succeeded_at", "failed_at", "cancelled_at")
    return row | dict.fromkeys(times) | changes


def event(seq: int, kind: str, data: Row, run_id: str | None = RUN) -> Frame:
    return {"type": kind, "session_id": SESSION, "run_id": run_id, "seq": seq, "at": AT, "data": data}


def delta(offset: int, text: str, attempt: int = 1, message_id: str = ANSWER, run_id: str = RUN) -> Frame:
    data: Row = {"message_id": message_id, "attempt": attempt, "offset": offset, "text": text}
    if offset == 0:
        data |= {"role": "assistant", "author": AUTHOR, "kind": "text"}
    return {"type": "message.delta", "session_id": SESSION, "run_id": run_id, "seq": None, "at": None, "data": data}


def asked() -> list[Frame]:
    return [
        event(1, "session.created", session_row(), None),
        event(2, "message.created", message_row(ASKED)),
        event(3, "run.queued", run_row()),
    ]


def started() -> list[Frame]:
    return [*asked(), event(4, "run.started", run_row("running", 1, ANSWER))]


def answered() -> list[Frame]:
    return [
        *started(),
        delta(0, "Hé"),
        delta(2, "llo"),
        event(5, "message.created", message_row(ANSWER, "assistant", "Héllo you")),
        event(6, "run.succeeded", run_row("succeeded", 1, ANSWER)),
    ]


def restarted(**extra: Any) -> list[Frame]:
    data = run_row("queued", 1, ANSWER, crashes=1) | {"reason": "worker_lost", "discarded": [ANSWER]} | extra
    return [*started(), delta(0, "Half"), event(5, "run.restarted", data)]


def interrupt_row(status: str = "open", **changes: Any) -> Row:
    row: Row = {"interrupt_id": "i-1", "session_id": SESSION, "run_id": RUN, "reason": "question", "prompt": "Which?"}
    row |= {"payload": {}, "answer_schema": {}, "status": status, "answer": None, "resolved_by": None}
    return row | {"expires_at": None, "created_at": AT} | changes


def asks() -> list[Frame]:
    return [
        *started(),
        delta(0, "Half"),
        event(5, "interrupt.opened", interrupt_row()),
        event(6, "run.interrupted", run_row("interrupted", 1)),
    ]


def settled(status: str = "resolved", **changes: Any) -> list[Frame]:
    answer = {"answer": {"text": "7"} if status == "resolved" else None}
    return [*asks(), event(7, "interrupt.resolved", interrupt_row(status, **(answer | changes)))]


def fold(frames: list[Frame]) -> Fold:
    folded = Fold(SESSION)
    for frame in frames:
        folded.feed(frame)
    return folded


def test_an_answer_folds_to_the_page_that_shows_it() -> None:
    folded = fold(answered())
    page = session_row(last_seq=6) | {
        "messages": [message_row(ASKED), message_row(ANSWER, "assistant", "Héllo you")],
        "runs": [],
        "interrupts": [],
    }
    assert list(differences(folded.state(), page)) == []
    assert not folded.drafts


def test_a_draft_is_shown_but_is_no_part_of_the_state() -> None:
    folded = fold([*started(), delta(0, "Hé"), delta(2, "llo")])
    assert folded.draft(RUN) == "Héllo"
    assert [message["message_id"] for message in folded.state()["messages"]] == [ASKED]
    assert [run["status"] for run in folded.state()["runs"]] == ["running"]


def test_offset_zero_replaces_what_was_shown() -> None:
    assert fold([*started(), delta(0, "Hé"), delta(0, "Hello"), delta(5, "!")]).draft(RUN) == "Hello!"


def test_a_restart_drops_what_it_names_and_the_next_attempt_starts_clean() -> None:
    frames = [
        *restarted(),
        event(6, "run.started", run_row("running", 2, SECOND, crashes=1)),
        delta(0, "Whole", 2, SECOND),
        event(7, "message.created", message_row(SECOND, "assistant", "Whole")),
        event(8, "run.succeeded", run_row("succeeded", 2, SECOND, crashes=1)),
    ]
    assert [row["content"] for row in fold(frames).answers()] == ["Whole"]


def test_a_cancel_keeps_the_partial_text_that_it_was_told_and_drops_what_a_rollback_names() -> None:
    partial = message_row(ANSWER, "assistant", "Ha", data={"interrupted": True})
    cancelled = run_row("cancelled", 1, ANSWER) | {"discarded": [ASKED]}
    frames = [*started(), delta(0, "Half"), event(5, "message.created", partial), event(6, "run.cancelled", cancelled)]
    folded = fold(frames)
    assert [row["content"] for row in folded.state()["messages"]] == ["Ha"]
    assert folded.state()["runs"] == []


def test_a_question_is_shown_until_it_is_settled_and_then_the_run_goes_on() -> None:
    asking = fold(asks())
    assert asking.state()["interrupts"] == [interrupt_row()]
    assert not asking.drafts
    goes_on = [
        *settled(),
        event(8, "run.queued", run_row("queued", 2)),
        event(9, "run.started", run_row("running", 2, SECOND)),
        delta(0, "Order 7", 2, SECOND),
        event(10, "message.created", message_row(SECOND, "assistant", "Order 7")),
        event(11, "run.succeeded", run_row("succeeded", 2, SECOND)),
    ]
    folded = fold(goes_on)
    assert folded.state()["interrupts"] == []
    assert folded.interrupts["i-1"]["answer"] == {"text": "7"}
    assert [row["content"] for row in folded.answers()] == ["Order 7"]


def test_a_snapshot_and_the_events_after_it_give_the_same_state_as_the_whole_log() -> None:
    frames = answered()
    for cut in range(3, len(frames)):
        head = fold(frames[:cut])
        folded = Fold(SESSION, snapshot=copy.deepcopy(head.state()))
        for frame in frames[cut:]:
            if frame["seq"] is not None:
                folded.feed(frame)
        assert folded.state() == fold(frames).state()


def test_a_new_socket_owes_each_draft_from_its_first_character() -> None:
    folded = fold([*started(), delta(0, "Hé")])
    folded.resume()
    with pytest.raises(Violation, match="does not start at 0"):
        folded.feed(delta(2, "llo"))
    folded.feed(delta(0, "Héllo"))
    folded.feed(delta(5, "!"))
    assert folded.draft(RUN) == "Héllo!"


BROKEN: dict[str, tuple[str, list[Frame]]] = {
    "a gap in seq": ("a gap", [*asked(), event(5, "run.started", run_row("running", 1, ANSWER))]),
    "a seq twice": ("came again", [*asked(), asked()[-1]]),
    "a key of the frame missing": ("keys are missing", [{k: v for k, v in asked()[0].items() if k != "run_id"}]),
    "a frame of another session": ("another session", [asked()[0] | {"session_id": "s-2"}]),
    "a local time": ("no time in UTC", [asked()[0] | {"at": "2026-01-02T03:04:05+02:00"}]),
    "a row that is not whole": ("not whole", [event(1, "session.created", {"session_id": SESSION}, None)]),
    "a log that starts with a rename": ("first event", [event(1, "session.updated", session_row(), None)]),
    "a message made twice": ("made twice", [*asked(), event(4, "message.created", message_row(ASKED))]),
    "a delta that leaves a hole": ("offset 4 after 2", [*started(), delta(0, "Hé"), delta(4, "o")]),
    "a delta counted in bytes": ("offset 3 after 2", [*started(), delta(0, "Hé"), delta(3, "llo")]),
    "a delta twice": ("offset 2 after 5", [*started(), delta(0, "Hé"), delta(2, "llo"), delta(2, "llo")]),
    "a first delta in the middle": ("does not start at 0", [*started(), delta(2, "llo")]),
    "a first delta by nobody": (
        "lacks",
        [*started(), {**delta(1, "x"), "data": delta(1, "x")["data"] | {"offset": 0}}],
    ),
    "a delta before its run started": ("run that is queued", [*asked(), delta(0, "x")]),
    "a delta of an unknown run": ("run that is None", [*asked(), delta(0, "x", run_id="r-9")]),
    "a delta of a message nobody reserved": ("no event reserved", [*started(), delta(0, "x", message_id="m-9")]),
    "a delta after its message": ("finished message", [*answered()[:-1], delta(0, "x")]),
    "a delta after the run's end": (
        "run that is cancelled",
        [*started(), event(5, "run.cancelled", run_row("cancelled", 1)), delta(0, "x")],
    ),
    "a delta of a dead attempt": ("discarded message", [*restarted(), delta(0, "x")]),
    "a delta between two attempts": ("run that is queued", [*restarted(), delta(0, "x", 2, SECOND)]),
    "a late delta of the first attempt": (
        "attempt 1 while 2 runs",
        [*restarted(), event(6, "run.started", run_row("running", 2, SECOND)), delta(0, "x", 1, SECOND)],
    ),
    "two attempts glued together": ("used", [*restarted(), event(6, "run.started", run_row("running", 2, ANSWER))]),
    "an attempt left out": (
        "attempt 3 instead of 2",
        [*restarted(), event(6, "run.started", run_row("running", 3, SECOND))],
    ),
    "a restart that names no reason": ("reason", restarted(reason="bad luck")),
    "a restart that keeps what was shown": ("shown but not discarded", restarted(discarded=[])),
    "a discarded message that comes back": (
        "came back",
        [*restarted(), event(6, "message.created", message_row(ANSWER, "assistant"))],
    ),
    "a message that does not begin as shown": (
        "does not begin",
        [*started(), delta(0, "Hé"), event(5, "message.created", message_row(ANSWER, "assistant", "Other"))],
    ),
    "a success without its answer": (
        "without its answer",
        [*started(), event(5, "run.succeeded", run_row("succeeded", 1, ANSWER))],
    ),
    "an answer after the end": (
        "run that is cancelled",
        [
            *started(),
            event(5, "run.cancelled", run_row("cancelled", 1)),
            event(6, "message.created", message_row(ANSWER, "assistant")),
        ],
    ),
    "a second end": ("the run was succeeded", [*answered(), event(7, "run.failed", run_row("failed", 1, ANSWER))]),
    "a start without a queue": (
        "the run was running",
        [*started(), event(5, "run.started", run_row("running", 2, SECOND))],
    ),
    "a status that its event does not mean": (
        "status is running",
        [*started(), event(5, "run.succeeded", run_row("running", 1, ANSWER))],
    ),
    "a status that moves without an event": (
        "moved",
        [*asked(), event(4, "run.updated", run_row("running", 1, ANSWER))],
    ),
    "a question of a run that waits": ("does not run", [*asked(), event(4, "interrupt.opened", interrupt_row())]),
    "a question that is answered as it is asked": (
        "status is resolved",
        [*started(), event(5, "interrupt.opened", interrupt_row("resolved"))],
    ),
    "a question asked twice": ("asked twice", [*asks(), event(7, "interrupt.opened", interrupt_row())]),
    "an answer to no question": (
        "never asked",
        [*started(), event(5, "interrupt.resolved", interrupt_row("expired"))],
    ),
    "a question settled twice": (
        "settled twice",
        [*settled(), event(8, "interrupt.resolved", interrupt_row("expired"))],
    ),
    "an answer that says nothing": ("resolved with None", settled(answer=None)),
    "an answer of nobody": ("expired with", settled("expired", answer={"approved": False})),
    "a run that waits for nothing": (
        "asks False",
        [*started(), event(5, "run.interrupted", run_row("interrupted", 1))],
    ),
    "a run that goes on unanswered": ("asks True", [*asks(), event(7, "run.queued", run_row("queued", 2))]),
    "a run that ends and still asks": ("asks True", [*asks(), event(7, "run.cancelled", run_row("cancelled", 1))]),
    "a run that goes on in its old attempt": (
        "no new attempt",
        [*settled(), event(8, "run.queued", run_row("queued", 1))],
    ),
    "two runs at once": (
        "two runs",
        [
            *started(),
            event(5, "run.queued", run_row() | {"run_id": "r-2"}, "r-2"),
            event(6, "run.started", run_row("running", 1, SECOND) | {"run_id": "r-2"}, "r-2"),
        ],
    ),
}


@pytest.mark.parametrize("wrong", BROKEN)
def test_the_fold_refuses(wrong: str) -> None:
    rule, frames = BROKEN[wrong]
    fold(frames[:-1])
    with pytest.raises(Violation, match=rule):
        fold(frames)


def test_a_difference_is_named_by_its_place() -> None:
    folded, shown = session_row(title="a", last_seq=1), session_row(title="b", last_seq=True)
    assert list(differences(folded, shown)) == [".last_seq: fold 1 != GET True", ".title: fold 'a' != GET 'b'"]
    assert list(differences({"runs": [1]}, {"runs": []})) == [".runs: 1 in the fold, 0 in GET"]
