"""The fold, without a socket: frames in, what is shown out."""

import pytest

from chat.terminal.state import Item, Talk
from tests.terminal.frames import SESSION, Row, delta, frame, interrupt, message, run, session, tool_call


def talk(*frames: dict) -> Talk:
    told = Talk(SESSION)
    for one in frames:
        told.fold(one)
    return told


def shown(told: Talk) -> list[str]:
    return [item.text for item in told.items if not item.discarded]


ASKED = frame("message.created", 1, message("m1", "hello", "user"))
QUEUED = frame("run.queued", 2, run("queued"))
STARTED = frame("run.started", 3, run("running", message_id="a1"))


def test_deltas_grow_the_answer_and_the_message_has_the_last_word() -> None:
    told = talk(ASKED, QUEUED, STARTED, delta("a1", 0, "Hel"), delta("a1", 3, "lo"))
    assert told.items[-1] == Item("a1", "answer", "AI", "Hello", run_id="run-1", done=False)
    told.fold(frame("message.created", 4, message("a1", "Hello there")))
    assert (told.items[-1].text, told.items[-1].done) == ("Hello there", True)


def test_offset_0_replaces_and_anything_else_appends() -> None:
    told = talk(delta("a1", 0, "draft"), delta("a1", 5, "ed"), delta("a1", 0, "again"), delta("a1", 5, "!"))
    assert shown(told) == ["again!"]


def test_a_frame_that_was_taken_in_before_changes_nothing() -> None:
    told = talk(ASKED, QUEUED, ASKED, QUEUED)
    assert (shown(told), told.last_seq) == (["hello"], 2)


def test_unknown_types_keys_and_other_sessions_are_ignored() -> None:
    told = talk(
        ASKED, frame("board.opened", 2, {"x": 1}), frame("message.created", 3, message("x", "x"), session_id="other")
    )
    told.fold(frame("typing", None, {"user": {}, "active": True}))
    told.fold(frame("reasoning.delta", None, {"message_id": "a1", "attempt": 1, "offset": 0, "text": "hm"}))
    assert (shown(told), told.last_seq) == (["hello"], 2)


def test_no_delta_follows_the_finished_message() -> None:
    told = talk(delta("a1", 0, "x"), frame("message.created", 4, message("a1", "done")), delta("a1", 0, "late"))
    assert shown(told) == ["done"]


def test_a_restart_discards_the_named_messages_and_no_attempt_is_glued_to_another() -> None:
    again = run("queued", attempt=2) | {"reason": "worker_lost", "discarded": ["a1"]}
    told = talk(ASKED, QUEUED, STARTED, delta("a1", 0, "half of"), frame("run.restarted", 4, again))
    assert told.items[-1].discarded
    assert "worker was lost" in told.items[-1].remark
    told.fold(frame("run.started", 5, run("running", attempt=2, message_id="a2")))
    told.fold(delta("a2", 0, "whole"))
    assert shown(told) == ["hello", "whole"]


def test_a_restart_before_the_first_word_is_told_too() -> None:
    told = talk(
        ASKED, QUEUED, STARTED, frame("run.restarted", 4, run("queued") | {"reason": "drained", "discarded": ["a1"]})
    )
    assert "restarted" in shown(told)[-1]


def test_a_stopped_answer_keeps_its_part_and_says_so() -> None:
    partial = message("a1", "half", data={"interrupted": True})
    told = talk(
        STARTED,
        delta("a1", 0, "half of"),
        frame("message.created", 4, partial),
        frame("run.cancelled", 5, run("cancelled")),
    )
    assert [(item.text, item.remark) for item in told.items] == [("half", "stopped")]


@pytest.mark.parametrize(("cut", "says"), [("length", "too long"), ("refused", "would not go on"), ("?", "not whole")])
def test_an_answer_that_its_llm_did_not_end_says_so(cut: str, says: str) -> None:
    told = talk(STARTED, delta("a1", 0, "half"), frame("message.created", 4, message("a1", "half", data={"cut": cut})))
    assert says in told.items[-1].remark


def test_a_run_that_is_stopped_before_its_first_word_leaves_a_line() -> None:
    assert shown(talk(QUEUED, frame("run.cancelled", 3, run("cancelled")))) == ["stopped"]


def test_a_rollback_tells_what_was_taken_back() -> None:
    told = talk(ASKED, QUEUED, frame("run.cancelled", 3, run("cancelled") | {"discarded": ["m1"]}))
    assert shown(told) == ["taken back: hello"]


def test_a_failed_run_shows_its_error_and_drops_its_draft() -> None:
    failed = run("failed", error={"code": "llm_timeout", "message": "The model took too long.", "temporary": True})
    told = talk(ASKED, STARTED, delta("a1", 0, "ha"), frame("run.failed", 4, failed))
    assert [(item.kind, item.text) for item in told.items if not item.discarded][-1] == (
        "error",
        "The model took too long. (/retry tries again)",
    )
    assert told.item("a1").remark == "not finished"  # type: ignore[union-attr]


def test_an_error_message_of_the_run_is_not_told_twice() -> None:
    said = message("e1", "The model is away.", "system", kind="error")
    error = {"code": "llm_unavailable", "message": "The model is away.", "temporary": True}
    told = talk(STARTED, frame("message.created", 4, said), frame("run.failed", 5, run("failed", error=error)))
    assert [(item.kind, item.text) for item in told.items] == [("error", "The model is away.")]


def test_other_members_are_told_apart_from_me_by_the_key() -> None:
    theirs = message("m2", "hi", "user", key=None, author={"kind": "user", "name": "Ben"})
    told = talk(ASKED, frame("message.created", 2, theirs))
    assert [(item.who, item.mine) for item in told.items] == [("Ada", True), ("Ben", False)]


def test_an_edit_and_a_removal_of_what_was_said_are_told_on_a_line_of_their_own() -> None:
    edited = message("m1", "hello world", "user")
    told = talk(
        ASKED, frame("message.updated", 2, edited), frame("message.updated", 3, edited | {"deleted_at": "2026"})
    )
    assert shown(told) == ["Ada changed a message: hello world", "removed: hello world"]


def test_the_run_to_stop_is_the_one_under_way_else_the_first_that_waits() -> None:
    told = talk(
        frame("run.queued", 1, run("queued", "r2", position=5)), frame("run.queued", 2, run("queued", "r3", position=4))
    )
    assert told.active_run is not None
    assert told.active_run["run_id"] == "r3"
    told.fold(frame("run.started", 3, run("running", "r2", position=5)))
    assert told.active_run["run_id"] == "r2"
    assert told.runs_waiting == 1
    for seq, run_id in ((4, "r2"), (5, "r3")):
        told.fold(frame("run.succeeded", seq, run("succeeded", run_id)))
    assert told.active_run is None
    assert told.newest_run_id == "r3"


def test_a_page_load_is_the_state_of_the_snapshot() -> None:
    asked = interrupt("Delete it?")
    snapshot = session(last_seq=7, title="Disk") | {
        "messages": [message("m1", "hello", "user"), message("a1", "hi")],
        "runs": [run("running", "r9")],
        "interrupts": [asked],
    }
    told = Talk.of(snapshot)
    told.fold(frame("interrupt.opened", 8, asked))
    assert (told.title, told.last_seq, shown(told)) == ("Disk", 8, ["hello", "hi", "Delete it?"])
    assert told.active_run is not None


def test_of_a_session_that_is_lost_nothing_is_open_any_more() -> None:
    told = talk(ASKED, QUEUED, STARTED, delta("a1", 0, "half"), *call_frames("waiting"))
    told.fold(frame("interrupt.opened", 5, interrupt("Cancel it?", "approval")))
    told.lose()
    assert (told.active_run, told.calls, told.questions, told.items[1].remark) == (None, {}, {}, "not finished")


def test_the_title_follows_the_session() -> None:
    assert talk(frame("session.updated", 1, session(title="New title"))).title == "New title"


# --- tool calls and questions -----------------------------------------------------------------------------------------


def call_frames(*statuses: str) -> list[dict]:
    kinds = ["message.created"] + ["message.updated"] * (len(statuses) - 1)
    return [
        frame(kind, seq, tool_call(status)) for seq, (kind, status) in enumerate(zip(kinds, statuses, strict=True), 4)
    ]


def test_a_call_is_on_the_page_once_it_has_come_to_something() -> None:
    told = talk(ASKED, QUEUED, STARTED, *call_frames("waiting", "called"))
    assert shown(told) == ["hello"] and told.calls["c1"]["status"] == "called"
    told.fold(frame("message.updated", 6, tool_call("returned", duration_s=0.5)))
    told.fold(frame("tool.returned", 7, tool_call("returned", duration_s=0.5)["data"]["tool_call"], run_id="run-1"))
    assert shown(told) == ["hello", '✓ cancel_order(order_id="1001") · 0.50 s']
    assert not told.calls


def test_a_call_under_way_is_forgotten_when_its_run_ends() -> None:
    told = talk(ASKED, QUEUED, STARTED, *call_frames("called"))
    told.fold(frame("run.cancelled", 5, run("cancelled")))
    assert not told.calls


def test_a_call_that_nobody_knows_of_is_asked_about_while_its_run_is_open_and_over_with_it() -> None:
    told = talk(ASKED, QUEUED, STARTED, *call_frames("called", "unknown"))
    assert shown(told) == ["hello"] and told.calls["c1"]["status"] == "unknown"
    told.fold(frame("run.cancelled", 6, run("cancelled")))
    assert not told.calls
    assert '✗ cancel_order(order_id="1001") · may have happened' in shown(told)


def test_a_page_load_knows_that_a_call_which_nobody_knows_of_is_over_with_its_run() -> None:
    messages = [message("m1", "hello", "user"), tool_call("unknown")]
    told = Talk.of(session() | {"messages": messages, "runs": [run("running", "another")]})
    assert (told.calls, shown(told)[1:]) == ({}, ['✗ cancel_order(order_id="1001") · may have happened'])
    told = Talk.of(session() | {"messages": messages, "runs": [run("interrupted")]})
    assert (list(told.calls), shown(told)) == (["c1"], ["hello"])


def test_a_question_is_open_until_somebody_or_time_has_settled_it() -> None:
    asked = interrupt("Cancel order 1001?", "approval")
    told = talk(ASKED, frame("interrupt.opened", 2, asked))
    assert list(told.questions) == ["i1"]
    ends: list[tuple[Row, str]] = [
        ({"status": "resolved", "answer": {"approved": True}}, "approved"),
        ({"status": "resolved", "answer": {"approved": True, "args": {}}}, "approved, with other arguments"),
        ({"status": "resolved", "answer": {"approved": False, "reason": "No!"}}, "refused: No!"),
        ({"status": "resolved", "answer": {"text": "Because"}}, "answered: Because"),
        ({"status": "expired"}, "nobody answered in time"),
        ({"status": "withdrawn"}, "the question was withdrawn"),
    ]
    for changed, line in ends:
        told = talk(ASKED, frame("interrupt.opened", 2, asked))
        told.fold(frame("interrupt.resolved", 3, asked | changed))
        assert (shown(told)[-1], told.questions) == (line, {})


def test_a_page_load_knows_the_calls_under_way_and_the_questions() -> None:
    snapshot = session(last_seq=7) | {
        "messages": [message("m1", "hello", "user"), tool_call("waiting"), tool_call("refused", "c2")],
        "runs": [run("interrupted")],
        "interrupts": [interrupt("Cancel order 1001?", "approval")],
    }
    told = Talk.of(snapshot)
    assert (list(told.calls), list(told.questions)) == (["c1"], ["i1"])
    assert shown(told) == ["hello", '✗ cancel_order(order_id="1001") · refused', "Cancel order 1001?"]
