"""A tool is its function's signature and docstring, taken strictly."""

import json
from collections.abc import Callable
from datetime import date
from enum import Enum
from itertools import permutations
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

import pytest
from pydantic import AfterValidator, BaseModel, Field

from chat.models import User
from chat.protocol.commands import ARGS_MAX
from workers.tools import Tool, ToolContext, tool
from workers.tools.base import BadArgs, BadResult

CONTEXT = ToolContext(uuid4(), uuid4(), uuid4(), User(username="ada"), "key")


class Colour(Enum):
    RED = "red"


class Leg(BaseModel):
    start: str = Field(alias="from")


class Line(BaseModel):
    title: str
    count: int = 1


@tool(effect="once", access="write")
def order(
    context: ToolContext,
    number: int,
    price: float = 1.5,
    express: bool = False,
    day: date | None = None,
    colour: Colour = Colour.RED,
    size: Literal["s", "l"] = "s",
    lines: Annotated[list[Line], Field(max_length=2)] = [],  # noqa: B006 - pydantic copies it
    customer: UUID | None = None,
) -> dict[str, Any]:
    """Order something.

    It is sent the same day.
    """
    return {"number": number, "day": day, "by": context.user.username, "lines": lines, "colour": colour}


@tool(effect="pure", access="read")
def count() -> int:
    """Count."""
    return 3


def test_the_docstring_describes_it_and_the_signature_is_its_schema() -> None:
    spec = order.spec
    assert (spec.name, spec.description) == ("order", "Order something.\n\nIt is sent the same day.")
    schema = dict(spec.args_schema)
    assert schema["required"] == ["number"] and schema["additionalProperties"] is False
    assert schema["properties"]["number"] == {"type": "integer"}
    assert schema["properties"]["size"]["enum"] == ["s", "l"]
    assert schema["$defs"]["Line"]["properties"]["title"] == {"type": "string"}, "a property may be called title"
    assert "context" not in schema["properties"], "the LLM does not see it"
    assert count.args_schema == {"type": "object", "properties": {}, "additionalProperties": False}
    assert json.loads(json.dumps(schema)) == schema


def test_it_still_is_a_function() -> None:
    assert count() == 3
    assert order(CONTEXT, 7)["number"] == 7


@pytest.mark.parametrize(
    "written",
    [
        '{"number": "5"}',
        '{"number": 5.5}',
        '{"number": true}',
        '{"number": null}',
        "{}",
        '{"number": 5, "express": 1}',
        '{"number": 5, "express": "false"}',
        '{"number": 5, "price": "1"}',
        '{"number": 5, "price": NaN}',
        '{"number": 5, "price": 1e999}',
        '{"number": 5, "size": "m"}',
        '{"number": 5, "colour": "blue"}',
        '{"number": 5, "day": "tomorrow"}',
        '{"number": 5, "customer": "7"}',
        '{"number": 5, "lines": [{"title": "a", "count": "2"}]}',
        '{"number": 5, "lines": [{"title": "a"}, {"title": "a"}, {"title": "a"}]}',
        '{"number": 5, "other": 1}',
        '{"number": 5, "context": {}}',
        "number 5",
        '{"number": 5',
        "[5]",
        "5",
        "null",
        "[" * 40_000,
        '{"number": 5, "size": "' + "s" * ARGS_MAX + '"}',
    ],
)
def test_what_does_not_fit_is_refused(written: str) -> None:
    with pytest.raises(BadArgs) as raised:
        order.read_args(written)
    assert len(str(raised.value)) < 500


def test_what_was_left_out_is_filled_in_and_what_is_written_is_read_as_its_type() -> None:
    customer = uuid4()
    args = order.read_args(json.dumps({"number": 5, "day": "2026-01-02", "customer": str(customer), "price": 2}))
    assert args == {
        "number": 5,
        "price": 2.0,
        "express": False,
        "day": "2026-01-02",
        "colour": "red",
        "size": "s",
        "lines": [],
        "customer": str(customer),
    }
    given = order.bind(args, CONTEXT)()
    assert (given["day"], given["by"], given["colour"]) == (date(2026, 1, 2), "ada", Colour.RED)
    assert order.check_args(args) == args, "read again, it is the same"


def test_edited_arguments_are_checked_likewise() -> None:
    with pytest.raises(BadArgs):
        order.check_args({"number": "5"})
    with pytest.raises(BadArgs):
        order.bind({"number": "5"}, CONTEXT)


def test_what_is_called_is_what_was_checked_or_nothing() -> None:
    @tool(effect="once", access="write")
    def pay(cents: Annotated[int, AfterValidator(lambda dollars: dollars * 100)]) -> None:
        """Pay."""

    args = pay.read_args('{"cents": 5}')
    with pytest.raises(BadArgs, match="not called"):
        pay.bind(args, CONTEXT)
    with pytest.raises(BadArgs, match="not called"):
        order.bind({"number": 5}, CONTEXT)  # without what was left out


def test_a_set_is_the_same_in_any_order_and_a_list_is_not() -> None:
    @tool(effect="pure", access="read")
    def mark(words: set[str], backwards: Annotated[list[str], AfterValidator(lambda given: given[::-1])]) -> int:
        """Mark."""
        return len(words)

    for words in permutations("abc"):
        assert mark.bind({"words": list(words), "backwards": []}, CONTEXT)() == 3
    assert mark.keeps({"words": ["b", "a"], "backwards": ["a"]})
    assert not mark.keeps({"words": ["b", "a"], "backwards": ["a", "b"]})


def test_an_argument_may_have_another_name_for_the_llm() -> None:
    @tool(effect="pure", access="read")
    def trains(from_: Annotated[str, Field(alias="from")], legs: list[Leg]) -> str:
        """Find trains."""
        return f"{from_} {legs[0].start}"

    args = trains.read_args('{"from": "Bern", "legs": [{"from": "Thun"}]}')
    assert args == {"from": "Bern", "legs": [{"from": "Thun"}]} and "from" in trains.args_schema["properties"]
    assert trains.bind(trains.check_args(args), CONTEXT)() == "Bern Thun"


def test_no_text_holds_what_a_database_refuses() -> None:
    @tool(effect="pure", access="read")
    def note(text: str, more: dict[str, Any]) -> dict[str, str]:
        """Note."""
        return {"a\0": text, "half": "\ud83d"}

    args = note.read_args('{"text": "a\\u0000b\\ud83d", "more": {"k\\u0000": ["\\udd25"]}}')
    assert args == {"text": "ab\ufffd", "more": {"k": ["\ufffd"]}}
    assert note.read_result(note.bind(args, CONTEXT)()).result == {"a": "ab\ufffd", "half": "\ufffd"}


def test_what_a_function_gives_is_checked_too() -> None:
    assert count.read_result(3).text == "3"
    for given in ("3", True, 3.0, None, object()):
        with pytest.raises(BadResult):
            count.read_result(given)

    @tool(effect="pure", access="read")
    def anything():
        """Give anything."""

    assert anything.read_result({"day": date(2026, 1, 2), "ü": [1]}).text == '{"day": "2026-01-02", "ü": [1]}'
    assert anything.read_result("as it is").text == "as it is"
    assert anything.read_result({"much": float("inf")}).text == '{"much": null}'
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for given in (object(), deep):
        with pytest.raises(BadResult):
            anything.read_result(given)


def test_what_is_too_long_is_cut_and_says_so() -> None:
    @tool(effect="pure", access="read", output_chars=10)
    def long() -> list[int]:
        """Give much."""
        return list(range(100))

    output = long.read_result(long())
    assert output.result == output.text == "[0, 1, 2, … (cut here: 390 characters in all)"


def test_a_person_is_asked_before_it_writes_unless_it_says_otherwise() -> None:
    assert order.needs_approval
    assert not count.needs_approval

    @tool(effect="idempotent", access="write", needs_approval=False)
    def note(text: str) -> None:
        """Note."""

    assert not note.needs_approval


def no_docstring(number: int) -> None: ...


def no_type(number) -> None:
    """Do it."""


def any_number(*numbers: int) -> None:
    """Do it."""


def by_position(number: int, /) -> None:
    """Do it."""


def context_last(number: int, context: ToolContext) -> None:
    """Do it."""


def no_json(call: Callable[[], None]) -> None:
    """Do it."""


def no_schema(thing: User) -> None:
    """Do it."""


async def on_the_loop(number: int) -> None:
    """Do it."""


def fine(number: int) -> None:
    """Do it."""


@pytest.mark.parametrize(
    ("function", "options"),
    [
        (no_docstring, {}),
        (no_type, {}),
        (any_number, {}),
        (by_position, {}),
        (context_last, {}),
        (no_json, {}),
        (no_schema, {}),
        (on_the_loop, {"database": "read"}),
        (fine, {"name": "two words"}),
        (fine, {"name": "x" * 65}),
        (fine, {"access": "write"}),
        (fine, {"effect": "twice"}),
        (fine, {"timeout_s": 0}),
    ],
)
def test_what_is_no_tool_is_told_at_once(function: Any, options: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        tool(**{"effect": "pure", "access": "read"} | options)(function)
    made: Tool = tool(effect="pure", access="read")(fine)
    assert made.name == "fine"
