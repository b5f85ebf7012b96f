"""The offline demo model: it answers with sentences of the talk itself, and says that it is a demo.

`demo` chats at a pleasant pace. `demo?tokens=200&tokens_per_s=50&first_token_ms=0` answers anything with exactly 200
numbered tokens at exactly that pace, so that a lost or doubled one is seen; `tokens_per_s=0` is as fast as it goes.
Needs no network, no key and no model file.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import overload
from urllib.parse import parse_qsl

from workers.llm import quotes
from workers.llm.base import (
    SUMMARY_HEADING,
    SUMMARY_INSTRUCTIONS,
    TITLE_INSTRUCTIONS,
    Limits,
    Piece,
    Prompt,
    Returned,
    Said,
    Spent,
    Stopped,
    Text,
    ToolCall,
    estimate_prompt,
)
from workers.llm.wishes import Wish, report_of, wish_of

_ABOUT = "*I am the offline demo model: I only quote this conversation. For real answers set `CHAT_LLM=openai:MODEL`.*"
_ABOUT_CALLS = (
    "*I am the offline demo model: I call the tools that I hear named. For real answers set `CHAT_LLM=openai:MODEL`.*"
)
_SUMMARY_CHARACTERS = 4000
_TITLE_CHARACTERS = 48
_MENTION = re.compile(r"^\s*(?:@\w+\s*(?:\w+=\S+\s*)*)+")
_ASKS = re.compile(
    r"(what|when|where|who|whom|whose|which|why|how|is|are|was|were|do|does|did|can|could|will|would|should|has|have|tell"
    r"|list|show|find|remind|repeat|quote|explain|describe|give|name|wer|was|wann|wo|wie|warum|welche[rs]?)\b",
    re.IGNORECASE,
)
_ASKS_SUMMARY = re.compile(
    r"\b(summar\w*|recap|tl;?dr|sum (it|this|that)? ?up|catch me up|zusammenfass\w*)\b|so far\?", re.IGNORECASE
)
_ASKS_HELP = re.compile(r"^\W*(help|who are you|what (can|do) you do|what are you|how do you work)\W*$", re.IGNORECASE)
_YIELD_EVERY = 32  # pieces without a pause, before the loop's other work gets its turn


@dataclass(frozen=True)
class Options:
    """How a demo model answers: `tokens` numbered ones, or (None) from the talk; and how fast."""

    tokens: int | None = None
    tokens_per_s: float = 40.0
    first_token_ms: float = 150.0


def open_model(name: str, limits: Limits, env: Mapping[str, str]) -> "Demo":
    """Open the demo model of that name. Raises: ValueError."""
    return Demo(name, _read_options(name))


def _read_options(name: str) -> Options:
    asked = name.removeprefix("demo")
    if not asked:
        return Options()
    try:
        if not re.match(r"\?.", asked):
            raise ValueError
        pairs = parse_qsl(asked[1:], keep_blank_values=True, strict_parsing=True)
    except ValueError:
        raise ValueError(f"{name!r} is no demo model: write it like 'demo?tokens=200&tokens_per_s=50'.") from None
    given = dict(pairs)
    if len(given) < len(pairs):
        raise ValueError(f"An option of {name!r} is given twice.")
    known = {"tokens": (1, 1_000_000), "tokens_per_s": (0, 1_000_000), "first_token_ms": (0, 3_600_000)}
    values: dict[str, float] = {}
    for option, value in given.items():
        if option not in known:
            raise ValueError(f"The demo model has no option {option!r}; it has {', '.join(known)}.")
        least, most = known[option]
        if not re.fullmatch(r"\d{1,9}" if option == "tokens" else r"\d{1,9}(\.\d{1,6})?", value, re.ASCII):
            raise ValueError(f"The demo model's {option} is {value!r}; it must be a number from {least} to {most}.")
        if not least <= float(value) <= most:
            raise ValueError(f"The demo model's {option} is {value}; it must be from {least} to {most}.")
        values[option] = float(value)
    tokens = int(values["tokens"]) if "tokens" in values else None
    return Options(tokens, values.get("tokens_per_s", 40.0), values.get("first_token_ms", 150.0))


class Demo:
    """A model that needs nothing but the prompt."""

    def __init__(self, name: str, options: Options) -> None:
        self.name = name
        self._options = options

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        """Yield the answer a word at a time, then what it would have cost."""
        options = self._options
        tokens_per_s, first_s = options.tokens_per_s, options.first_token_ms / 1000
        pieces: Sequence[str]
        if prompt.instructions.startswith(SUMMARY_INSTRUCTIONS.partition("\n")[0]):
            pieces = _words(summary_of(prompt.talk[-1].text))
            tokens_per_s, first_s = 0, 0  # nobody watches a summary being written
        elif prompt.instructions.startswith(TITLE_INSTRUCTIONS.partition("\n")[0]):
            pieces = _words(title_of(prompt.talk[-1].text))
            tokens_per_s, first_s = 0, 0
        elif options.tokens is not None:
            pieces = _Numbered(options.tokens)
        else:
            pieces = _words(answer_to(prompt))
        calls: tuple[ToolCall, ...] = ()
        if options.tokens is None and (wish := _wish_of(prompt)):
            pieces, calls = _words(_announcement(wish)), wish.calls
        loop = asyncio.get_running_loop()
        begin = loop.time() + first_s
        for number, piece in enumerate(pieces):
            # Each piece has its own due time, counted from the start: sleeping "a bit" each time would drift.
            due = begin + (number / tokens_per_s if tokens_per_s else 0)
            if (wait_s := due - loop.time()) > 0:
                await asyncio.sleep(wait_s)
            elif number % _YIELD_EVERY == 0:
                await asyncio.sleep(0)
            yield Text(piece)
        for call in calls:
            yield call
        yield Stopped("tools" if calls else "end")
        yield Spent(input_tokens=estimate_prompt(prompt), output_tokens=len(pieces))


class _Numbered(Sequence[str]):
    """So many words, made as they are said: lists of thousands for hundreds of answers would fill a worker's memory."""

    def __init__(self, count: int) -> None:
        self._numbers = range(1, count + 1)

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        number = self._numbers[index]
        return f" w{number}" if number > 1 else "w1"


def _words(text: str) -> list[str]:
    return re.findall(r"\s*\S+", text)


def _wish_of(prompt: Prompt) -> Wish | None:
    last = prompt.talk[-1]
    return (
        wish_of(_MENTION.sub("", last.text), prompt)
        if prompt.tools and prompt.may_call and isinstance(last, Said)
        else None
    )


def _announcement(wish: Wish) -> str:
    names = " and ".join(f"`{name}`" for name in wish.tools)
    if wish.calls:
        return f"I call {names}, because you asked for it."
    return f"For {names} I need {' and '.join(f'`{name}`' for name in wish.missing)}.\n\n{_ABOUT_CALLS}"


def answer_to(prompt: Prompt) -> str:
    """Write the answer to the last line of the talk, or to what tools returned, in Markdown."""
    results = [*takewhile(lambda line: isinstance(line, Returned), reversed(prompt.talk))]
    if results:
        return (
            f"{report_of([line for line in reversed(results) if isinstance(line, Returned)], prompt)}\n\n{_ABOUT_CALLS}"
        )
    asked = _MENTION.sub("", prompt.talk[-1].text).strip()
    said = _said_before(prompt)
    return f"{_reply(asked, said)}\n\n{_ABOUT}"


def _said_before(prompt: Prompt) -> list[str]:
    """Return the sentences of the people, the oldest first. The model's own answers would only quote them again."""
    _, heading, earlier = prompt.instructions.partition(SUMMARY_HEADING)
    said = quotes.sentences(earlier.strip().partition("\n\n")[0]) if heading else []
    for line in prompt.talk[:-1]:
        if isinstance(line, Said) and line.role == "user":
            said += quotes.sentences(_MENTION.sub("", line.text))
    return said


def _reply(asked: str, said: list[str]) -> str:
    if quotes.is_greeting(asked):
        return "Hello! Tell me a few things, then ask me about them: I find them again."
    if quotes.is_thanks(asked):
        return "You are welcome."
    if _ASKS_HELP.match(asked):
        return (
            "I can do three things:\n\n- **note** what you tell me,\n"
            "- **find** it when you ask for it, word for word,\n- **sum up** the conversation so far."
        )
    if _ASKS_SUMMARY.search(asked) and len(asked) < 200:
        kept = quotes.facts(said, most_characters=1200)
        if not kept:
            return "Nothing has been said yet that I could sum up."
        return "**The conversation so far**\n\n" + "\n".join(f"- {sentence}" for sentence in kept)
    found = quotes.bearing_on(asked, said)
    if asked.endswith("?") or _ASKS.match(asked):
        if found:
            return f"{'This was' if len(found) == 1 else 'These were'} said about it:\n\n{_quoted(found)}"
        return "I found nothing about that in this conversation. Tell me, and I can find it the next time you ask."
    new = quotes.sentences(asked)
    if len(new) > 3:
        stands_out = quotes.facts(new, most_characters=400) or new[:3]
        return f"Noted, {len(new)} sentences. What stands out:\n\n{_quoted(stands_out)}"
    reply = f"Noted:\n\n{_quoted(new)}" if new else "Noted."
    related = [sentence for sentence in found if sentence not in new]
    return f"{reply}\n\nIt goes with what was said before:\n\n{_quoted(related)}" if related else reply


def _quoted(found: list[str]) -> str:
    return "\n>\n".join(f"> {sentence}" for sentence in found)


def summary_of(material: str) -> str:
    """Write the summary of a summary so far and a talk, as the prompt of `modes/summary.py` holds them."""
    earlier = re.search(r"<summary>(.*?)</summary>", material, re.DOTALL)
    talk = re.search(r"<talk>(.*)</talk>", material, re.DOTALL)
    said = quotes.sentences(earlier[1]) if earlier else []
    spoken_by = ""
    for line in (talk[1] if talk else "").splitlines():
        role = re.match(r"(user|assistant): ", line)
        if role:
            spoken_by = role[1]
        if spoken_by == "user":
            said += quotes.sentences(_MENTION.sub("", line[role.end() :] if role else line))
    kept = quotes.facts(said, most_characters=_SUMMARY_CHARACTERS)
    return "\n".join(f"- {sentence}" for sentence in kept) or "- Nothing of note was said."


def title_of(material: str) -> str:
    """Name a talk by the first telling sentence of its question, as the prompt of `modes/title.py` holds it."""
    asked = re.search(r"<question>(.*?)</question>", material, re.DOTALL)
    said = quotes.sentences(_MENTION.sub("", asked[1])) if asked else []
    telling = [one for one in said if not quotes.is_greeting(one) and not quotes.is_thanks(one)] or said
    title = telling[0].rstrip(".!?…。！？ ") if telling else "Untitled"
    title = title[:1].upper() + title[1:]
    if len(title) <= _TITLE_CHARACTERS:
        return title
    whole_words = title[:_TITLE_CHARACTERS].rpartition(" ")[0]
    return (whole_words or title[:_TITLE_CHARACTERS]).rstrip(",;: ") + "…"
