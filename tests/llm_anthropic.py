"""The other wire of the test server: what a script says in OpenAI's chunks, as the events of Anthropic's messages.

So that every behaviour has both wires. Shares no code with the project.
"""

from collections.abc import AsyncIterator
from typing import Any

STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
Line = dict[str, Any] | str


def as_chat(asked: dict[str, Any]) -> dict[str, Any]:
    """Read a request as the scripts do: one message a text or result, and the tools under their names."""
    messages = [{"role": "system", "content": asked["system"]}] if asked.get("system") else []
    last_role = None
    for message in asked["messages"]:
        assert message["role"] != last_role, "turns alternate"
        last_role = message["role"]
        for block in message["content"]:
            if block["type"] == "text":
                assert block["text"].strip(), "no text is blank"
                messages.append({"role": last_role, "content": block["text"]})
            elif block["type"] == "tool_result":
                content = " ".join(part["text"] for part in block["content"])
                messages.append({"role": "tool", "content": f"Error: {content}" if block["is_error"] else content})
            else:
                assert isinstance(block["input"], dict)
            assert block["type"] == "text" or asked.get("tools"), "calls and results stand beside tools"
    assert asked["messages"][0]["role"] == "user"
    tools = [{"function": {**tool, "parameters": tool["input_schema"]}} for tool in asked.get("tools") or ()]
    return {**asked, "messages": messages, "tools": tools}


async def events(lines: AsyncIterator[Line]) -> AsyncIterator[Line]:
    """Translate an answer."""
    yield {"type": "message_start", "message": {"role": "assistant", "usage": {"input_tokens": 7, "output_tokens": 1}}}
    yield {"type": "ping"}
    block, index, tokens, stop = "", -1, 0, None
    calls: dict[int, list[str]] = {}
    names: dict[int, tuple[str, str]] = {}
    async for line in lines:
        if isinstance(line, str):
            for number, pieces in calls.items():
                index += 1
                for event in call_events(index, names[number], pieces):
                    yield event
            if line == "[DONE]" and stop:
                yield {"type": "message_delta", "delta": {"stop_reason": stop}, "usage": {"output_tokens": tokens}}
                yield {"type": "message_stop"}
            yield line if line != "[DONE]" else "end"
            return
        if "error" in line:
            yield {"type": "error", "error": {"type": "overloaded_error", "message": line["error"]["message"]}}
            return
        for choice in line["choices"]:
            delta = choice["delta"]
            for kind, key in (("text", "content"), ("thinking", "reasoning_content")):
                if key not in delta:
                    continue
                tokens += 1
                if block != kind:
                    if block:
                        yield {"type": "content_block_stop", "index": index}
                    block, index = kind, index + 1
                    yield {"type": "content_block_start", "index": index, "content_block": {"type": kind, kind: ""}}
                piece = {"type": f"{kind}_delta", kind: delta[key]}
                yield {"type": "content_block_delta", "index": index, "delta": piece}
            for call in delta.get("tool_calls") or ():
                if "id" in call:
                    names[call["index"]] = (call["id"], call["function"]["name"])
                calls.setdefault(call["index"], []).append(call["function"]["arguments"])
            if choice["finish_reason"]:
                stop = STOPS[choice["finish_reason"]]
    raise AssertionError("a script ends with a word")


def call_events(index: int, name: tuple[str, str], pieces: list[str]) -> list[Line]:
    """One call: on this wire its pieces follow each other."""
    block = {"type": "tool_use", "id": name[0], "name": name[1], "input": {}}
    return [
        {"type": "content_block_start", "index": index, "content_block": block},
        *(
            {
                "type": "content_block_delta",
                "index": index,
                "delta": {"type": "input_json_delta", "partial_json": piece},
            }
            for piece in pieces
        ),
        {"type": "content_block_stop", "index": index},
    ]
