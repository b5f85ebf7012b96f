"""One call of a language model: counted, timed and traced."""

import time
from types import TracebackType
from typing import Self

from chat import metrics, tracing
from workers.llm.base import LLMError, Spent


class Measured:
    """Enter it around the call. A call that is broken off by whoever asked has not failed."""

    def __init__(self, name: str) -> None:
        self.is_silent = True
        self._llm = metrics.llm_label(name)

    def __enter__(self) -> Self:
        metrics.LLM_CALLS.labels(self._llm).inc()
        self._span = tracing.loose("llm", llm=self._llm)
        self._begun = time.monotonic()
        return self

    def first(self) -> None:
        """The first piece is here."""
        self.is_silent = False
        metrics.LLM_FIRST_BYTE.labels(self._llm).observe(time.monotonic() - self._begun)

    def spent(self, spent: Spent) -> None:
        metrics.LLM_TOKENS.labels(self._llm, "input").inc(spent.input_tokens)
        metrics.LLM_TOKENS.labels(self._llm, "output").inc(spent.output_tokens)

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(problem, Exception):
            code = problem.code if isinstance(problem, LLMError) else "internal"
            metrics.LLM_FAILURES.labels(self._llm, code).inc()
            tracing.failed(self._span, code)
        metrics.LLM_CALL.labels(self._llm).observe(time.monotonic() - self._begun)
        self._span.end()
