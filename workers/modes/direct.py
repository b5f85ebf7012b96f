"""One question, one answer."""

from contextlib import aclosing

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
    yield Answered(turn.text, turn.reasoning, turn.cut)
