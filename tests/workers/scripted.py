"""A model that says what a test tells it to, and notes when its stream is closed."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import TypeVar

from workers.llm.base import LLM, LLMError, Piece, Prompt, Said, Text

T = TypeVar("T")


class ScriptedLLM:
    """Plays one script a call: pieces are yielded, numbers are slept, errors are raised."""

    name = "scripted"

    def __init__(self, *scripts: Sequence[Piece | float | LLMError]) -> None:
        self.scripts = list(scripts)
        self.prompts: list[Prompt] = []
        self.closed = 0

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        self.prompts.append(prompt)
        try:
            for step in self.scripts.pop(0):
                if isinstance(step, LLMError):
                    raise step
                if isinstance(step, float):
                    await asyncio.sleep(step)
                else:
                    yield step
        finally:
            self.closed += 1


def asking(question: str, *before: str, instructions: str = "") -> Prompt:
    """Build a prompt: what the person said before, and the question."""
    return Prompt(instructions, tuple(Said("user", text) for text in (*before, question)))


async def read(llm: LLM, prompt: Prompt) -> list[Piece]:
    return [piece async for piece in llm.stream(prompt)]


async def keep(seen: list[T], stream: AsyncIterator[T]) -> None:
    """Read a stream into a list that still holds what came where the stream fails."""
    async for item in stream:
        seen.append(item)  # a comprehension would lose them all


async def read_text(llm: LLM, prompt: Prompt) -> str:
    return "".join(piece.text for piece in await read(llm, prompt) if isinstance(piece, Text))
