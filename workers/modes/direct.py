"""One question, one answer."""

from contextlib import aclosing

from workers.llm.base import Reasoning, Text, Void
from workers.modes.base import Answered, Cleared, Delta, ReasoningDelta, Work, Working


async def direct(work: Work) -> Working:
    """Yield the model's answer. Raises: LLMError."""
    text: list[str] = []
    reasoning: list[str] = []
    work.check()
    async with aclosing(work.llm.stream(work.prompt)) as pieces:
        async for piece in pieces:
            work.check()
            if isinstance(piece, Text):
                text.append(piece.text)
                yield Delta(piece.text)
            elif isinstance(piece, Reasoning):
                reasoning.append(piece.text)
                yield ReasoningDelta(piece.text)
            elif isinstance(piece, Void):
                text, reasoning = [], []
                yield Cleared()
    yield Answered("".join(text), "".join(reasoning))
