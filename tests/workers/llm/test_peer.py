"""Both providers against a server by others: text, thoughts, calls and their results, errors, a stream that breaks."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.aimock import Aimock
from tests.workers.scripted import keep, read
from workers.llm import open_llm
from workers.llm.base import (
    LLM,
    Called,
    Limits,
    LLMError,
    Piece,
    Prompt,
    Reasoning,
    Returned,
    Said,
    Spent,
    Stopped,
    Text,
    ToolCall,
    ToolSpec,
)

WIRES = pytest.mark.parametrize("wire", ["openai", "anthropic"])
CANCEL = ToolSpec(
    "cancel_order",
    "Cancel an order.",
    {"type": "object", "properties": {"order_id": {"type": "string"}}, "required": ["order_id"]},
)
STORY = "Once upon a time 🔥 there was a server."
BOTH = [{"name": "cancel_order", "arguments": {"order_id": number}, "id": f"call_{number}"} for number in ("12", "34")]
FIXTURES: list[dict[str, Any]] = [
    {"match": {"userMessage": "a story"}, "response": {"content": STORY}},
    {"match": {"userMessage": "think"}, "response": {"content": "So it is.", "reasoning": "Let me think."}},
    {"match": {"userMessage": "cancel both", "hasToolResult": True}, "response": {"content": "Both are cancelled."}},
    {"match": {"userMessage": "cancel both"}, "response": {"toolCalls": BOTH}},
    {
        "match": {"userMessage": "too much"},
        "response": {"error": {"message": "slow down", "type": "rate_limit_error"}, "status": 429},
    },
    {
        "match": {"userMessage": "no key"},
        "response": {"error": {"message": "who are you", "type": "authentication_error"}, "status": 401},
    },
    {"match": {"userMessage": "cut"}, "response": {"content": STORY}, "latency": 20, "truncateAfterChunks": 4},
]


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aimock]:
    with Aimock(tmp_path_factory.mktemp("aimock"), FIXTURES) as server:
        yield server


def model(peer: Aimock, wire: str) -> LLM:
    name = "claude-sonnet-4-5" if wire == "anthropic" else "o3-mini"
    return open_llm(f"{wire}:{name}", Limits(first_token_s=10, between_tokens_s=10), env=peer.env)


def asking(question: str, *more: Called | Returned) -> Prompt:
    return Prompt("Be brief.", (Said("user", question), *more), (CANCEL,))


def joined(pieces: list[Piece], kind: type[Text] | type[Reasoning] = Text) -> str:
    return "".join(piece.text for piece in pieces if isinstance(piece, kind))


@WIRES
async def test_text_arrives_in_pieces_with_its_end(peer: Aimock, wire: str) -> None:
    pieces = await read(model(peer, wire), asking("tell me a story"))
    assert joined(pieces) == STORY
    assert len(pieces) > 4
    assert Stopped("end") in pieces
    assert wire == "openai" or isinstance(pieces[-1], Spent)


@WIRES
async def test_thoughts_are_told_apart(peer: Aimock, wire: str) -> None:
    pieces = await read(model(peer, wire), asking("think about it"))
    assert (joined(pieces, Reasoning), joined(pieces)) == ("Let me think.", "So it is.")


@WIRES
async def test_two_calls_are_made_and_their_results_are_understood(peer: Aimock, wire: str) -> None:
    pieces = await read(model(peer, wire), asking("cancel both"))
    calls = tuple(piece for piece in pieces if isinstance(piece, ToolCall))
    assert [(call.tool, json.loads(call.args_json)) for call in calls] == [
        ("cancel_order", {"order_id": "12"}),
        ("cancel_order", {"order_id": "34"}),
    ]
    assert len({call.call_id for call in calls}) == 2
    assert Stopped("tools") in pieces
    results = [Returned(call.call_id, call.tool, "done") for call in calls]
    after = await read(model(peer, wire), asking("cancel both", Called("", calls), *results))
    assert joined(after) == "Both are cancelled."


@WIRES
@pytest.mark.parametrize(("question", "fault"), [("too much", "temporary"), ("no key", "auth"), ("cut", "temporary")])
async def test_failures_are_understood(peer: Aimock, wire: str, question: str, fault: str) -> None:
    seen: list[Piece] = []
    with pytest.raises(LLMError) as caught:
        await keep(seen, model(peer, wire).stream(asking(question)))
    assert caught.value.fault == fault
    assert (joined(seen) != "") is (question == "cut")
    assert STORY.startswith(joined(seen))
