"""Answers to questions: one of four shapes, and nothing odd is ever a yes."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.errors import InvalidInput
from chat.protocol import read_body
from chat.protocol.commands import ARGS_MAX, Approved, Chosen, Refused, Resolution, Told, read_json
from tests.chat.protocol.asked import ID, command, refusal

# --- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({"approved": True}, Approved),
        ({"approved": True, "args": {"path": "/tmp"}}, Approved),
        ({"approved": False}, Refused),
        ({"approved": False, "reason": "Too risky"}, Refused),
        ({"text": "In Berlin"}, Told),
        ({"choice": "b"}, Chosen),
    ],
)
def test_an_answer_is_one_of_four(answer: dict[str, Any], kind: type) -> None:
    assert isinstance(command("interrupt.resolve", interrupt_id=ID, answer=answer).data.answer, kind)


def test_a_person_may_edit_arguments_as_long_as_an_llm_writes_them() -> None:
    """Characters as they are read: what JSON can also write as an escape of six counts as one."""
    longest = {"text": "ß" * (ARGS_MAX - len('{"text":""}'))}
    approved = command("interrupt.resolve", interrupt_id=ID, answer={"approved": True, "args": longest}).data.answer
    assert approved.args == longest
    longer = {"text": longest["text"] + "."}
    with pytest.raises(InvalidInput):
        read_body(Resolution, {"answer": {"approved": True, "args": longer}})


@pytest.mark.parametrize(
    "answer",
    [
        {"approved": 1},
        {"approved": 1.0},
        {"approved": 0},
        {"approved": "true"},
        {"approved": "yes"},
        {"approved": None},
        {"approved": []},
        {"approved": {"approved": True}},
        {"Approved": True},
        {"approved": True, "reason": "both"},
        {"approved": False, "args": {}},
        {"approved": True, "text": "yes"},
        {"approved": False, "choice": "yes"},
        {"text": "yes", "choice": "yes"},
        {"approved": True, "args": None},
        {"approved": True, "args": []},
        {"approved": True, "args": "rm -rf"},
        {"text": ""},
        {"text": " "},
        {"text": 1},
        {"choice": ""},
        {"choice": True},
        {},
        None,
        True,
        "yes",
        1,
        [{"approved": True}],
    ],
)
def test_anything_else_is_an_error_and_never_a_yes(answer: Any) -> None:
    refusal(json.dumps({"type": "interrupt.resolve", "data": {"interrupt_id": ID, "answer": answer}}))
    with pytest.raises(InvalidInput):
        read_body(Resolution, {"answer": answer})


@given(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.booleans()))
def test_only_true_itself_is_a_yes(value: Any) -> None:
    try:
        read = read_body(Resolution, read_json(json.dumps({"answer": {"approved": value}}))).answer
    except InvalidInput:
        assert value is not True and value is not False
    else:
        assert isinstance(read, Approved) == (value is True)
