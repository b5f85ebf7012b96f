"""From what a provider sends to what can be relied on: limits around any model, and clean text.

Text: Postgres refuses a NUL, at the very last insert; and a provider that cuts its stream by UTF-16 units sends half
a character at the end of one piece and the other half in the next. So NULs go, and a half waits for its other half.
"""

import asyncio
import math
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from chat.clean import clean_text
from workers.llm.base import LLM, Coming, Limits, LLMError, Piece, Prompt, Reasoning, Spent, Text, ToolCall
from workers.llm.measured import Measured

ARGS_KEPT = 60_000  # characters of a call's arguments: more than any tool takes, so that what was cut is refused
_SURROGATE = re.compile("[\ud800-\udfff]")


class CleanText:
    """Clean one text that comes in pieces. What was cut inside a character is whole again in the next piece."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> str:
        """Return what can be shown now; it may be empty."""
        if piece.isascii() and not self._held:  # nearly every token
            return piece.replace("\0", "") if "\0" in piece else piece
        text = (self._held + piece).replace("\0", "")
        self._held = ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            text, self._held = text[:-1], text[-1]
        if _SURROGATE.search(text):
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return text

    def rest(self) -> str:
        """Return what is left at the end: a half whose other half never came shows as U+FFFD."""
        held, self._held = self._held, ""
        return "\ufffd" if held else ""


def _rests(reasoning: CleanText, text: CleanText) -> list[Piece]:
    """Give the halves of characters that nothing follows any more."""
    pieces: list[Piece] = []
    if shown := reasoning.rest():
        pieces.append(Reasoning(shown))
    if shown := text.rest():
        pieces.append(Text(shown))
    return pieces


class Deadline:
    """A time limit for each of many waits of one task, as `asyncio.timeout_at` has it for one.

    One timer serves them all and is moved only when it goes off: to set one for each token costs more than the token.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelling = 0
        self._until = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._is_out = False

    def begin(self, until: float) -> None:
        """A wait begins, which is broken off at that time of the loop."""
        self._until, self._cancelling = until, self._task.cancelling()
        if until < math.inf and (self._timer is None or until < self._timer.when()):
            self._set(until)

    def rest(self) -> None:
        """The wait is over: nothing is broken off until the next one, whatever became of a cancellation of ours."""
        self._until = math.inf
        self.has_ended()

    def has_ended(self) -> bool:
        """Whether the wait was cancelled by us, and by nobody else as well. Asked once."""
        was_out, self._is_out = self._is_out, False
        return was_out and self._task.uncancel() <= self._cancelling

    def end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _set(self, at: float) -> None:
        self.end()
        self._timer = self._loop.call_at(at, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._loop.time() >= self._until:
            self._is_out = True
            self._task.cancel()
        elif self._until < math.inf:
            self._set(self._until)


class Guarded:
    """A model within its limits, whose text is clean and whose pieces are never empty."""

    def __init__(self, llm: LLM, limits: Limits) -> None:
        self._llm = llm
        self._limits = limits

    @property
    def name(self) -> str:
        return self._llm.name

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        """Yield the pieces of the guarded model. Raises: LLMError, also `llm_timeout` and `run_too_long`."""
        text, reasoning = CleanText(), CleanText()
        spent: Spent | None = None
        chars, chars_most = 0, self._limits.answer_chars or math.inf
        with Measured(self.name) as call:
            async with aclosing(self._in_time(prompt)) as pieces:
                async for piece in pieces:
                    if call.is_silent:
                        call.first()
                    if isinstance(piece, Text):
                        chars += len(piece.text)
                        if shown := text.feed(piece.text):
                            yield piece if shown is piece.text else Text(shown)
                    elif isinstance(piece, Reasoning):
                        chars += len(piece.text)
                        if shown := reasoning.feed(piece.text):
                            yield piece if shown is piece.text else Reasoning(shown)
                    elif isinstance(piece, Coming):
                        chars += len(piece.text)
                        yield piece
                    elif isinstance(piece, Spent):
                        spent = piece
                        call.spent(spent)
                    else:
                        for rest in _rests(reasoning, text):
                            yield rest
                        if isinstance(piece, ToolCall):
                            args_json = clean_text(piece.args_json)[:ARGS_KEPT]
                            piece = replace(piece, args_json=args_json)  # noqa: PLW2901
                        yield piece
                    if chars > chars_most:
                        raise _too_much(self._limits)
        for rest in _rests(reasoning, text):
            yield rest
        if spent:
            yield spent

    async def _in_time(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        now = asyncio.get_running_loop().time
        limits, deadline = self._limits, Deadline()
        end = now() + limits.total_s if limits.total_s else float("inf")
        wait_s, waits_for = limits.first_token_s, "to start its answer"
        pieces = self._llm.stream(prompt)
        try:
            while True:
                started = now()
                if started >= end:
                    raise _too_long(limits)
                until = min(end, started + wait_s) if wait_s else end
                # The scope is around one pull only: held over a yield, it could cancel whoever reads us.
                deadline.begin(until)
                try:
                    piece = await anext(pieces)
                except StopAsyncIteration:
                    return
                except asyncio.CancelledError:
                    if not deadline.has_ended():
                        raise
                    if until == end:
                        raise _too_long(limits) from None
                    raise LLMError(
                        "llm_timeout", f"The language model took longer than {wait_s:g} s {waits_for}.", temporary=True
                    ) from None
                finally:
                    deadline.rest()
                wait_s, waits_for = limits.between_tokens_s, "to go on with its answer"
                yield piece
        finally:
            deadline.end()
            await pieces.aclose()


def _too_long(limits: Limits) -> LLMError:
    return LLMError("run_too_long", f"The answer took longer than {limits.total_s:g} s and was stopped.")


def _too_much(limits: Limits) -> LLMError:
    return LLMError("run_too_long", f"The answer became longer than {limits.answer_chars} characters and was stopped.")
