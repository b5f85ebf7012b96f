"""One question, one call to the model, one answer. What fails for the moment is tried once more."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from workers.llm.base import LLMError, Reasoning, Spent, Text, empty_answer
from workers.modes.base import Answered, Cleared, Delta, ReasoningDelta, Work, Yield

_RETRY_AFTER_S = 0.5
_LONGEST_WAIT_S = 5.0  # whoever asks for more is not worth a person's waiting: the run fails and says so


async def direct(work: Work) -> AsyncGenerator[Yield, None]:
    """Yield the model's answer. Raises: LLMError, after one retry where it is temporary."""
    for is_last_try in (False, True):
        text: list[str] = []
        reasoning: list[str] = []
        try:
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
                    elif isinstance(piece, Spent):
                        yield piece
            answer = "".join(text)
            if not answer.strip():
                raise empty_answer()
            yield Answered(answer, "".join(reasoning))
            return
        except LLMError as error:
            wait_s = _RETRY_AFTER_S if error.retry_after_s is None else error.retry_after_s
            if is_last_try or not error.temporary or wait_s > _LONGEST_WAIT_S:
                raise
        if text or reasoning:
            yield Cleared()
        await asyncio.sleep(wait_s)
