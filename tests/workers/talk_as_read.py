"""What a run's LLM reads, and the ends of runs that it reads of."""

from chat.actions import attempts
from chat.models import Run
from workers.context import LINE_TOKENS, build_context
from workers.llm.base import estimate_tokens


def told_to(run: Run) -> list[str]:
    """The talk that a run's LLM reads, as `u: question` and `a: answer`."""
    return [f"{line.role[0]}: {line.text}" for line in build_context(run).prompt.talk]


def fails(run: Run, partial: str = "") -> Run:
    error = {"code": "llm_timeout", "message": "The language model took too long.", "temporary": True}
    return attempts.fail_run(run, error, partial, attempts.Spending())


def finish(run: Run, text: str) -> None:
    attempts.finish_run(run, text, attempts.Spending())


def cost(*texts: str) -> int:
    return sum(estimate_tokens(text) + LINE_TOKENS for text in texts)
