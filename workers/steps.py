"""The steps of a run: each call of a tool is written down, then made, then what it gave is written down."""

import asyncio
import json
import logging
import re
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from chat import metrics, tracing
from chat.actions import steps
from chat.actions.questions import Question, args_hash
from chat.actions.tool_calls import Change
from chat.actions.usage import Spending
from chat.database import reading
from chat.errors import Fenced
from chat.failpoints import afailpoint
from chat.models import Interrupt, Run, ToolCall, User
from workers.bill import as_saved
from workers.ledger import DOUBTED, plan
from workers.llm.base import Called, Line, Returned
from workers.llm.base import ToolCall as Wanted
from workers.runtime import DRAINED, Held
from workers.surely import surely
from workers.tools import Tool, ToolContext
from workers.tools.base import BadArgs, Output
from workers.tools.call import CallFailed, call_tool

log = logging.getLogger(__name__)

Status, Effect = ToolCall.Status, ToolCall.Effect

CALLS_MAX = 32  # made in one step
CALLS_KEPT = 128  # written down; an LLM that asks for more has lost count, and is told nothing of the rest
CALL_ID = re.compile(r"[A-Za-z0-9_-]{1,40}")  # what every LLM's wire takes
FINISH_S = 4.0  # for a call that must not be made twice, when the worker has to go


class Steps:
    """The steps of one run, as far as this attempt knows them."""

    def __init__(self, held: Held, tools: Mapping[str, Tool], doubted: Collection[str] = ()) -> None:
        self.held = held
        self.run: Run = held.run
        self.tools = tools
        self._doubted = doubted  # by their hashes: earlier runs made these calls for the same question, or did not
        self.calls: list[ToolCall] = []  # of the last step
        self._call_ids: set[str] = set()  # of all steps
        self._asked: dict[UUID, Interrupt] = {}
        self._user: User | None = None
        self._owned_at = time.monotonic()  # when the row was last known to be ours, or a little before

    @property
    def count(self) -> int:
        return len(self.run.state.get("steps", ()))

    async def resume(self, joined: Mapping[int, Sequence[Line]]) -> list[Line]:
        """Give the talk of the steps so far; `calls` are then those of the last one, which may be unfinished.

        `joined` is what people sent meanwhile, by the step that read it.
        """
        if not self.count:
            return []
        everything = await surely(steps.calls_of, self.run, by=reading)
        self._asked = await surely(steps.asked_of, self.run, by=reading)
        self.calls = [call for call in everything if call.step == self.count - 1]
        self._call_ids = {call.call_id for call in everything}
        lines: list[Line] = []
        for index in range(self.count - 1):
            lines += self._lines(index, [call for call in everything if call.step == index])
            lines += joined.get(index + 1, ())
        return lines

    async def begin(self, text: str, asked: Sequence[Wanted], seconds: float, spent: Sequence[Spending] = ()) -> bool:
        """Save what the LLM wrote and called for; give whether its text became a message of its own.

        `seconds` and `spent` are what the run took so far: if its worker dies, nobody else knows.
        """
        index = self.count
        self.calls = [self._entry(index, place, one) for place, one in enumerate(named_apart(asked, self._call_ids))]
        for entry in self.calls:
            if entry.status == Status.FAILED:
                metrics.TOOL_CALLS.labels(entry.tool if entry.tool in self.tools else "unknown", "failed").inc()
        self._asked = {}
        todo = plan(self.calls, {}, self.run.attempt, self.tools)
        for change in [*todo.settled, *todo.started]:
            change.apply()
        is_said = bool(text.strip())
        step = {
            "step_id": str(uuid4()),
            "name": "tools",
            "text": text,
            "tool_call_ids": [str(call.pk) for call in self.calls],
        }
        state = {
            **self.run.state,
            "steps": [*self.run.state.get("steps", ()), step],
            "seconds": round(seconds, 3),
            "spent": as_saved(self.run, spent),
        }
        answer_id = uuid4() if is_said else self.run.answer_id
        assert answer_id is not None
        self._owned_at = time.monotonic()
        await surely(steps.begin_step, self.run, state, text, answer_id, self.calls)
        self.run.state, self.run.answer_id, self.run.drafts = state, answer_id, [str(answer_id)]
        return is_said

    async def finish(self) -> list[Question]:
        """Make the calls of the last step, as far as that can be done without people; give what these are to settle."""
        now = self.run.attempt
        await self._make([call for call in self.calls if call.status == Status.CALLED and call.attempt == now])
        while True:
            todo = plan(self.calls, self._asked, now, self.tools)
            changes = [*todo.settled, *todo.started]
            if not changes:
                return todo.questions
            await self._record(*changes)
            await self._make([change.call for change in todo.started])

    def lines(self) -> list[Line]:
        """What the LLM reads of the last step: its own words and calls, and what these came to."""
        return self._lines(self.count - 1, self.calls)

    def _lines(self, index: int, calls: Sequence[ToolCall]) -> list[Line]:
        asked = tuple(Wanted(call.call_id, call.tool, call.args_json) for call in calls)
        return [
            Called(self.run.state["steps"][index]["text"], asked),
            *(Returned(call.call_id, call.tool, self._told(call), call.status != Status.RETURNED) for call in calls),
        ]

    def _told(self, call: ToolCall) -> str:
        """What the LLM reads of a call. Where a person has edited its arguments, that is told, too."""
        tool = self.tools.get(call.tool)
        if tool is None or not (call.calls and call.needs_approval):
            return call.text
        with suppress(BadArgs):  # as they were checked, an address or a time is written in another way
            if tool.read_args(call.args_json) == call.args:
                return call.text
        return f"A person changed the arguments to {json.dumps(call.args, ensure_ascii=False)}.\n{call.text}"

    def _entry(self, step: int, index: int, asked: Wanted) -> ToolCall:
        """Write down what the LLM asks for, as far as it can be read at all."""
        entry = ToolCall(
            session_id=self.run.session_id,
            run_id=self.run.pk,
            step=step,
            index=index,
            call_id=asked.call_id,
            tool=asked.tool,
            args_json=asked.args_json,
            effect=Effect.PURE,
            access=ToolCall.Access.READ,
            status=Status.HELD,
        )
        if index >= CALLS_MAX:
            return _failed(entry, "too_many_calls", f"Not called: no more than {CALLS_MAX} calls are made at once.")
        tool = self.tools.get(asked.tool)
        if tool is None:
            return _failed(entry, "unknown_tool", f"There is no tool {asked.tool}.")
        entry.effect, entry.access, entry.needs_approval = tool.effect, tool.access, tool.needs_approval
        try:
            entry.args = tool.read_args(asked.args_json)
        except BadArgs as problem:
            return _failed(entry, "bad_args", str(problem))
        if self._doubted and args_hash(entry.tool, entry.args) in self._doubted:
            entry.status, entry.error = Status.UNKNOWN, DOUBTED  # as if this run had lost it: a person is asked
        elif tool.needs_approval or tool.asks:
            entry.status = Status.WAITING
        return entry

    # --- calling ------------------------------------------------------------------------------------------------------
    async def _make(self, calls: Sequence[ToolCall]) -> None:
        """Make calls side by side, and write down what each gives, as soon as it does."""
        if not calls:
            return
        if self._user is None:
            self._user = await surely(lambda: self.run.user, by=reading)
        tasks = {asyncio.ensure_future(self._one(call)): call for call in calls}
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError:
            await self._leave(tasks)
            raise
        for task in tasks:
            task.result()

    async def _leave(self, tasks: Mapping[asyncio.Task[None], ToolCall]) -> None:
        """Stop. A worker that has to go waits for what cannot be called again, as long as it may."""
        draining = self.held.why == DRAINED
        kept = {task for task, call in tasks.items() if draining and call.effect != Effect.PURE}
        for task in tasks.keys() - kept:
            task.cancel()
        if kept:
            await asyncio.wait(kept, timeout=FINISH_S)
            for task in kept:
                task.cancel()
        await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled() and (problem := task.exception()):
                log.info("a call of run %s was left: %s", self.run.pk, type(problem).__name__)

    async def _one(self, call: ToolCall) -> None:
        tool = self.tools[call.tool]
        assert self._user is not None
        context = ToolContext(self.run.session_id, self.run.pk, call.pk, self._user, str(call.pk))
        with _Measured(call):
            await afailpoint("tool.call")
            try:
                if not self._user.is_active:
                    raise CallFailed("not_called", "This was not called: whoever asked for it has no access any more.")
                columns = returned(await self._call(tool, call, context))
            except CallFailed as problem:
                columns = failed(problem, call)
            await afailpoint("tool.made")
            await self._record(Change(call, columns))

    async def _call(self, tool: Tool, call: ToolCall, context: ToolContext) -> Output:
        """Make a call. One that is not pure is not begun where others may have taken the run, and ask about it."""
        if call.effect == Effect.PURE:
            return await call_tool(tool, call.args, context)
        is_ours = partial(self.held.kept_since, self._owned_at)
        return await call_tool(tool, call.args, context, is_ours=is_ours, ask=self._ask)

    async def _ask(self) -> None:
        """Ask the row whether the run is still ours. Raises `Fenced`."""
        if not await surely(steps.is_held, self.run, by=reading):
            raise Fenced

    async def _record(self, *changes: Change) -> None:
        if any(change.columns["status"] == Status.CALLED for change in changes):
            self._owned_at = time.monotonic()
        await surely(steps.record_calls, self.run, changes)
        for change in changes:
            change.apply()


class _Measured:
    """One call, counted, timed and traced; without a word of what it was called with or gave."""

    def __init__(self, call: ToolCall) -> None:
        self._call = call

    def __enter__(self) -> None:
        self._span = tracing.loose("tool", tool=self._call.tool, effect=self._call.effect, call=self._call.calls)
        self._begun = time.monotonic()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        status = self._call.status if kind is None else "broken_off"
        metrics.TOOL_CALLS.labels(self._call.tool, status).inc()
        metrics.TOOL_CALL.labels(self._call.tool).observe(time.monotonic() - self._begun)
        if status != Status.RETURNED:
            tracing.failed(self._span, status)
        self._span.end()


MAY_HAVE = "It may have taken effect all the same."


def returned(output: Output) -> dict[str, Any]:
    return {"status": Status.RETURNED, "result": output.result, "text": output.text, "error": None}


def failed(problem: CallFailed, call: ToolCall) -> dict[str, Any]:
    """What a failure makes of a call: of one that must not be made twice nobody may know what became."""
    error = {"code": problem.code, "message": problem.message}
    if problem.may_have_happened and call.effect == Effect.ONCE:
        return {"status": Status.UNKNOWN, "error": error}
    text = (
        f"{problem.message} {MAY_HAVE}" if problem.may_have_happened and call.effect != Effect.PURE else problem.message
    )
    return {"status": Status.FAILED, "error": error, "text": text}


def _failed(entry: ToolCall, code: str, message: str) -> ToolCall:
    entry.status, entry.error, entry.text = Status.FAILED, {"code": code, "message": message}, message
    return entry


def named_apart(asked: Sequence[Wanted], taken: set[str]) -> list[Wanted]:
    """Give calls that any LLM's wire takes back: each with an id of its own, and a name that could be one.

    `taken` are the ids of the run's calls so far; these are added.
    """
    apart = []
    for one in asked[:CALLS_KEPT]:
        call_id = one.call_id
        while call_id in taken or not CALL_ID.fullmatch(call_id):
            call_id = uuid4().hex[:9]  # so long are Mistral's, which takes no others
        taken.add(call_id)
        name = re.sub(r"[^A-Za-z0-9_-]", "_", one.tool)[:64] or "nothing"
        apart.append(Wanted(call_id, name, one.args_json))
    return apart
