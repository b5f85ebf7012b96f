"""One question, one answer."""

from contextlib import aclosing

from workers.llm.base import empty_answer
from workers.modes.base import Answered, Turn, Work, Working


async def direct(work: Work) -> Working:
    """Yield the model's answer. Raises: LLMError."""
    turn = Turn()
    work.check()
    async with aclosing(work.llm.stream(work.prompt)) as pieces:
        async for piece in pieces:
            work.check()
            if (shown := turn.take(piece)) is not None:
                yield shown
    if not turn.text.strip():
        raise empty_answer()  # it asked for tools that it was not offered
    yield Answered(turn.text, turn.reasoning, turn.cut)
