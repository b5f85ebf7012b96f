"""One call of a tool, within its limits. What comes of it is an output, or a failure that says what is known."""

import asyncio
import contextvars
import logging
import threading
import traceback
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

from django.db import connections

from chat.clean import clean_text
from chat.database import reading, writing
from workers.tools.base import BadArgs, BadResult, Output, Tool, ToolContext, ToolError

log = logging.getLogger(__name__)

THREADS = 64  # of tools that are no coroutines
MESSAGE_CHARS = 2000
SHORT_CHARS = 2000
FRAMES = 5

_slots: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


class NotOurs(Exception):
    """The run may have been taken away, so the tool is not begun."""


class CallFailed(Exception):
    """A call that gave nothing. Where it `may_have_happened`, the tool was begun and did not say how it ended."""

    def __init__(self, code: str, message: str, *, may_have_happened: bool = False) -> None:
        super().__init__(message)
        self.code, self.message, self.may_have_happened = code, message, may_have_happened


async def call_tool(
    tool: Tool,
    args: Mapping[str, Any],
    context: ToolContext,
    *,
    is_ours: Callable[[], bool] | None = None,
    ask: Callable[[], Awaitable[None]] | None = None,
) -> Output:
    """Call a tool. Raises: CallFailed. Cancelling it cancels a coroutine, and leaves a thread to itself.

    `is_ours` is asked directly before the tool is begun, wherever that is; `ask` where there was a wait for room, and
    what it raises is raised.
    """
    try:
        call = tool.bind(args, context)
    except BadArgs as problem:
        raise CallFailed("bad_args", str(problem)) from None
    slots = await _room(tool, ask)
    try:
        begun = _begun(tool, call if is_ours is None else _if_ours(call, is_ours), slots)
        return await _read(tool, await _within(tool, asyncio.ensure_future(begun)))
    except NotOurs:
        raise CallFailed("not_called", "This was not called: its worker had lost touch with the database.") from None
    except ToolError as problem:
        raise CallFailed("tool_error", clean_text(str(problem))[:MESSAGE_CHARS] or "The tool failed.") from None
    except BadResult as problem:
        log.error("the tool %s gave what it does not say that it gives: %s", tool.name, str(problem))
        raise CallFailed("bad_result", "The tool has returned, but what it gave cannot be read.") from None
    except CallFailed:
        raise
    except Exception as problem:
        # Not its words: they may be those of people.
        frames = "".join(traceback.format_tb(problem.__traceback__)[-FRAMES:])
        log.error("the tool %s failed with %s:\n%s", tool.name, type(problem).__name__, frames)
        raise CallFailed("internal", "The tool failed in a way that it should not.", may_have_happened=True) from None


async def _room(tool: Tool, ask: Callable[[], Awaitable[None]] | None) -> asyncio.Semaphore | None:
    """Wait for one of the threads, where the tool needs one. Much may happen meanwhile, so it is asked afterwards."""
    if tool.is_async or tool.database:
        return None
    slots = _slots.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(THREADS))
    must_wait = slots.locked()
    try:
        async with asyncio.timeout(tool.timeout_s):
            await slots.acquire()
    except TimeoutError:
        raise CallFailed("busy", "Too many tools are at work. Nothing has happened.") from None
    if must_wait and ask is not None:
        try:
            await ask()
        except BaseException:
            slots.release()
            raise
    return slots


def _if_ours(call: Callable[[], Any], is_ours: Callable[[], bool]) -> Callable[[], Any]:
    def make() -> Any:
        if not is_ours():
            raise NotOurs
        return call()

    return make


def _begun(tool: Tool, call: Callable[[], Any], slots: asyncio.Semaphore | None) -> Awaitable[Any]:
    if slots is not None:
        return _in_a_thread(call, slots)
    if tool.database == "read":
        return reading(call)
    return writing(call) if tool.database else _on_the_loop(call)


async def _within(tool: Tool, task: "asyncio.Future[Any]") -> Any:
    """Wait for a call as long as it may take. One that will not be cancelled is not waited for."""
    try:
        done, _ = await asyncio.wait({task}, timeout=tool.timeout_s)
    finally:
        task.cancel()
    if not done:
        task.add_done_callback(_forget)
        text = f"The tool took longer than {tool.timeout_s:g} s."
        raise CallFailed("timeout", text, may_have_happened=True)
    if task.cancelled():
        raise CallFailed("internal", "The tool broke off.", may_have_happened=True)
    return task.result()


async def _read(tool: Tool, given: Any) -> Output:
    """Check what a tool gave: off the loop, which it would hold up for everybody, unless there is little to check."""
    if given is None or isinstance(given, int | float) or (isinstance(given, str) and len(given) <= SHORT_CHARS):
        return tool.read_result(given)
    return await asyncio.to_thread(tool.read_result, given)


def _forget(task: "asyncio.Future[Any]") -> None:
    if not task.cancelled():
        task.exception()  # else asyncio complains that nobody asked


async def _on_the_loop(call: Callable[[], Any]) -> Any:
    try:
        return await call()
    except (SystemExit, KeyboardInterrupt) as problem:  # these would end the loop, and all runs with it
        raise RuntimeError("a tool tried to end the process") from problem


def _in_a_thread(call: Callable[[], Any], slots: asyncio.Semaphore) -> "asyncio.Future[Any]":
    """Run it in a thread of its own, and give its slot back when that ends, whoever still waits for it.

    Not in one of an executor: those are waited for when the process ends, and one that hangs would keep it from ending.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()
    context = contextvars.copy_context()

    def settle(given: Any, problem: Exception | None) -> None:
        slots.release()
        if future.done():
            return  # nobody waits any more
        if problem is None:
            future.set_result(given)
        else:
            future.set_exception(problem)

    def work() -> None:
        given: Any = None
        problem: Exception | None = None
        try:
            given = context.run(call)
        except StopIteration:  # no future takes one
            problem = RuntimeError("a tool raised StopIteration")
        except Exception as raised:
            problem = raised
        except BaseException:
            problem = RuntimeError("a tool tried to end its thread")
        finally:
            connections.close_all()  # of a tool that uses rows without saying so
        with suppress(RuntimeError):  # the loop has ended before us
            loop.call_soon_threadsafe(settle, given, problem)

    threading.Thread(target=work, name="tool", daemon=True).start()
    return future
