"""One run, from its claim to its end."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Any, TypeVar

from django.conf import settings
from django.db import DatabaseError, InterfaceError, InternalError, OperationalError

from chat import jobs, stream
from chat.actions import attempts
from chat.actions.attempts import Spending
from chat.database import reading, writing
from chat.errors import Fenced, Unavailable
from chat.models import Run
from workers.bill import Bill, llms_of
from workers.context import Context, build_context
from workers.llm import open_llm
from workers.llm.base import LLM, Limits, LLMError
from workers.llm.chain import Chain
from workers.modes import open_mode
from workers.modes.base import Answered, Cleared, Delta, ReasoningDelta, Work
from workers.publish import Draft, publisher
from workers.runtime import DRAINED, FENCED, Held

log = logging.getLogger(__name__)

T = TypeVar("T")

DATABASE_RETRY_S = 0.5
STOOD_STILL = "25P03"  # Postgres ended the connection: one of us two was frozen in the middle of a transaction


def llm_named(name: str) -> LLM:
    """Raises `LLMError` where the operator named one that there is not."""
    limits = Limits(
        connect_s=settings.CHAT_LLM_CONNECT_S,
        first_token_s=settings.CHAT_LLM_FIRST_TOKEN_S,
        between_tokens_s=settings.CHAT_LLM_BETWEEN_TOKENS_S,
        total_s=settings.CHAT_LLM_TOTAL_S,
    )
    try:
        return open_llm(name, limits)
    except ValueError as problem:
        log.error("%s", problem.args[0])  # our own words, for whoever set the name
        raise LLMError("llm_rejected", "This agent's language model is not set up rightly.") from None


class Attempt:
    """What one attempt has shown and spent so far."""

    def __init__(self, held: Held) -> None:
        self.held = held
        self.run: Run = held.run
        self.bill = Bill()
        self.chain = Chain(
            llms_of(self.run),
            llm_named,
            on_call=self.bill.add,
            emergency_text=settings.CHAT_EMERGENCY_TEXT,
            total_s=settings.CHAT_LLM_TOTAL_S,
        )
        self.text = Draft(publisher(), self.run, stream.MESSAGE, self._on_fenced)
        self.reasoning = Draft(publisher(), self.run, stream.REASONING, self._on_fenced)
        self.context: Context | None = None

    def _on_fenced(self) -> None:
        self.held.stop(FENCED)

    def check(self) -> None:
        if self.held.why is not None:
            raise asyncio.CancelledError

    async def work(self) -> str:
        """Have the agent's mode work, show what it yields, and return the answer. Raises `LLMError`."""
        # Whoever watches should know that the run has started before the first piece arrives.
        telling = asyncio.ensure_future(asyncio.to_thread(stream.outbox.flush, 0.2))
        self.context = context = await surely(build_context, self.run, by=reading)
        self.run.read = context.read
        await telling
        work = Work(context.prompt, self.chain, self.check)
        async with aclosing(open_mode(self.run.agent.mode)(work)) as yielded:
            async for one in yielded:
                if isinstance(one, Delta):
                    self.text.add(one.text)
                elif isinstance(one, ReasoningDelta):
                    self.reasoning.add(one.text)
                elif isinstance(one, Cleared):
                    self.text.clear()
                    if self.reasoning.text:
                        self.reasoning.clear()
                elif isinstance(one, Answered):
                    return one.text
        raise LLMError("llm_empty", "The agent ended without an answer.")

    async def spent(self) -> list[Spending]:
        """What it cost so far, by LLM."""
        return await asyncio.to_thread(self.bill.lines, self.chain.name)

    def close(self) -> None:
        self.text.close()
        self.reasoning.close()


async def execute(held: Held) -> None:
    """Work on a claimed run to its end, whatever that is."""
    held.has_begun = True
    attempt = Attempt(held)
    try:
        attempt.check()
        await _answer(attempt)
    except Fenced:
        log.info("run %s is no longer ours", held.run.pk)
        await surely(attempts.record_usage, held.run, *await attempt.spent())  # what it cost, it cost
    except asyncio.CancelledError:
        if held.why is None:
            raise
        await _stopped(attempt)
    finally:
        attempt.close()


async def _answer(attempt: Attempt) -> None:
    run = attempt.run
    try:
        text = await attempt.work()
        await attempt.text.flush()
        chain = attempt.chain
        error = told(chain.error) if chain.error else None
        spent = await attempt.spent()
        finish = partial(attempts.finish_run, fallback_status=chain.fallback_status, error=error)
        await surely(finish, run, text, *spent)
    except LLMError as problem:
        await _fail(attempt, told(problem), attempt.text.text)
    except Fenced:
        raise
    except Exception:
        log.exception("run %s failed", run.pk)
        try:
            await _fail(attempt, INTERNAL, attempt.text.text)
        except (DatabaseError, ValueError):  # also text that cannot be encoded
            log.exception("what was shown of run %s cannot be stored", run.pk)
            await _fail(attempt, INTERNAL, "")
    else:
        if attempt.context is not None and attempt.context.is_crowded:
            jobs.summarise_session(run.session_id)


def told(problem: LLMError) -> dict[str, Any]:
    return {"code": problem.code, "message": problem.message, "temporary": problem.temporary}


INTERNAL = {"code": "internal", "message": "Something went wrong while answering.", "temporary": True}


async def _fail(attempt: Attempt, error: dict[str, Any], text: str) -> None:
    await attempt.text.flush()
    fail = partial(attempts.fail_run, fallback_status=attempt.chain.fallback_status)
    await surely(fail, attempt.run, error, text, *await attempt.spent())


async def _stopped(attempt: Attempt) -> None:
    if attempt.held.why == DRAINED:
        await surely(attempts.put_back, attempt.run, DRAINED, *await attempt.spent())
    else:
        await surely(attempts.record_usage, attempt.run, *await attempt.spent())


async def surely(call: Callable[..., T], *args: Any, by: Callable[..., Awaitable[Any]] = writing) -> T:
    """Read, or do a fenced action, again and again while the database is away.

    One whose COMMIT arrived and whose reply did not is refused by its own fence the second time: that is an end, too.
    """
    while True:
        try:
            done: T = await by(call, *args)
            return done
        except (OperationalError, InterfaceError, InternalError, Unavailable) as problem:
            if isinstance(problem, InternalError) and getattr(problem.__cause__, "sqlstate", "") != STOOD_STILL:
                raise
            name = getattr(call, "__name__", None) or getattr(call, "func", call).__name__
            log.warning("%s waits for the database: %s", name, type(problem).__name__)
            await asyncio.sleep(DATABASE_RETRY_S)
