"""One question, one answer."""

from contextlib import aclosing

from workers.llm.base import Reasoning, Text, Void
from workers.modes.base import Answered, Cleared, Delta, ReasoningDelta, Work, Working


async def direct(work: Work) -> Working:
    """Yield the model's answer. Raises: LLMError."""
    text = reasoning = ""  # joined at once: a list of its tokens would be ten times as large
    work.check()
    async with aclosing(work.llm.stream(work.prompt)) as pieces:
        async for piece in pieces:
            work.check()
            if isinstance(piece, Text):
                text += piece.text
                yield Delta(piece.text)
            elif isinstance(piece, Reasoning):
                reasoning += piece.text
                yield ReasoningDelta(piece.text)
            elif isinstance(piece, Void):
                text = reasoning = ""
                yield Cleared()
    yield Answered(text, reasoning)
