"""One run, from its claim to its end."""

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any

from django.conf import settings
from django.db import DatabaseError

from chat import jobs, stream, tracing
from chat.actions import attempts, joined
from chat.actions.usage import Spending
from chat.database import reading
from chat.errors import Fenced
from chat.models import Run
from chat.outbox import outbox
from workers.bill import Bill, llms_of, seconds_of
from workers.context import Context, build_context, fit_results, joined_lines, tokens_for
from workers.llm import open_llm
from workers.llm.base import LLM, Limits, Line, LLMError
from workers.llm.chain import Chain
from workers.modes import open_mode
from workers.modes.base import Acts, Answered, Cleared, Delta, ReasoningDelta, Work
from workers.publish import Draft, publisher
from workers.runtime import DRAINED, FENCED, Held
from workers.steps import Steps
from workers.surely import surely
from workers.tools import Tool, tools_named

log = logging.getLogger(__name__)


def llm_named(name: str) -> LLM:
    """Raises `LLMError` where the operator named one that there is not."""
    limits = Limits(
        connect_s=settings.CHAT_LLM_CONNECT_S,
        first_token_s=settings.CHAT_LLM_FIRST_TOKEN_S,
        between_tokens_s=settings.CHAT_LLM_BETWEEN_TOKENS_S,
        total_s=settings.CHAT_LLM_TOTAL_S,
        answer_chars=settings.CHAT_LLM_ANSWER_CHARS,
    )
    try:
        return open_llm(name, limits)
    except ValueError as problem:
        log.error("%s", problem.args[0])  # our own words, for whoever set the name
        raise LLMError("llm_rejected", "This agent's language model is not set up rightly.") from problem


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
        self.context: Context | None = None
        self.steps = Steps(held, {})
        self._begun = time.monotonic()
        self._seconds_before: float = self.run.state.get("seconds", 0.0)
        self._cost_usd = self.run.cost_usd
        self._telling: asyncio.Future[None] | None = None
        self._open_drafts()

    def _open_drafts(self) -> None:
        self.text = Draft(publisher(), self.run, stream.MESSAGE, self._on_fenced)
        self.reasoning = Draft(publisher(), self.run, stream.REASONING, self._on_fenced)

    def _tell(self) -> None:
        """See to it, beside the work, that whoever watches knows of a message before its first piece arrives."""
        self._telling = outbox.flushing(0.2)

    def _on_fenced(self) -> None:
        self.held.stop(FENCED)

    def check(self) -> None:
        if self.held.why is not None:
            raise asyncio.CancelledError

    async def work(self) -> Answered | None:
        """Have the agent's mode work, show what it yields, and return the answer. None: the run waits for people.

        Raises `LLMError`.
        """
        self._tell()
        self.context = context = await self._read()
        self.run.read = context.read
        agent = self.run.agent
        tools: dict[str, Tool] = await asyncio.to_thread(tools_named, agent.tools) if agent.tools else {}
        self.steps = Steps(self.held, tools, context.doubted)
        lines = await self.steps.resume(context.joined)
        if self.steps.count:
            if await self._waits_for_people():
                return None
            lines += [*self.steps.lines(), *await self._joined()]
        fit = partial(fit_results, tokens=tokens_for(agent))
        prompt = replace(context.prompt, talk=fit((*context.prompt.talk, *lines)))
        work = Work(prompt, self.chain, self.check, tuple(tool.spec for tool in tools.values()), self._may_act, fit)
        reply: Sequence[Line] | None = None
        async with aclosing(open_mode(agent.mode)(work)) as yielded:
            while True:
                try:
                    one = await yielded.asend(reply)
                except StopAsyncIteration:
                    raise LLMError("llm_empty", "The agent ended without an answer.") from None
                reply = None
                if self._telling is not None and not self._telling.done():
                    await self._telling
                if isinstance(one, Delta):
                    self.text.add(one.text)
                elif isinstance(one, ReasoningDelta):
                    self.reasoning.add(one.text)
                elif isinstance(one, Cleared):
                    self.text.clear()
                    if self.reasoning.text:
                        self.reasoning.clear()
                elif isinstance(one, Acts):
                    await self._begin_step(one)
                    if await self._waits_for_people():
                        return None
                    reply = [*self.steps.lines(), *await self._joined()]
                elif isinstance(one, Answered):
                    return one

    async def _read(self) -> Context:
        """What its LLM is told: read with the claim, or now."""
        context, self.held.context = self.held.context, None
        if context is not None:
            tracing.past("context", *context.time)
            return context
        with tracing.span("context"):
            return await surely(build_context, self.run, by=reading)

    async def _begin_step(self, acts: Acts) -> None:
        """Save what the LLM wants to do. Its words become a message, and what follows them will be another one."""
        await self.text.flush()
        self.check()
        spent = await self.spent()
        self._cost_usd = self.run.cost_usd + sum(one.cost_usd or Decimal(0) for one in spent)
        if await self.steps.begin(acts.text, acts.calls, self.seconds, spent):
            self.close()
            self._open_drafts()
            self._tell()
        elif self.text.text:
            self.text.clear()  # blanks that no message holds

    async def _waits_for_people(self) -> bool:
        """Do what can be done of the last step. Whether people are asked now, and the run is out of our hands."""
        questions = await self.steps.finish()
        if questions:
            interrupt = partial(attempts.interrupt_run, seconds=self.seconds, fallback_status=self.fallback_status)
            await surely(interrupt, self.run, questions, *await self.spent())
        return bool(questions)

    async def _joined(self) -> Sequence[Line]:
        """What people have sent since the last step for this answer to know."""
        return joined_lines(await surely(joined.read_joined, self.run, self.steps.count))

    def _may_act(self) -> bool:
        """Whether the limits leave money, and another call of the LLM to read what tools return."""
        limit = self.run.agent.run_limit
        steps = limit.get("steps", settings.CHAT_RUN_STEPS)
        if steps and self.steps.count + 1 >= steps:
            return False
        return "cost_usd" not in limit or self._cost_usd < Decimal(str(limit["cost_usd"]))

    @property
    def seconds(self) -> float:
        """For how long the run has been worked on: what people took to answer is none of it."""
        return self._seconds_before + time.monotonic() - self._begun

    @property
    def fallback_status(self) -> str | None:
        """How the answer comes about: what was said before people were asked is a part of it."""
        return self.chain.fallback_status or self.run.fallback_status

    async def spent(self) -> list[Spending]:
        """What it cost so far, by LLM."""
        return await self.bill.lines(self.chain.name)

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
        answer = await _in_time(attempt)
        if answer is None:
            return
        await attempt.text.flush()
        chain = attempt.chain
        error = told(chain.error) if chain.error else None
        spent = await attempt.spent()
        finish = partial(attempts.finish_run, fallback_status=attempt.fallback_status, error=error, cut=answer.cut)
        await surely(finish, run, answer.text, *spent)
    except LLMError as problem:
        await _fail(attempt, told(problem))
    except Fenced:
        raise
    except Exception:
        log.exception("run %s failed", run.pk)
        await _fail(attempt, INTERNAL)
    else:
        if attempt.context is not None and attempt.context.is_crowded:
            jobs.summarise_session(run.session_id, run.pk)


async def _in_time(attempt: Attempt) -> Answered | None:
    """Work for as long as a run may take. Raises `LLMError`."""
    limit_s = seconds_of(attempt.run.agent.run_limit)
    try:
        async with asyncio.timeout(limit_s - attempt.seconds if limit_s else None) as scope:
            return await attempt.work()
    except TimeoutError:
        if not scope.expired():
            raise
        raise LLMError("run_too_long", f"The answer took longer than {limit_s:g} s and was stopped.") from None


def told(problem: LLMError) -> dict[str, Any]:
    return {"code": problem.code, "message": problem.message, "temporary": problem.temporary}


INTERNAL = {"code": "internal", "message": "Something went wrong while answering.", "temporary": True}


async def _fail(attempt: Attempt, error: dict[str, Any]) -> None:
    """End the run with an error, and with what was shown of its answer."""
    await attempt.text.flush()
    run, spent = attempt.run, await attempt.spent()
    fail = partial(attempts.fail_run, fallback_status=attempt.fallback_status)
    try:
        await surely(fail, run, error, attempt.text.text, *spent)
    except (DatabaseError, ValueError, OverflowError):  # also text that cannot be encoded, and odd numbers
        log.exception("what was shown of run %s, or what it spent, cannot be stored", run.pk)
        await surely(fail, run, error, "")


async def _stopped(attempt: Attempt) -> None:
    if attempt.held.why == DRAINED:
        put_back = partial(attempts.put_back, seconds=attempt.seconds)
        await surely(put_back, attempt.run, DRAINED, *await attempt.spent())
    else:
        await surely(attempts.record_usage, attempt.run, *await attempt.spent())
