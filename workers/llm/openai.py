"""`openai:MODEL`: any server that speaks OpenAI's chat completions, streamed.

`OPENAI_BASE_URL` names the server (it ends in /v1), `OPENAI_API_KEY` the key; a local server needs none.
"""

import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any

from workers.llm.base import (
    Called,
    Coming,
    Limits,
    Line,
    Piece,
    Prompt,
    Reasoning,
    Returned,
    Spent,
    StopReason,
    Text,
    ToolCall,
    tokens_told,
)
from workers.llm.failures import broken_off, told_error
from workers.llm.wire import END_S, USAGE_S, ending, is_json, named_server, read_rest, server_here

_OPENAI_URL = "https://api.openai.com/v1"
_DONE = "[DONE]"
# Servers that speak this wire have words of their own. Any other (`error`, `abort`) means that the answer is not whole.
_STOPS: dict[str, StopReason] = {
    "stop": "end",
    "eos": "end",
    "eos_token": "end",
    "end_turn": "end",
    "stop_sequence": "end",
    "complete": "end",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "content_filter": "refused",
    "tool_calls": "tools",
    "function_call": "tools",
}
# What a model thinks has no place in the standard: these are the names that servers gave it.
_THOUGHTS = ("reasoning_content", "reasoning", "thinking")


def open_model(name: str, limits: Limits, env: Mapping[str, str]) -> "OpenAIChat":
    """Open the model of that name. Raises: ValueError."""
    model, base_url, api_key = named_server(
        "openai", name, _OPENAI_URL, env, url_name="OPENAI_BASE_URL", key_name="OPENAI_API_KEY"
    )
    return OpenAIChat(name, model, base_url, api_key, limits.connect_s)


class OpenAIChat:
    """One model of one server."""

    def __init__(self, name: str, model: str, base_url: str, api_key: str, connect_s: float) -> None:
        self.name = name
        self._model = model
        self._url = f"{base_url}/chat/completions"
        self._server = (base_url, {"Authorization": f"Bearer {api_key}"}, connect_s)

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        """Yield what the server sends. Raises: LLMError."""
        answer = _Answer()
        async with server_here(*self._server).ask(self._url, request_of(self._model, prompt)) as events:
            async for data in events:
                if data == _DONE:
                    answer.is_done = True
                    break
                # Reads as much as it may of each event: one that answers and ends the answer is both.
                for piece in answer.read(json.loads(data)):
                    yield piece
                if answer.stop is not None:
                    break
            if not answer.is_done and answer.stop is None:
                raise broken_off()  # some servers and proxies end a body that was cut in good order
            await read_rest(events, answer.read_late)
        for piece in answer.last():
            yield piece


@dataclass
class _Call:
    """A call as far as it has come."""

    call_id: str
    tool: str
    args: list[str] = field(default_factory=list)

    def is_followed_by(self, call_id: str, tool: str, args: str) -> bool:
        """Whether a piece under the same index begins another call, as where a server sends them whole under index 0.

        An id alone begins none: some servers give each piece another one. Nor does a name that is only said again.
        """
        if not tool or not self.tool:
            return False
        return (call_id or self.call_id) != self.call_id or tool != self.tool or (bool(args) and self._is_whole())

    def _is_whole(self) -> bool:
        return bool(self.args) and self.args[-1].rstrip().endswith("}") and is_json("".join(self.args))


@dataclass
class _Answer:
    """What the events of one answer came to."""

    stop: StopReason | None = None
    is_done: bool = False
    has_text: bool = False
    calls: list[_Call] = field(default_factory=list)
    _open: dict[int, _Call] = field(default_factory=dict)  # by the index that their pieces go by
    _index: int = 0  # of the last piece
    _spent: Spent | None = None

    def read(self, chunk: dict[str, Any]) -> list[Piece]:
        """Take one event. Returns what can be shown of it. Raises: LLMError, and whatever an odd JSON leads to."""
        if error := chunk.get("error"):  # some send it beside a choice, which is half an answer then
            raise told_error(error)
        choices = chunk.get("choices")
        if not choices:
            self._read_usage(chunk)
            return []
        choice = choices[0]
        delta = choice.get("delta") or {}
        pieces: list[Piece] = []
        text = delta.get("content") or delta.get("refusal")
        if text:
            if not isinstance(text, str):  # some servers send it in parts
                text = "".join(part["text"] for part in text if part["type"] == "text")
            self.has_text = self.has_text or bool(text)
            pieces.append(Text(text))
        else:
            for name in _THOUGHTS:
                if name in delta and isinstance(delta[name], str) and delta[name]:
                    pieces.append(Reasoning(delta[name]))
                    break
        if calls := delta.get("tool_calls"):
            pieces += [Coming(self._read_call(call)) for call in calls]
        if finish := choice.get("finish_reason"):
            self.stop = _STOPS.get(str(finish).lower())
            if self.stop is None:
                raise broken_off()
        if chunk.get("usage"):
            self._read_usage(chunk)
        return pieces

    def read_late(self, data: str) -> float | None:
        """Take what follows the end of the answer. Returns for how long to go on."""
        if data == _DONE and not self.is_done:
            self.is_done = True
        elif data:
            self.read(json.loads(data))
            return None
        return END_S if self.is_done else USAGE_S

    def _read_call(self, piece: dict[str, Any]) -> str:
        """Take a piece of a call. Returns what it adds to the arguments."""
        function = piece.get("function") or {}
        call_id, tool = str(piece.get("id") or ""), str(function.get("name") or "")
        args = function.get("arguments") or ""
        if not isinstance(args, str):
            args = json.dumps(args)
        # A piece without an index goes on with the last call.
        index = int(piece["index"]) if piece.get("index") is not None else self._index
        call = self._open.get(index)
        if call is None or call.is_followed_by(call_id, tool, args):
            call = self._open[index] = _Call(call_id or f"call_{len(self.calls) + 1}", tool)
            self.calls.append(call)
        self._index = index
        call.tool = call.tool or tool
        if args:
            call.args.append(args)
        return args

    def _read_usage(self, chunk: dict[str, Any]) -> None:
        usage = chunk.get("usage")
        if usage and isinstance(usage, dict):
            details = usage.get("prompt_tokens_details")
            details = details if isinstance(details, dict) else {}
            self._spent = Spent(
                tokens_told(usage.get("prompt_tokens")),
                tokens_told(usage.get("completion_tokens")),
                tokens_told(details.get("cached_tokens")),
            )

    def last(self) -> list[Piece]:
        """Give what is known at the end: the calls, why it stopped, what it cost. Raises: LLMError."""
        calls = [ToolCall(call.call_id, call.tool, "".join(call.args)) for call in self.calls]
        return ending(self.stop, calls, self._spent, has_text=self.has_text)


# --- what is sent -----------------------------------------------------------------------------------------------------
def request_of(model: str, prompt: Prompt) -> dict[str, Any]:
    """Write the request for a prompt."""
    messages: list[dict[str, Any]] = []
    if prompt.instructions:
        messages.append({"role": "system", "content": prompt.instructions})
    messages += map(_message, prompt.talk)
    body: dict[str, Any] = {
        "model": model,
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if prompt.tools:
        body["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": dict(tool.args_schema),
                },
            }
            for tool in prompt.tools
        ]
        if not prompt.may_call:
            body["tool_choice"] = "none"
    return body


def _message(line: Line) -> dict[str, Any]:
    if isinstance(line, Called):
        calls = [
            # Some servers read the arguments again, and refuse a talk in which they are no JSON.
            {"id": call.call_id, "type": "function", "function": {"name": call.tool, "arguments": _args(call)}}
            for call in line.calls
        ]
        return {"role": "assistant", "content": line.text or None, "tool_calls": calls}
    if isinstance(line, Returned):
        # This wire has no word for a failure: it is in the text.
        text = f"Error: {line.text}" if line.is_error else line.text
        return {"role": "tool", "tool_call_id": line.call_id, "content": text}
    return {"role": line.role, "content": line.text}


def _args(call: ToolCall) -> str:
    return call.args_json if is_json(call.args_json) else "{}"
