"""Tool calls and questions in words, and what counts as an answer."""

from typing import Any

import pytest

from chat.terminal.calls import NoAnswer, call_line, question_line, read_answer, read_args
from tests.terminal.frames import Row, interrupt, tool_call

CANCEL = {"tool": "cancel_order", "args": {"order_id": "1001"}}
APPROVAL = interrupt("Cancel order 1001?", "approval", payload=CANCEL)
CHOICE = interrupt("Which?", "choice", payload={"choices": ["refund", "replace", "3"]})
QUESTION = interrupt("Why?")


def line(status: str, **changed: Any) -> str:
    call: Row = tool_call(status, **changed)["data"]["tool_call"]
    return call_line(call)


def test_a_call_is_one_line_with_its_end_and_its_time() -> None:
    assert line("returned", duration_s=0.204) == '✓ cancel_order(order_id="1001") · 0.20 s'
    error = {"code": "tool_error", "message": "It was shipped already."}
    failed = line("failed", error=error, duration_s=12.4)
    assert failed == '✗ cancel_order(order_id="1001") · failed: It was shipped already. · 12 s'
    refused = {"code": "refused", "message": "A person refused this call. Do not ask again."}
    assert line("refused", error=refused) == '✗ cancel_order(order_id="1001") · refused'
    assert line("skipped").endswith("skipped, as one before it was refused")
    assert len(line("returned", args={"text": "x" * 9999})) < 200


def test_a_question_shows_what_would_be_called_and_what_can_be_chosen() -> None:
    assert question_line(APPROVAL) == 'Cancel order 1001?\n  cancel_order({"order_id": "1001"})'
    assert question_line(CHOICE) == "Which?\n  1  refund\n  2  replace\n  3  3"
    assert question_line(QUESTION) == "Why?"


@pytest.mark.parametrize(
    ("question", "said", "answer"),
    [
        (APPROVAL, "y", {"approved": True}),
        (APPROVAL, " YES ", {"approved": True}),
        (APPROVAL, "n", {"approved": False}),
        (APPROVAL, "no", {"approved": False}),
        (APPROVAL, "n it was  a mistake", {"approved": False, "reason": "it was  a mistake"}),
        (CHOICE, "2", {"choice": "replace"}),
        (CHOICE, "refund", {"choice": "refund"}),
        (CHOICE, "3", {"choice": "3"}),
        (QUESTION, "  because  ", {"text": "because"}),
        (QUESTION, "y", {"text": "y"}),
    ],
)
def test_an_answer_is_understood(question: Row, said: str, answer: Row) -> None:
    assert read_answer(question, said) == answer


@pytest.mark.parametrize(
    ("question", "said"),
    [
        *((APPROVAL, said) for said in ("", "yes please", "y!", "ok", "true", "1", "yep", "not yet", "e", "да")),
        *((CHOICE, said) for said in ("0", "4", "²", "Refund!", "refund replace", "")),
    ],
)
def test_anything_else_is_none_and_never_a_yes(question: Row, said: str) -> None:
    with pytest.raises(NoAnswer):
        read_answer(question, said)


def test_edited_arguments_are_an_object() -> None:
    assert read_args('{"order_id": "1004"}') == {"approved": True, "args": {"order_id": "1004"}}
    for wrong in ("", "yes", "[1]", '{"order_id": }', '"x"'):
        with pytest.raises(NoAnswer):
            read_args(wrong)
