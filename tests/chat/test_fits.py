"""JSON values against JSON schemas: what is wrong is told by its place, and nothing is fetched to find out."""

import socket
from typing import Any

import pytest

from chat.fits import REASON_MAX, TOLD, misfits

ORDER = {
    "type": "object",
    "properties": {
        "id": {"type": "integer"},
        "lines": {"type": "array", "items": {"type": "object", "required": ["sku"], "additionalProperties": False}},
    },
    "required": ["id"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("value", [{"id": 1}, {"id": 1, "lines": []}])
def test_what_fits_has_nothing_wrong(value: Any) -> None:
    assert misfits(value, ORDER, "args") == {}
    assert misfits(value, {}, "args") == {} == misfits(value, True, "args")


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        ({}, {"args.id": "is missing"}),
        ({"id": True}, {"args.id": "True is not of type 'integer'"}),
        ({"id": 1, "to": 2}, {"args.to": "unknown"}),
        ({"id": 1, "lines": [{"x": 1}]}, {"args.lines.0.sku": "is missing", "args.lines.0.x": "unknown"}),
        ([], {"args": "[] is not of type 'object'"}),
    ],
)
def test_what_is_wrong_is_told_by_its_place(value: Any, wrong: dict[str, str]) -> None:
    assert misfits(value, ORDER, "args") == wrong


@pytest.mark.parametrize("schema", [{"type": "nonsense"}, {"pattern": "("}, 5, [], None, {"properties": 1}])
def test_nothing_fits_a_schema_that_is_none(schema: Any) -> None:
    assert misfits({}, schema, "args") == {"args": "cannot be checked: its schema is none"}


def test_what_a_schema_refers_to_is_never_fetched() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        elsewhere = {"$ref": f"http://127.0.0.1:{server.getsockname()[1]}/schema.json"}
        assert "elsewhere" in misfits({}, elsewhere, "args")["args"]
        with pytest.raises(TimeoutError):
            server.accept()


def test_what_is_told_is_bounded() -> None:
    wrong = misfits(["x" * 1000] * 100, {"items": {"type": "integer"}}, "args")
    assert len(wrong) == TOLD
    assert all(len(reason) <= REASON_MAX for reason in wrong.values())


def test_a_value_that_is_nested_too_deeply_does_not_fit() -> None:
    value: list[Any] = []
    for _ in range(900):
        value = [value]
    assert misfits(value, {"$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}, "$ref": "#/$defs/a"}, "args") == {
        "args": "is nested too deeply"
    }
