"""What the LLM server of the tests says, by the name of the model: `llm_server.py` lists them."""

import asyncio
import itertools
import re
from collections.abc import AsyncIterator
from typing import Any

RESET, END = "reset", "end"  # what a script may do instead of sending a line


class Script:
    """One answer: the lines of its stream, made as they are sent, and how many tokens they held."""

    def __init__(self, asked: dict[str, Any], seen: int) -> None:
        self.model, self.messages, self.seen, self.tokens = str(asked["model"]), asked["messages"], seen, 0
        self.tools = [tool["function"]["name"] for tool in asked.get("tools") or ()]

    def text(self, text: str, field: str = "content") -> dict[str, Any]:
        self.tokens += 1
        return self._chunk({field: text})

    def calls(self, count: int, *, whole: bool = True, tool: str = "", number: int = 1) -> list[dict[str, Any]]:
        """Calls of the first tool, or of another, each with its number, in pieces that take turns."""
        opened, middle, closed = [], [], []
        for index in range(count):
            function = {"name": tool or self.tools[0], "arguments": ""}
            opened.append({"index": index, "id": f"call-{index + 1}", "type": "function", "function": function})
            middle.append({"index": index, "function": {"arguments": '{"number"'}})
            closed.append({"index": index, "function": {"arguments": f": {index + number}}}"}})
        return [self._chunk({"tool_calls": [call]}) for call in [*opened, *middle, *(closed if whole else ())]]

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": self.model,
            "choices": [choice],
        }

    def end(self, *, finish: str | None = "stop", usage: bool = True, done: bool = True) -> list[dict[str, Any] | str]:
        lines: list[dict[str, Any] | str] = [self._chunk({}, finish)] if finish else []
        if usage:
            read = sum(len(str(message["content"]).split()) for message in self.messages)
            spent = {"prompt_tokens": read, "completion_tokens": self.tokens, "total_tokens": read + self.tokens}
            lines.append(self._chunk({}) | {"choices": [], "usage": spent})
        return [*lines, "[DONE]" if done else END]

    async def numbered(self, count: int | None, per_s: float) -> AsyncIterator[dict[str, Any]]:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        for number in range(count) if count is not None else itertools.count():
            if per_s and (wait_s := begin + number / per_s - loop.time()) > 0:
                await asyncio.sleep(wait_s)
            yield self.text(f"t{number + 1} ")

    async def lines(self) -> AsyncIterator[dict[str, Any] | str]:
        line: dict[str, Any] | str
        asked = str(self.messages[-1]["content"])
        match self.model.split("-")[0], re.search(r"(\d+)(?:@([\d.]+))?$", self.model):
            case "tokens", found if found:
                async for line in self.numbered(int(found[1]), float(found[2] or 0)):
                    yield line
            case ("stall" | "cut" | "end") as what, found if found:
                whole = "once" in self.model and self.seen > 1
                async for line in self.numbered(int(found[1]), 200):
                    yield line
                if not whole:
                    await asyncio.sleep(3600 if what == "stall" else 0.02)
                    yield RESET if what == "cut" else END
                    return
            case "never", _:
                await asyncio.sleep(3600)
            case "endless", _:
                async for line in self.numbered(None, 200):
                    yield line
            case "tools", found if found and self.messages[-1]["role"] == "tool":
                results = [message for message in self.messages if message["role"] == "tool"]
                for message in results:
                    yield self.text(f"{message['content']}. ")
            case "tools", found if found:
                yield self.text("Let me look.")
                for line in [*self.calls(int(found[1])), *self.end(finish="tool_calls")]:
                    yield line
                return
            case "obeys", _:
                order = (
                    re.search(rf"({'|'.join(self.tools)}) (\d+)", asked)
                    if self.messages[-1]["role"] == "tool"
                    else None
                )
                if order is None and self.messages[-1]["role"] == "tool":
                    yield self.text("I have done what I was told.")
                else:
                    tool, number = (order[1], int(order[2])) if order else ("", 1)
                    for line in [*self.calls(1, tool=tool, number=number), *self.end(finish="tool_calls")]:
                        yield line
                    return
            case "long", _:
                for line in [*self.calls(1, whole=False), *self.end(finish="length")]:
                    yield line
                return
            case "cut", _:
                for line in self.calls(1, whole=False):
                    yield line
                yield RESET
                return
            case "reasoning", _:
                for word in ("Let ", "me ", "think."):
                    yield self.text(word, "reasoning_content")
                for word in ("The ", "answer."):
                    yield self.text(word)
            case "surrogates", _:
                for half in ("Fire \ud83d", "\udd25", " and \ud83d", "\ude92 gone \ud83d"):
                    yield self.text(half)
            case "nul", _:
                for word in ("a\0b", "\0", "c"):
                    yield self.text(word)
            case ("garbage" | "odd" | "error") as what, _:
                yield self.text("Well ")
                if what == "error":
                    error = {"message": "secret sk-123 at http://10.0.0.1", "type": "server_error", "code": None}
                    yield {"error": error}
                yield '{"choices": [{"del' if what == "garbage" else '{"choices": [{"delta": "text"}], "usage": []}'
            case "late", _:
                for line in [self.text(asked), *self.end()[:1], RESET]:
                    yield line
                return
            case "refusal", _:
                for line in self.end(finish="content_filter"):
                    yield line
                return
            case "empty", _:
                pass
            case "rounds", found if found:
                results = [str(message["content"]) for message in self.messages if message["role"] == "tool"]
                if len(results) < int(found[1]):
                    for line in [*self.calls(1, number=len(results) + 1), *self.end(finish="tool_calls")]:
                        yield line
                    return
                for result in results:
                    yield self.text(f"{result}. ")
            case "summary", _:
                for word in re.findall(r"\s*\S+", _all_sentences(self.messages) or asked):
                    yield self.text(word)
            case _:
                for word in re.findall(r"\s*\S+", asked):
                    yield self.text(word)
        for line in self.end(
            finish=None if self.model == "no-finish" else "stop",
            usage=self.model != "no-usage",
            done=self.model not in ("no-done", "bytes"),
        ):
            yield line


def _all_sentences(messages: list[dict[str, Any]]) -> str:
    system = " ".join(str(message["content"]) for message in messages if message["role"] == "system")
    asked = str(messages[-1]["content"])
    if "summary" not in system.lower() or "<talk>" not in asked:
        return ""
    lines = re.sub(r"</?(summary|talk)>", "", asked).splitlines()
    return "\n".join(
        f"- {line.strip().removeprefix('- ')}" for line in lines if line.strip() and line.strip() != "(none)"
    )
