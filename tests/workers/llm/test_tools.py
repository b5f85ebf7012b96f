"""Calls of tools over both wires: offered, called, one or many, answered, and never half a call."""

import json
from dataclasses import replace

import pytest

from tests.llm_process import LLMProcess
from tests.workers.scripted import keep, read
from workers.llm import open_llm
from workers.llm.base import (
    LLM,
    Called,
    Coming,
    Limits,
    LLMError,
    Piece,
    Prompt,
    Returned,
    Said,
    Spent,
    Stopped,
    Text,
    ToolCall,
    ToolSpec,
)

WIRES = pytest.mark.parametrize("wire", ["openai", "anthropic"])
SCHEMA = {"type": "object", "properties": {"number": {"type": "integer"}}, "required": ["number"]}
LOOK = ToolSpec("look_up", "Look a number up.", SCHEMA)


def model(server: LLMProcess, wire: str, behaviour: str) -> LLM:
    return open_llm(f"{wire}:{behaviour}", Limits(first_token_s=5, between_tokens_s=5), env=server.env)


def asking(question: str, *more: Called | Returned) -> Prompt:
    return Prompt("Be brief.", (Said("user", question), *more), (LOOK,))


@WIRES
@pytest.mark.parametrize("count", [1, 2])
async def test_calls_arrive_whole_and_in_order_after_what_was_said(
    llm_server: LLMProcess, wire: str, count: int
) -> None:
    question = f"{wire} calls {count}"
    *pieces, stopped, spent = await read(model(llm_server, wire, f"tools-{count}"), asking(question))
    assert pieces[0] == Text("Let me look.")
    calls = [piece for piece in pieces if isinstance(piece, ToolCall)]
    assert [(call.call_id, call.tool, json.loads(call.args_json)) for call in calls] == [
        (f"call-{number}", "look_up", {"number": number}) for number in range(1, count + 1)
    ]
    assert stopped == Stopped("tools")
    assert isinstance(spent, Spent)
    (request,) = llm_server.requests_with(question)
    [tool] = request["tools"]
    assert tool["function"]["name"] == "look_up"
    assert tool["function"]["description"] == "Look a number up."
    assert tool["function"]["parameters"] == SCHEMA


@WIRES
async def test_results_go_back_with_their_calls_and_their_failures(llm_server: LLMProcess, wire: str) -> None:
    calls = (ToolCall("call-1", "look_up", '{"number": 1}'), ToolCall("call-2", "look_up", "no JSON"))
    results = (Returned("call-1", "look_up", f"{wire} red"), Returned("call-2", "look_up", "unreadable", is_error=True))
    prompt = asking(f"{wire} results", Called("Let me look.", calls), *results)
    pieces = await read(model(llm_server, wire, "tools-2"), prompt)
    assert "".join(piece.text for piece in pieces if isinstance(piece, Text)) == f"{wire} red. Error: unreadable. "
    assert Stopped("end") in pieces
    [request] = [one for one in llm_server.events("request") if f"{wire} results" in str(one["messages"])]
    if wire == "openai":
        called, *returned = request["messages"][2:]
        assert called["content"] == "Let me look."
        assert [call["id"] for call in called["tool_calls"]] == ["call-1", "call-2"]
        assert called["tool_calls"][0]["function"] == {"name": "look_up", "arguments": '{"number": 1}'}
        assert [(message["role"], message["tool_call_id"]) for message in returned] == [
            ("tool", "call-1"),
            ("tool", "call-2"),
        ]
    else:
        _, called, returned = request["messages"]
        assert [block["type"] for block in called["content"]] == ["text", "tool_use", "tool_use"]
        assert [block["input"] for block in called["content"][1:]] == [{"number": 1}, {}]
        assert [(block["tool_use_id"], block["is_error"]) for block in returned["content"]] == [
            ("call-1", False),
            ("call-2", True),
        ]


@WIRES
async def test_a_talk_of_calls_is_taken_where_nothing_can_be_called_any_more(llm_server: LLMProcess, wire: str) -> None:
    called = Called("", (ToolCall("call-1", "look_up", '{"number": 1}'),))
    result = Returned("call-1", "look_up", f"{wire} without tools")
    pieces = await read(model(llm_server, wire, "tools-2"), replace(asking("What?", called, result), tools=()))
    assert "".join(piece.text for piece in pieces if isinstance(piece, Text)) == f"{wire} without tools. "
    [request] = [one for one in llm_server.events("request") if f"{wire} without" in str(one["messages"])]
    assert request.get("tool_choice") == (None if wire == "openai" else {"type": "none"})


@WIRES
async def test_what_is_written_of_calls_is_seen_while_it_comes(llm_server: LLMProcess, wire: str) -> None:
    pieces = await read(model(llm_server, wire, "tools-2"), asking(f"{wire} comes"))
    coming = "".join(piece.text for piece in pieces if isinstance(piece, Coming))
    calls = "".join(piece.args_json for piece in pieces if isinstance(piece, ToolCall))
    assert sorted(coming) == sorted(calls), "pieces of two calls may take turns"
    assert len([piece for piece in pieces if isinstance(piece, Coming)]) >= 4


@WIRES
async def test_half_a_call_is_no_call(llm_server: LLMProcess, wire: str) -> None:
    pieces = await read(model(llm_server, wire, "long-call"), asking(f"{wire} long"))
    assert [piece for piece in pieces if not isinstance(piece, Coming | Spent)] == [Stopped("length")]
    seen: list[Piece] = []
    with pytest.raises(LLMError) as caught:
        await keep(seen, model(llm_server, wire, "cut-in-call").stream(asking(f"{wire} cut")))
    assert (caught.value.code, caught.value.fault) == ("llm_unavailable", "temporary")
    assert all(isinstance(piece, Coming) for piece in seen)
