"""`anthropic:MODEL`: Anthropic's Messages, streamed, from them or from a server that speaks the same.

`ANTHROPIC_API_KEY` is the key, `ANTHROPIC_BASE_URL` another server (without /v1), `ANTHROPIC_MAX_TOKENS` the longest
answer, which this wire wants to be told.
"""

import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any

from workers.llm.base import (
    Called,
    Coming,
    Limits,
    Piece,
    Prompt,
    Reasoning,
    Returned,
    Spent,
    StopReason,
    Text,
    ToolCall,
    ToolSpec,
    tokens_told,
)
from workers.llm.failures import broken_off, told_error
from workers.llm.wire import END_S, USAGE_S, ending, named_server, read_rest, server_here

_ANTHROPIC_URL = "https://api.anthropic.com"
_VERSION = "2023-06-01"
_MAX_TOKENS = "8192"
# Any other word means that the answer is not whole.
_STOPS: dict[str, StopReason] = {
    "end_turn": "end",
    "stop_sequence": "end",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tools",
    "refusal": "refused",
}


def open_model(name: str, limits: Limits, env: Mapping[str, str]) -> "Anthropic":
    """Open the model of that name. Raises: ValueError."""
    model, base_url, api_key = named_server(
        "anthropic", name, _ANTHROPIC_URL, env, url_name="ANTHROPIC_BASE_URL", key_name="ANTHROPIC_API_KEY"
    )
    tokens = env.get("ANTHROPIC_MAX_TOKENS") or _MAX_TOKENS
    if not tokens.isascii() or not tokens.isdigit() or not int(tokens):
        raise ValueError(f"ANTHROPIC_MAX_TOKENS is {tokens!r}; it must be a number of tokens.")
    headers = {"x-api-key": api_key, "anthropic-version": _VERSION}
    return Anthropic(name, model, (base_url, headers, limits.connect_s), int(tokens))


class Anthropic:
    """One model of one server."""

    def __init__(self, name: str, model: str, server: tuple[str, dict[str, str], float], max_tokens: int) -> None:
        self.name = name
        self._model = model
        self._server = server
        self._url = f"{server[0]}/v1/messages"
        self._max_tokens = max_tokens

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        """Yield what the server sends. Raises: LLMError."""
        answer = _Answer()
        request = request_of(self._model, prompt, self._max_tokens)
        async with server_here(*self._server).ask(self._url, request) as events:
            async for data in events:
                if piece := answer.read(json.loads(data)):
                    yield piece
                if answer.is_over or answer.stop is not None:
                    break
            if answer.stop is None:
                raise broken_off()
            await read_rest(events, answer.read_late)
        for piece in answer.last():
            yield piece


@dataclass
class _Answer:
    """What the events of one answer came to."""

    stop: StopReason | None = None
    is_over: bool = False
    has_text: bool = False
    _calls: list[tuple[str, str, list[str]]] = field(default_factory=list)  # id, tool, arguments
    _open: dict[int, list[str]] = field(default_factory=dict)  # the arguments, by block
    _usage: dict[str, int] = field(default_factory=dict)

    def read(self, event: dict[str, Any]) -> Piece | None:
        """Take one event. Returns what can be shown of it. Raises: LLMError, and whatever an odd JSON leads to."""
        kind = event["type"]
        if kind == "content_block_delta":
            return self._piece(event["index"], event["delta"])
        if kind == "content_block_start":
            block = event["content_block"]
            if block["type"] == "tool_use":
                # Its arguments follow as pieces; a server that streams none has them here.
                args = [json.dumps(block["input"])] if block.get("input") else []
                self._calls.append((str(block["id"]), str(block["name"]), args))
                self._open[event["index"]] = args
                return Coming("".join(args))
            return self._piece(event["index"], block)
        if kind == "message_start":
            self._add_usage(event["message"].get("usage"))
        elif kind == "message_delta":
            self._add_usage(event.get("usage"))
            if stop := event["delta"].get("stop_reason"):
                self.stop = _STOPS.get(stop)
                if self.stop is None:
                    raise broken_off()
        elif kind == "message_stop":
            self.is_over = True
        elif kind == "error":
            raise told_error(event.get("error"))
        return None  # also of pings, and of what there may be one day

    def read_late(self, data: str) -> float | None:
        """Take what follows the end of the answer. Returns for how long to go on."""
        was_over = self.is_over
        if data:
            self.read(json.loads(data))
            if was_over or not self.is_over:
                return None
        return END_S if self.is_over else USAGE_S

    def _piece(self, index: int, delta: dict[str, Any]) -> Piece | None:
        kind = delta["type"]
        if kind in ("text_delta", "text"):
            if text := _text(delta["text"]):
                self.has_text = True
                return Text(text)
        elif kind in ("thinking_delta", "thinking"):
            if text := _text(delta["thinking"]):
                return Reasoning(text)
        elif kind == "input_json_delta":
            args = _text(delta["partial_json"])
            self._open[index].append(args)
            return Coming(args)
        return None

    def _add_usage(self, usage: Any) -> None:
        if isinstance(usage, dict):
            # What is told last counts; but some servers say null or 0 at the end of what they had told before.
            self._usage |= {name: tokens_told(value) or self._usage.get(name, 0) for name, value in usage.items()}

    def last(self) -> list[Piece]:
        """Give what is known at the end: the calls, why it stopped, what it cost. Raises: LLMError."""
        calls = [ToolCall(call_id, tool, "".join(args)) for call_id, tool, args in self._calls]
        return ending(self.stop, calls, self._spent(), has_text=self.has_text)

    def _spent(self) -> Spent | None:
        if not self._usage:
            return None
        used = self._usage.get
        cached = used("cache_read_input_tokens", 0)
        read = used("input_tokens", 0) + cached + used("cache_creation_input_tokens", 0)
        return Spent(read, used("output_tokens", 0), cached)


def _text(told: Any) -> str:
    if not isinstance(told, str):
        raise TypeError
    return told


# --- what is sent -----------------------------------------------------------------------------------------------------
def request_of(model: str, prompt: Prompt, max_tokens: int) -> dict[str, Any]:
    """Write the request for a prompt."""
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": max_tokens,
        "messages": _messages(prompt),
        "stream": True,
    }
    if prompt.instructions.strip():
        body["system"] = prompt.instructions
    tools = prompt.tools or _spoken_of(prompt)
    if tools:
        body["tools"] = [
            {"name": tool.name, "description": tool.description, "input_schema": dict(tool.args_schema)}
            for tool in tools
        ]
        if not (prompt.tools and prompt.may_call):
            body["tool_choice"] = {"type": "none"}
    return body


def _spoken_of(prompt: Prompt) -> tuple[ToolSpec, ...]:
    """Tools that only the talk still mentions: this wire refuses a talk with calls in it where no tool is offered.

    That happens when an agent's tools or mode are changed while one of its runs waits for people.
    """
    names = {call.tool: None for line in prompt.talk if isinstance(line, Called) for call in line.calls}
    return tuple(ToolSpec(name, "Can no longer be called.", {"type": "object"}) for name in names)


def _messages(prompt: Prompt) -> list[dict[str, Any]]:
    """Write the talk as turns: they alternate, begin with the user's, and hold no blank text."""
    turns: list[dict[str, Any]] = []

    def add(role: str, *blocks: dict[str, Any]) -> None:
        if not blocks:
            return
        if not turns and role == "assistant":
            turns.append({"role": "user", "content": [{"type": "text", "text": "…"}]})  # what came before was left out
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": role, "content": list(blocks)})

    for line in prompt.talk:
        said = [{"type": "text", "text": line.text}] if line.text.strip() else []
        if isinstance(line, Called):
            add(
                "assistant",
                *said,
                *(
                    {"type": "tool_use", "id": call.call_id, "name": call.tool, "input": _args(call)}
                    for call in line.calls
                ),
            )
        elif isinstance(line, Returned):
            result = {"type": "tool_result", "tool_use_id": line.call_id, "content": said, "is_error": line.is_error}
            add("user", result)
        else:
            add(line.role, *said)
    return turns


def _args(call: ToolCall) -> dict[str, Any]:
    """Read the arguments, which this wire takes as an object; anything else was refused, as its result tells."""
    try:
        args = json.loads(call.args_json)
    except (ValueError, RecursionError):
        args = None
    return args if isinstance(args, dict) else {}
