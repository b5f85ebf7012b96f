"""How the demo model calls tools without understanding a word.

It takes a tool whose name was said, and what looks like its arguments: numbers, ids, what stands in quotes.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from workers.llm.base import Called, Prompt, Returned, ToolCall, ToolSpec

_WORD = re.compile(r"[a-z]+|\d[\w-]*|[a-z][\w-]*\d[\w-]*", re.IGNORECASE)
_QUOTED = re.compile(r"[\"“'‘]([^\"”'’]+)[\"”'’]")
_ID = re.compile(r"#?\b(?=[\w-]*\d)\w[\w-]*(?:\.\d+)?")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
# Words of a name that people leave out when they ask for the thing.
_SMALL = {"get", "fetch", "the", "a", "an", "of", "by", "do", "run", "for", "info", "tool"}


@dataclass(frozen=True, slots=True)
class Wish:
    """A tool that was asked for: its calls, or what they lack."""

    tool: ToolSpec
    calls: tuple[ToolCall, ...]
    missing: tuple[str, ...]


def wish_of(asked: str, prompt: Prompt) -> Wish | None:
    """Find the tool that a person asks for: the one of whose name most words were said, and all that matter."""
    said = {_stem(word) for word in _WORD.findall(asked)}
    best: tuple[int, ToolSpec] | None = None
    for tool in prompt.tools:
        words = _words_of(tool.name)
        if words and words <= said and (best is None or len(words) > best[0]):
            best = len(words), tool
    if best is None:
        return None
    tool = best[1]
    number = 1 + sum(len(line.calls) for line in prompt.talk if isinstance(line, Called))
    found, missing = _arguments(asked, tool)
    if missing:
        return Wish(tool, (), tuple(missing))
    calls = tuple(
        ToolCall(f"demo-{number + index}", tool.name, json.dumps(args, ensure_ascii=False))
        for index, args in enumerate(found)
    )
    return Wish(tool, calls, ())


def report_of(results: Sequence[Returned]) -> str:
    """Write the sentence that closes a round of calls."""
    lines = [
        f"`{result.tool}` {'failed' if result.is_error else 'answered'}: {result.text.strip() or '(nothing)'}"
        for result in results
    ]
    return lines[0] if len(lines) == 1 else "\n".join(f"- {line}" for line in lines)


def _words_of(name: str) -> set[str]:
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", name)
    return {_stem(word) for word in words} - _SMALL


def _stem(word: str) -> str:
    word = word.lower()
    for ending in ("ies", "es", "s"):
        if len(word) > len(ending) + 2 and word.endswith(ending) and not word.endswith("ss"):
            return word.removesuffix(ending) + ("y" if ending == "ies" else "")
    return word.removesuffix("e") if len(word) > 4 else word


def _arguments(asked: str, tool: ToolSpec) -> tuple[list[dict[str, Any]], list[str]]:
    """Collect arguments, one set a call: several ids for one argument are several calls. Or what is missing."""
    properties: dict[str, Any] = dict(tool.args_schema.get("properties") or {})
    required = list(tool.args_schema.get("required") or ())
    ids = [found.lstrip("#") for found in _ID.findall(asked)]
    wants_ids = [name for name, schema in properties.items() if _is_id(schema)]
    if len(wants_ids) == 1 and len(ids) > 1:
        sets = [_one_set(asked, properties, [one]) for one in ids]
    else:
        sets = [_one_set(asked, properties, ids)]
    missing = [name for name in required if any(name not in args for args in sets)]
    return sets, missing


def _one_set(asked: str, properties: dict[str, Any], ids: Iterable[str]) -> dict[str, Any]:
    left, quoted = list(ids), _QUOTED.findall(asked)
    args: dict[str, Any] = {}
    for name, schema in properties.items():
        kind = schema.get("type")
        if choices := schema.get("enum"):
            said = [one for one in choices if str(one).lower() in asked.lower()]
            args |= {name: said[0]} if said else {}
        elif kind in ("integer", "number"):
            number = next((one for one in left if _NUMBER.fullmatch(one)), None)
            if number is not None and (kind == "number" or "." not in number):
                left.remove(number)
                args[name] = int(number) if kind == "integer" else float(number)
        elif kind == "string":
            if quoted:
                args[name] = quoted.pop(0)
            elif left:
                args[name] = left.pop(0)
    return args


def _is_id(schema: Any) -> bool:
    return schema.get("type") in ("string", "integer") and not schema.get("enum")
