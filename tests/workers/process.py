"""A worker process inside a test: its runtime on the test's own loop, and a model that a test leads by the hand."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable
from typing import Any
from uuid import UUID

from django.db import OperationalError

from chat import stream
from chat.database import reading, writing
from chat.models import Message, Run, Usage
from tests.inside import WAIT_S, Talk
from workers import publish
from workers.llm.base import LLMError, Piece, Prompt, Spent, Stopped, StopReason, Text, ToolCall
from workers.runtime import Held, Runtime


class LedLLM:
    """Says what it is told to, when it is told to, and notes when its stream is closed."""

    name = "led"

    def __init__(self) -> None:
        self.prompts: list[Prompt] = []
        self.closed = 0
        self._pieces: asyncio.Queue[Piece | BaseException | None] = asyncio.Queue()

    def say(self, *texts: str) -> None:
        for text in texts:
            self._pieces.put_nowait(Text(text))

    def call(self, tool: str, call_id: str = "c1", /, **args: Any) -> None:
        """Ask for a tool: with args_json=… as it is written, else with arguments."""
        written = args["args_json"] if set(args) == {"args_json"} else json.dumps(args)
        self._pieces.put_nowait(ToolCall(call_id, tool, written))

    def stop(self, reason: StopReason) -> None:
        self._pieces.put_nowait(Stopped(reason))

    def end(self, spent: Spent | None = None) -> None:
        if spent is not None:
            self._pieces.put_nowait(spent)
        self._pieces.put_nowait(None)

    def fail(self, problem: BaseException) -> None:
        self._pieces.put_nowait(problem)

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        self.prompts.append(prompt)
        try:
            while (piece := await self._pieces.get()) is not None:
                if isinstance(piece, BaseException):
                    raise piece
                yield piece
        finally:
            self.closed += 1


LOST = OperationalError("server closed the connection unexpectedly")
UNAVAILABLE = LLMError("llm_unavailable", "The language model cannot be reached.")


async def until(holds: Callable[[], Any], what: str) -> Any:
    """Wait until something holds that the loop itself brings about."""
    until_s = time.monotonic() + WAIT_S
    while not (value := holds()):
        assert time.monotonic() < until_s, f"{what}: not within {WAIT_S:g} s"
        await asyncio.sleep(0.002)
    return value


async def until_asked(llm: LedLLM, times: int) -> None:
    await until(lambda: len(llm.prompts) == times, f"the LLM is asked, {times} times by now")


async def until_row(run: Run, **columns: Any) -> Run:
    """Wait until a run's row has these values."""
    until_s = time.monotonic() + WAIT_S
    while True:
        row: Run = await reading(Run.objects.select_related("agent").get, pk=run.pk)
        wrong = {name: getattr(row, name) for name, value in columns.items() if getattr(row, name) != value}
        if not wrong:
            return row
        assert time.monotonic() < until_s, f"the run is {wrong} instead of {columns}"
        await asyncio.sleep(0.005)


def process_of(worker_id: UUID) -> Runtime:
    """Give a runtime on the running loop, without its threads: what they would do is called by the test."""
    runtime = Runtime(worker_id=worker_id)
    runtime._loop = asyncio.get_running_loop()
    runtime._ticked_at = runtime._renewed_at = time.monotonic()
    return runtime


async def tick(runtime: Runtime) -> None:
    """Do what the lease thread does each second."""
    runtime._ticked_at = time.monotonic()
    await asyncio.to_thread(_renew, runtime)
    await asyncio.sleep(0)


def _renew(runtime: Runtime) -> None:
    from django.db import connections

    try:
        runtime._renew()
    finally:
        connections.close_all()


async def begun(runtime: Runtime, talk: Talk) -> Held:
    """Claim the next run of the talk and begin it."""
    await runtime.look_at(talk.pk)
    [held] = runtime.held.values()
    await until(lambda: held.has_begun, "it has begun")
    return held


async def answering(talk: Talk, runtime: Runtime, content: str = "Hello?", **more: Any) -> Held:
    """Say something, and begin to answer it."""
    await writing(talk.post, content, **more)
    return await begun(runtime, talk)


async def over(runtime: Runtime) -> None:
    await until(lambda: not runtime.held, "no run is left")


async def let_no_task_be_left(runtime: Runtime) -> None:
    await until(lambda: not runtime._tasks, "nothing is under way")


async def let_all_settle(runtime: Runtime) -> None:
    await until(lambda: not runtime._tasks and not runtime._looking, "everything has settled")


async def answers() -> list[str]:
    return await reading(lambda: list(Message.objects.filter(role="assistant").values_list("content", flat=True)))


async def types(talk: Talk) -> list[str]:
    return await reading(talk.types)


async def usage(run: Run) -> list[tuple[int, int, int]]:
    rows = Usage.objects.filter(run_id=run.pk).order_by("attempt")
    return await reading(lambda: list(rows.values_list("attempt", "input_tokens", "output_tokens")))


async def shown(run: Run, text: str, redis: Any) -> None:
    key = stream.draft_key(run.session_id, run.answer_id)
    await until(lambda: (redis.get(key) or b"").decode() == text, f"{text!r} is shown")


def forget_publishers() -> None:
    publish.publishers.clear()
