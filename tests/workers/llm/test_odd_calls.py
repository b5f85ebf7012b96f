"""Which calls the model made, out of the pieces of odd servers: what it did not write is never called."""

import json
from typing import Any

import pytest

from tests.workers.llm.odd_server import HEAD, anthropic, event, odd_server, openai, said
from tests.workers.scripted import asking, read
from workers.llm.base import LLMError, Piece, Stopped, ToolCall

DONE = event("[DONE]")


def part(args: str = "", tool: str | None = None, call_id: str | None = None, index: int | None = 0) -> dict[str, Any]:
    """A piece of a call on OpenAI's wire, with as much as its server says of it."""
    told = {"index": index, "id": call_id} | {"function": {"name": tool, "arguments": args}}
    return {name: value for name, value in told.items() if value is not None}


def in_events(*parts: dict[str, Any], finish: str | None = "tool_calls") -> list[bytes]:
    events = [event({"choices": [{"delta": {"tool_calls": [one]}}]}) for one in parts]
    return [HEAD, *events, *([said("", finish)] if finish else []), DONE]


def block(index: int, call_id: str, tool: str, args: str) -> list[bytes]:
    """A call on Anthropic's wire."""
    opened = {"type": "tool_use", "id": call_id, "name": tool, "input": {}}
    piece = {"type": "input_json_delta", "partial_json": args}
    return [
        event({"type": "content_block_start", "index": index, "content_block": opened}),
        *([event({"type": "content_block_delta", "index": index, "delta": piece})] if args else []),
        event({"type": "content_block_stop", "index": index}),
    ]


def anthropic_end(reason: str) -> list[bytes]:
    return [event({"type": "message_delta", "delta": {"stop_reason": reason}}), event({"type": "message_stop"})]


def calls_in(pieces: list[Piece]) -> list[tuple[str, Any]]:
    return [(piece.tool, json.loads(piece.args_json)) for piece in pieces if isinstance(piece, ToolCall)]


LOOK: tuple[str, Any] = ("look", {})
SEND: tuple[str, Any] = ("send", {"number": 7})


@pytest.mark.parametrize(
    ("parts", "calls"),
    [
        ([part("", "send", "a"), part('{"number"', None, "b"), part(": 7}", None, "c")], [SEND]),
        ([part('{"number"', "send", "a"), part(": 7}", "send", "a"), part("", "send", "a")], [SEND]),
        ([part("", None, "a"), part('{"number": 7}', "send", "b")], [SEND]),
        ([part('{"number"', "send", "a", 1), part(": 7}", index=None)], [SEND]),
        ([part('{"number"', "send", index=None), part(": 7}", index=None)], [SEND]),
        ([part("", "look", "a"), part('{"number": 7}', "send", "b")], [LOOK, SEND]),
        ([part("", "look", index=None), part('{"number": 7}', "send", index=None)], [LOOK, SEND]),
        ([part("{}", "look", "a"), part('{"number": 7}', "send", "a")], [LOOK, SEND]),
        ([part('{"number": 7}', "send", "a"), part('{"number": 7}', "send", "a")], [SEND, SEND]),
        ([part("", "look", "a", 0), part('{"num', "send", "b", 1), part('ber": 7}', index=1)], [LOOK, SEND]),
        (
            [part('{"num', "send", "a", 0), part('{"num', "send", "b", 1), part('ber": 7}'), part('ber": 7}', index=1)],
            [SEND, SEND],
        ),
    ],
    ids=[
        "each piece has an id of its own",
        "each piece says the name again",
        "the name follows the id",
        "only the first piece has an index",
        "no piece has an index",
        "whole calls under one index",
        "whole calls without index and id",
        "two tools under one id and index",
        "one tool twice under one id and index",
        "as the standard has it",
        "pieces that take turns",
    ],
)
async def test_the_pieces_of_a_call_are_put_together_however_they_are_marked(
    parts: list[dict[str, Any]], calls: list[tuple[str, Any]]
) -> None:
    async with odd_server(*in_events(*parts)) as server:
        pieces = await read(openai(server), asking("Send number 7."))
    assert calls_in(pieces) == calls


async def test_calls_that_come_in_one_event_are_told_apart_too() -> None:
    both = [part("", "look", index=None), part('{"number": 7}', "send", index=None)]
    async with odd_server(
        HEAD, event({"choices": [{"delta": {"tool_calls": both}}]}), said("", "stop"), DONE
    ) as server:
        pieces = await read(openai(server), asking("Look, and send number 7."))
    assert calls_in(pieces) == [LOOK, SEND]
    assert [piece.call_id for piece in pieces if isinstance(piece, ToolCall)] == ["call_1", "call_2"]


async def test_calls_under_one_block_are_told_apart() -> None:
    blocks = [*block(0, "a", "look", "{}"), *block(0, "b", "send", '{"number": 7}')]
    async with odd_server(HEAD, *blocks, *anthropic_end("tool_use")) as server:
        pieces = await read(anthropic(server), asking("Look, and send number 7."))
    assert calls_in(pieces) == [LOOK, SEND]


@pytest.mark.parametrize("args", ["", " ", '{"number"'])
@pytest.mark.parametrize(("openais", "anthropics"), [("length", "max_tokens"), ("content_filter", "refusal")])
async def test_a_call_that_was_cut_is_not_made_even_before_its_first_argument(
    args: str, openais: str, anthropics: str
) -> None:
    """Else it would be made with whatever its arguments are where nothing is said."""
    whole = event({"choices": [{"delta": {"content": "I do.", "tool_calls": [part("{}", "look", "a", 0)]}}]})
    cut = event({"choices": [{"delta": {"tool_calls": [part(args, "wipe", "b", 1)]}}]})
    text = event({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "I do."}})
    blocks = [text, *block(1, "a", "look", "{}"), *block(2, "b", "wipe", args)]
    async with (
        odd_server(HEAD, whole, cut, said("", openais), DONE) as one,
        odd_server(HEAD, *blocks, *anthropic_end(anthropics)) as other,
    ):
        for llm in (openai(one), anthropic(other)):
            pieces = await read(llm, asking("Wipe it."))
            assert calls_in(pieces) == [LOOK]
            assert pieces[-1] == Stopped("length" if openais == "length" else "refused")


async def test_a_call_without_arguments_is_made_where_the_model_has_ended_it() -> None:
    async with (
        odd_server(*in_events(part("", "look", "a"))) as one,
        odd_server(HEAD, *block(0, "a", "look", ""), *anthropic_end("tool_use")) as other,
    ):
        for llm in (openai(one), anthropic(other)):
            assert calls_in(await read(llm, asking("Look."))) == [LOOK]


async def test_where_nobody_says_why_it_ended_a_call_that_is_whole_is_made() -> None:
    async with odd_server(*in_events(part('{"number": 7}', "send", "a"), finish=None)) as server:
        assert calls_in(await read(openai(server), asking("Send number 7."))) == [SEND]


@pytest.mark.parametrize("args", ["", '{"number"'])
async def test_where_nobody_says_why_it_ended_one_that_is_not_whole_has_broken_off(args: str) -> None:
    async with odd_server(*in_events(part(args, "send", "a"), finish=None)) as server:
        with pytest.raises(LLMError) as caught:
            await read(openai(server), asking("Send number 7."))
    assert caught.value.temporary
