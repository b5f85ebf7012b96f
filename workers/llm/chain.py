"""The language models of one attempt, in the order in which they are asked.

What fails for the moment is tried once more, then the next one has its turn, and at the end there may be a text for
emergencies.

What a try yielded before it broke is declared void: a text comes whole from one try, or not at all.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal

from workers.llm import is_loaded
from workers.llm.base import (
    LLM,
    Coming,
    LLMError,
    Piece,
    Prompt,
    Reasoning,
    Spent,
    Text,
    ToolCall,
    Void,
    empty_answer,
    estimate_prompt,
    estimate_tokens,
)

log = logging.getLogger(__name__)

_RETRY_AFTER_S = 0.5
_LONGEST_WAIT_S = 5.0  # whoever asks for more is not worth a person's waiting

# How an answer came about. None: by the model that was meant to give it.
FallbackStatus = Literal["recovery", "emergency"]


@dataclass(frozen=True, slots=True)
class Call:
    """One call to one model, and what it cost: told by the model, or estimated where the call broke off."""

    llm: str
    spent: Spent


class Chain:
    """Several models that answer as one. It stays with the one that answered last: a second call starts there."""

    def __init__(
        self,
        names: Sequence[str],
        open_named: Callable[[str], LLM],
        *,
        on_call: Callable[[Call], None] = lambda _: None,
        emergency_text: str = "",
        total_s: float = 0,
    ) -> None:
        self._names = list(dict.fromkeys(names))
        self._open = open_named
        self._on_call = on_call
        self._emergency_text = emergency_text
        self._total_s = total_s
        self._at = 0
        self.fallback_status: FallbackStatus | None = None
        self.error: LLMError | None = None  # why the emergency text was given

    @property
    def name(self) -> str:
        """The model that is asked now, or was asked last."""
        return self._names[self._at]

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        """Yield an answer, with a `Void` between a try that had begun and the next one. Raises: LLMError."""
        now = asyncio.get_running_loop().time
        end = now() + self._total_s if self._total_s else float("inf")
        is_retry = False
        while True:
            shown = False
            try:
                async with aclosing(self._once(prompt)) as pieces:
                    async for piece in pieces:
                        shown = True
                        yield piece
                return
            except LLMError as error:
                wait_s = _wait_s(error)
                if wait_s is not None and not is_retry and now() + wait_s < end:
                    is_retry = True
                elif self._move_on(error, in_time=now() < end):
                    is_retry, wait_s = False, 0
                elif self._emergency_text and _may_move_on(error):
                    self.fallback_status, self.error = "emergency", error
                else:
                    raise
            if shown:
                yield Void()
            if self.error is not None:
                yield Text(self._emergency_text)
                return
            await asyncio.sleep(wait_s or 0)

    def _move_on(self, error: LLMError, *, in_time: bool) -> bool:
        """Go on to the next model, if this error lets us and there is one."""
        if not _may_move_on(error):
            return False
        blame = log.warning if error.fault in ("temporary", "context") else log.error  # an error is for the operator
        blame("the language model %r failed (%s, %s): %s", self.name, error.code, error.fault, error.message)
        if not in_time or self._at + 1 >= len(self._names):
            return False
        self._at += 1
        self.fallback_status = "recovery"
        return True

    async def _once(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        """Yield what one call to one model says, and account for it however it ends."""
        name = self.name
        said = coming = ""
        spent: Spent | None = None
        is_answer, may_call = False, bool(prompt.tools) and prompt.may_call
        # The first model of a provider loads its packages: beside the loop, on which others are answered too.
        llm = self._open(name) if is_loaded(name) else await asyncio.to_thread(self._open, name)
        try:
            async with aclosing(llm.stream(prompt)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Text | Reasoning):
                        said += piece.text
                        is_answer = is_answer or (isinstance(piece, Text) and not piece.text.isspace())
                    elif isinstance(piece, Spent):
                        spent = piece
                        continue
                    elif isinstance(piece, Coming):
                        coming += piece.text
                        continue
                    elif isinstance(piece, ToolCall):
                        said += "" if coming else piece.args_json
                        is_answer = is_answer or may_call
                    yield piece
            if not is_answer:
                raise empty_answer()
        finally:
            # A call that broke off told no usage. What had not begun to answer is taken to have cost nothing.
            if spent is None and (said := said + coming):
                spent = Spent(estimate_prompt(prompt), estimate_tokens(said))
            self._on_call(Call(name, spent or Spent(0, 0)))


def _wait_s(error: LLMError) -> float | None:
    """How long to wait before the same model is asked again, or None where that is of no use."""
    wait_s = _RETRY_AFTER_S if error.retry_after_s is None else error.retry_after_s
    return wait_s if error.fault == "temporary" and wait_s <= _LONGEST_WAIT_S else None


def _may_move_on(error: LLMError) -> bool:
    """Whether another model may do better: not with a request that is wrong, and not when all the time is gone."""
    return error.fault != "validation" and error.code != "run_too_long"
