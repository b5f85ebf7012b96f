"""What a mode gets, and what it may yield. A mode knows no row, no socket and no queue."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

from workers.llm.base import LLM, Cut, Line, Piece, Prompt, Reasoning, Stopped, Text, ToolCall, ToolSpec, Void


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of the answer, to be shown at once."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """A piece of what the model thinks, to be shown at once."""

    text: str


@dataclass(frozen=True, slots=True)
class Cleared:
    """What was shown of this answer is void: what follows is shown from the start again."""


class Turn:
    """What the LLM said and asked for in one turn so far, put together from its pieces."""

    def __init__(self) -> None:
        self.text = self.reasoning = ""  # joined at once: a list of its tokens would be ten times as large
        self.calls: list[ToolCall] = []
        self.cut: Cut | None = None

    def take(self, piece: Piece) -> Delta | ReasoningDelta | Cleared | None:
        """Add a piece, and give what is to be shown of it."""
        if isinstance(piece, Text):
            self.text += piece.text
            return Delta(piece.text)
        if isinstance(piece, Reasoning):
            self.reasoning += piece.text
            return ReasoningDelta(piece.text)
        if isinstance(piece, ToolCall):
            self.calls.append(piece)
        elif isinstance(piece, Stopped):
            self.cut = piece.reason if piece.reason in ("length", "refused") else None
        elif isinstance(piece, Void):
            self.text = self.reasoning = ""
            self.calls.clear()
            self.cut = None
            return Cleared()
        return None


@dataclass(frozen=True, slots=True)
class Answered:
    """The whole answer, last: its text is that of the deltas since the last `Cleared`."""

    text: str
    reasoning: str = ""
    cut: Cut | None = None  # why the LLM did not come to its end


@dataclass(frozen=True, slots=True)
class Acts:
    """The LLM's turn ended in calls. What is sent back is the talk to go on with: this turn, and what came of it."""

    text: str  # before the calls: that of the deltas since the last `Cleared`
    calls: tuple[ToolCall, ...]


Yield = Delta | ReasoningDelta | Cleared | Acts | Answered
Working = AsyncGenerator[Yield, Sequence[Line] | None]


@dataclass
class Work:
    """What a mode works with. `check` raises when the run was cancelled or is over a limit; call it often."""

    prompt: Prompt
    llm: LLM
    check: Callable[[], None]
    tools: tuple[ToolSpec, ...] = ()
    may_act: Callable[[], bool] = lambda: True  # else the run is near a limit, and is to end with words
    fit: Callable[[tuple[Line, ...]], tuple[Line, ...]] = lambda talk: talk  # shorten a talk that became too long


async def whole_text(llm: LLM, prompt: Prompt) -> str:
    """Return an answer of which nothing is shown before its end. Raises: LLMError."""
    turn = Turn()
    async with aclosing(llm.stream(prompt)) as pieces:
        async for piece in pieces:
            turn.take(piece)
    return turn.text


class Mode(Protocol):
    """A way to work on an answer: an async generator, so that closing it ends the work."""

    def __call__(self, work: Work) -> Working: ...
