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
_PERCENT = re.compile(r"(-?\d+(?:\.\d+)?)\s*(?:%|per ?cent\b|prozent\b)", re.IGNORECASE)
_CLAUSE = re.compile(r"(?:[,;]?\s+\b(?:and|then|und)\b|[;.?!](?=\s))", re.IGNORECASE)
# Words of a name that people leave out when they ask for the thing.
_SMALL = {"get", "fetch", "the", "a", "an", "of", "by", "do", "run", "for", "info", "tool"}
# What people say in the place of a word of a name. The common ones count only where an id was said, too.
_ALSO_SAID = {
    "track": {"parcel", "packag", "shipment", "shipp", "arriv", "deliver", "delivery"},
    "human": {"person", "peopl", "somebody", "someon", "colleagu", "staff"},
    "ask": {"talk", "speak"},
}
_ALSO_SAID_OF_AN_ID = {
    "track": {"wher"},
    "statu": {"what", "how"},
    "apply": {"giv", "tak", "add", "grant", "give", "take"},
    "discount": {"off"},
}
READ_CHARS = 1000  # what it looks for is said at once; in ten thousand digits it would look for seconds, on the loop
_REFUSED = re.compile(r"A person refused this call\.(?:.*The reason: (.*))?", re.DOTALL)
_FREE_TEXT = {"question", "text", "query", "message", "prompt", "reason"}


@dataclass(frozen=True, slots=True)
class Wish:
    """Tools that were asked for: their calls, or what the first of them lacks."""

    tools: tuple[str, ...]
    calls: tuple[ToolCall, ...]
    missing: tuple[str, ...]


def wish_of(asked: str, prompt: Prompt) -> Wish | None:
    """Find the tools that a person asks for: of each clause the one of whose name most words were said, and all that
    matter. A clause that names no tool ("and 1002") belongs to the one before it."""
    asked = asked[:READ_CHARS]
    clauses: list[tuple[ToolSpec, str]] = []
    for clause in _clauses(asked):
        tool = _named_in(clause, prompt.tools)
        if clauses and (tool is None or tool is clauses[-1][0]):
            clauses[-1] = clauses[-1][0], f"{clauses[-1][1]} and {clause}"
        elif tool is not None:
            clauses.append((tool, clause))
    if not clauses and (tool := _named_in(asked, prompt.tools)):
        clauses.append((tool, asked))
    number = 1 + sum(len(line.calls) for line in prompt.talk if isinstance(line, Called))
    calls: list[ToolCall] = []
    for tool, clause in clauses:
        found, missing = _arguments(clause, tool)
        if missing:
            return Wish((tool.name,), (), tuple(missing))
        for args in found:
            calls.append(ToolCall(f"demo-{number + len(calls)}", tool.name, json.dumps(args, ensure_ascii=False)))
    return Wish(tuple(dict.fromkeys(call.tool for call in calls)), tuple(calls), ()) if calls else None


def _clauses(asked: str) -> list[str]:
    quoted = _QUOTED.search(asked)
    return [asked] if quoted else [one.strip() for one in _CLAUSE.split(asked) if one.strip()]


def _named_in(asked: str, tools: Iterable[ToolSpec]) -> ToolSpec | None:
    said = {_stem(word) for word in _WORD.findall(asked)}
    tables = (_ALSO_SAID, _ALSO_SAID_OF_AN_ID) if _ids_in(asked) else (_ALSO_SAID,)
    also = {word for table in tables for word, others in table.items() if others & said}
    best: tuple[tuple[int, int], ToolSpec] | None = None
    for tool in tools:
        words = _words_of(tool.name)
        if words and words <= said | also:
            weight = -len(words - said), len(words)  # its own words count more than others in their place
            if best is None or weight > best[0]:
                best = weight, tool
    return best[1] if best else None


def report_of(results: Sequence[Returned], prompt: Prompt) -> str:
    """Write the sentence that closes a round of calls: each with the id of what it was about."""
    asked = {call.call_id: call for line in prompt.talk if isinstance(line, Called) for call in line.calls}
    lines = [f"`{result.tool}`{_ids_of(asked.get(result.call_id))} {_outcome(result)}" for result in results]
    return lines[0] if len(lines) == 1 else "\n".join(f"- {line}" for line in lines)


def _ids_of(call: ToolCall | None) -> str:
    try:
        args = json.loads(call.args_json) if call else {}
    except (ValueError, RecursionError):
        args = {}
    ids = [str(value)[:40] for name, value in args.items() if name == "id" or name.endswith("_id")]
    return f" ({', '.join(ids)})" if ids else ""


def _outcome(result: Returned) -> str:
    if result.is_error and (refused := _REFUSED.match(result.text)):
        return f"was refused by a person: {refused[1].strip()}" if refused[1] else "was refused by a person."
    return f"{'failed' if result.is_error else 'answered'}: {_told(result.text) or '(nothing)'}"


def _told(text: str) -> str:
    """Say a JSON object as people would: {"order_id": 7, "status": "sent"} is "order 7, status sent"."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        note, _, rest = text.partition("\n")  # a line about the call may stand before what it gave
        return f"{_told(rest)} {note}" if rest.startswith("{") else text.strip()
    return ", ".join(_pairs(value)) + "." if isinstance(value, dict) and value else text.strip()


def _pairs(value: dict[str, Any]) -> list[str]:
    said = []
    for name, one in value.items():
        label = name.removesuffix("_id").removesuffix("_usd").replace("_", " ")
        if name.endswith("_usd") and isinstance(one, int | float):
            said.append(f"{label} {one:.2f} USD")
        elif isinstance(one, list):
            said.append(f"{label}: " + "; ".join(_entry(entry) for entry in one))
        else:
            said.append(str(one).rstrip(".") if name == "note" else f"{label} {one}")
    return said


def _entry(entry: Any) -> str:
    if not isinstance(entry, dict):
        return str(entry)
    return " ".join(f"{value} ×" if name == "quantity" else str(value) for name, value in sorted(
        entry.items(), key=lambda pair: pair[0] != "quantity"
    ))  # fmt: skip


def _words_of(name: str) -> set[str]:
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", name)
    return {_stem(word) for word in words} - _SMALL


def _stem(word: str) -> str:
    word = word.lower()
    for ending in ("ies", "ing", "ed", "es", "s"):
        if len(word) > len(ending) + 2 and word.endswith(ending) and not word.endswith("ss"):
            return word.removesuffix(ending) + ("y" if ending == "ies" else "")
    return word.removesuffix("e") if len(word) > 4 else word


def _arguments(asked: str, tool: ToolSpec) -> tuple[list[dict[str, Any]], list[str]]:
    """Collect arguments, one set a call: several ids for one argument are several calls. Or what is missing."""
    properties: dict[str, Any] = dict(tool.args_schema.get("properties") or {})
    required = list(tool.args_schema.get("required") or ())
    ids = _ids_in(asked)
    wants_ids = [name for name, schema in properties.items() if _is_id(schema) and "percent" not in name]
    lacks_none = not any("percent" in name for name in properties) or _PERCENT.search(asked)
    if len(wants_ids) == 1 and len(ids) > 1 and lacks_none and wants_ids[0] not in _FREE_TEXT:
        sets = [_one_set(asked, properties, [one]) for one in ids]
    else:
        sets = [_one_set(asked, properties, ids)]
    missing = [name for name in required if any(name not in args for args in sets)]
    return sets, missing


def _ids_in(asked: str) -> list[str]:
    """What looks like an id or a number, each once; not what is a percentage."""
    return list(dict.fromkeys(found.lstrip("#") for found in _ID.findall(_PERCENT.sub(" ", asked))))


def _one_set(asked: str, properties: dict[str, Any], ids: Iterable[str]) -> dict[str, Any]:
    left, quoted, percents = list(ids), _QUOTED.findall(asked), _PERCENT.findall(asked)
    args: dict[str, Any] = {}
    for name, schema in properties.items():
        kind = schema.get("type")
        if choices := schema.get("enum"):
            said = [one for one in choices if str(one).lower() in asked.lower()]
            args |= {name: said[0]} if said else {}
        elif kind in ("integer", "number"):
            some = percents if "percent" in name and percents else left
            number = next((one for one in some if _NUMBER.fullmatch(one)), None)
            if number is not None and (kind == "number" or "." not in number):
                some.remove(number)
                args[name] = int(number) if kind == "integer" else float(number)
        elif kind == "string":
            if quoted:
                args[name] = quoted.pop(0)
            elif name in _FREE_TEXT:
                args[name] = asked.strip()
            elif left:
                noun = name.removesuffix("_id")
                named = [one for one in left if re.search(rf"{noun}s?\s+#?{re.escape(one)}\b", asked, re.I)]
                args[name] = named[0] if named else left[0]
                left.remove(args[name])
    return args


def _is_id(schema: Any) -> bool:
    return schema.get("type") in ("string", "integer") and not schema.get("enum")
