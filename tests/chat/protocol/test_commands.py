"""Commands in: what a client may say, and that nothing else passes for it."""

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.api.auth import SignIn
from chat.errors import InvalidInput
from chat.protocol import COMMANDS, read_body, read_command
from chat.protocol.commands import (
    CONTENT_MAX,
    JSON_MAX,
    NewMember,
    NewMessage,
    NewSession,
    Send,
    Unreadable,
    read_json,
)
from tests.chat.protocol.asked import ID, command, refusal

# --- frames -----------------------------------------------------------------------------------------------------------

GOOD: dict[str, dict[str, Any]] = {
    "session.subscribe": {"session_id": ID, "after": 0},
    "session.unsubscribe": {"session_id": ID},
    "message.send": {"session_id": ID, "content": "Hello", "key": "k"},
    "message.update": {"message_id": ID, "content": "Hello"},
    "run.cancel": {"run_id": ID},
    "run.retry": {"run_id": ID},
    "run.move": {"run_id": ID, "before": None},
    "interrupt.resolve": {"interrupt_id": ID, "answer": {"approved": True}},
    "typing": {"session_id": ID, "active": True},
    "ping": {},
}


def test_every_command_is_tried_here() -> None:
    assert GOOD.keys() == COMMANDS.keys()


@pytest.mark.parametrize("type", GOOD)
def test_a_command_is_read_with_its_ref(type: str) -> None:
    read = command(type, **GOOD[type])
    assert (read.type, read.ref) == (type, "7")
    assert isinstance(read.data, COMMANDS[type])


@pytest.mark.parametrize("type", GOOD)
def test_a_key_that_a_command_does_not_know_is_an_error(type: str) -> None:
    refused = refusal(json.dumps({"type": type, "ref": "7", "data": {**GOOD[type], "extra": 1}}))
    assert (refused.ref, refused.fields) == ("7", {"extra": "unknown"})


@pytest.mark.parametrize("type", [name for name, data in GOOD.items() if data])
def test_what_a_command_needs_has_to_be_there(type: str) -> None:
    for name in GOOD[type].keys() - {"after", "key"}:
        data = {key: value for key, value in GOOD[type].items() if key != name}
        refused = refusal(json.dumps({"type": type, "ref": "7", "data": data}))
        assert refused.fields and all(field.startswith(name) for field in refused.fields)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "[]",
        "null",
        "1",
        '"ping"',
        "{}",
        '{"type":null}',
        '{"type":1}',
        '{"type":["ping"]}',
        '{"type":"Ping"}',
        '{"type":"message.created"}',
        '{"type":"ping","data":[]}',
        '{"type":"ping","data":null}',
        '{"type":"ping","more":1}',
        '{"type":"ping"',
        '{"type":"ping","data":{}} x',
        '{"type":"ping","data":{"a":NaN}}',
        '{"type":"ping","data":{"a":Infinity}}',
        '{"type":"ping","data":{"a":-Infinity}}',
        '{"type":"ping","data":{"a":1e999}}',
        '{"type":"ping","data":' + "[" * 100_000,
        '{"type":"ping","data":' + "[" * 5000 + "]" * 5000 + "}",
        '{"type":"ping","data":{"a":' + "9" * 5000 + "}}",
    ],
)
def test_what_is_no_command_is_invalid_input_and_nothing_worse(text: str) -> None:
    refusal(text)


@pytest.mark.parametrize("ref", [1, True, [], {}, "x" * 65, 1.5])
def test_a_ref_is_a_short_string(ref: Any) -> None:
    assert refusal(json.dumps({"type": "ping", "ref": ref})).ref is None
    assert command("ping", "x" * 64).ref == "x" * 64
    assert command("ping", None).ref is None


def test_an_error_names_no_more_than_a_client_said() -> None:
    refused = refusal(
        json.dumps({"type": "message.send", "data": {"session_id": ID, "content": 5, "secret": "hunter2"}})
    )
    assert "hunter2" not in json.dumps(refused.as_data())
    many = refusal(json.dumps({"type": "ping", **{f"{'k' * 500}{n}": n for n in range(100)}}))
    assert len(json.dumps(many.as_data())) < 2000


@given(st.text())
def test_no_text_at_all_raises_anything_else(text: str) -> None:
    with suppress(Unreadable):
        read_command(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(GOOD)), JSON)
def test_no_data_at_all_raises_anything_else(type: str, data: Any) -> None:
    with suppress(Unreadable):
        read_command(json.dumps({"type": type, "data": data}))


# --- texts ------------------------------------------------------------------------------------------------------------


def test_text_is_cleaned_before_anything_else_looks_at_it() -> None:
    said = command("message.send", session_id=ID, content="> a\0b", context={"x": "half \ud83c"}).data
    assert (said.content, said.context) == ("> ab", {"x": "half \ufffd"})


@pytest.mark.parametrize("said", ["a\0b", "\0", "half \ud83c", "\udf0d half"])
def test_a_key_and_a_ref_are_taken_as_they_are_written_or_not_at_all(said: str) -> None:
    """Cleaned, one key would pass for another, and a ref be nobody's."""
    data = {"session_id": ID, "content": "Hello", "key": said}
    assert refusal(json.dumps({"type": "message.send", "ref": "7", "data": data})).fields.keys() == {"key"}
    assert refusal(json.dumps({"type": "ping", "ref": said})).ref is None
    good = command("message.send", "Größe 🌍", session_id=ID, content="Hello", key="👩‍🚒\uffff")
    assert (good.ref, good.data.key) == ("Größe 🌍", "👩‍🚒\uffff")


@pytest.mark.parametrize("name", ["username", "password"])
def test_a_name_and_a_password_are_taken_as_they_are_written_or_not_at_all(name: str) -> None:
    sent = {"username": "ada", "password": "secret"}
    assert read_body(SignIn, read_json(json.dumps(sent))).username == "ada"
    for shape, body in ((SignIn, sent), (NewMember, {"username": "ada"})):
        for more in ("\0", "\ud800"):
            if name in body:
                with pytest.raises(InvalidInput) as refused:
                    read_body(shape, read_json(json.dumps({**body, name: body[name] + more})))
                assert refused.value.fields.keys() == {name}


@pytest.mark.parametrize("write", [str.upper, str.title])
def test_an_id_is_taken_in_either_case(write: Callable[[str], str]) -> None:
    assert command("run.cancel", run_id=write(ID)).data.run_id == UUID(ID)


@pytest.mark.parametrize("written", ["{0.hex}", "{0.urn}", "{{{0}}}", " {0}", "{0}\n", "{0.int}", "-{0.hex}---"])
def test_an_id_that_is_written_otherwise_is_none(written: str) -> None:
    refused = refusal(json.dumps({"type": "run.move", "data": {"run_id": ID, "before": written.format(UUID(ID))}}))
    assert refused.fields.keys() == {"before"}


def test_nul_and_halves_are_gone_from_every_depth_names_too() -> None:
    sent = {"metadata": {"a\0": ["x\0", {"\ud800": "\udc00"}]}, "title": "T\0"}
    new = read_body(NewSession, read_json(json.dumps(sent)))
    assert (new.title, new.metadata) == ("T", {"a": ["x", {"\ufffd": "\ufffd"}]})


@pytest.mark.parametrize("content", ["", " ", "\n\t", "\u00a0\u2003", "\0", "\0 \0"])
def test_a_blank_message_is_none(content: str) -> None:
    refused = refusal(json.dumps({"type": "message.send", "data": {"session_id": ID, "content": content}}))
    assert refused.fields and set(refused.fields) == {"content"}


def test_a_message_is_as_long_as_it_is_in_code_points() -> None:
    longest = "🌍" * CONTENT_MAX
    assert command("message.send", session_id=ID, content=longest).data.content == longest
    refusal(json.dumps({"type": "message.send", "data": {"session_id": ID, "content": longest + "!"}}))
    assert command("message.send", session_id=ID, content="x" * CONTENT_MAX + "\0").data.content == "x" * CONTENT_MAX


def test_spaces_around_a_message_are_its_own() -> None:
    assert command("message.send", session_id=ID, content="  x \n").data.content == "  x \n"


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("content", 5),
        ("content", None),
        ("content", ["Hello"]),
        ("key", ""),
        ("key", "k" * 129),
        ("key", 1),
        ("agent", ""),
        ("attachments", ["a.pdf"]),
        ("attachments", {}),
        ("context", []),
        ("context", "text"),
        ("context", {"a": "x" * JSON_MAX}),
        ("llm", ""),
        ("on_busy", "interupt"),
        ("on_busy", True),
        ("parent_id", "1"),
        ("parent_id", 7),
        ("session_id", "not-an-id"),
        ("session_id", None),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_by_its_name(name: str, value: Any) -> None:
    data = {"session_id": ID, "content": "Hello", name: value}
    refused = refusal(json.dumps({"type": "message.send", "data": data}))
    assert refused.fields and set(refused.fields) == {name}


def test_what_may_be_left_out_may_be_null() -> None:
    nothing = dict.fromkeys(("key", "agent", "context", "llm", "on_busy", "parent_id"))
    assert command("message.send", session_id=ID, content="x", **nothing).data == Send(session_id=UUID(ID), content="x")


@pytest.mark.parametrize("after", [-1, 1.5, 1.0, "0", True, 2**63, [], {}])
def test_after_is_a_whole_number(after: Any) -> None:
    refusal(json.dumps({"type": "session.subscribe", "data": {"session_id": ID, "after": after}}))
    assert command("session.subscribe", session_id=ID, after=2**63 - 1).data.after == 2**63 - 1
    assert command("session.subscribe", session_id=ID).data.after is None


@pytest.mark.parametrize("active", [1, 0, "true", "on", None])
def test_active_is_true_or_false(active: Any) -> None:
    refusal(json.dumps({"type": "typing", "data": {"session_id": ID, "active": active}}))


def test_a_body_of_http_is_read_by_the_same_rules() -> None:
    assert read_body(NewMessage, {"content": "Hello"}).content == "Hello"
    bodies: list[Any] = [None, [], "x", {"content": "Hello", "session_id": ID}]
    for body in bodies:
        with pytest.raises(InvalidInput):
            read_body(NewMessage, body)
