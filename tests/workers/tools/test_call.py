"""One call of a tool: in time, in a thread or on the loop, and never more of them than there is room for."""

import asyncio
import contextvars
import threading
import time
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection

from chat.models import User
from workers.tools import Tool, ToolContext, ToolError, tool
from workers.tools import call as calling
from workers.tools.call import CallFailed, call_tool

CONTEXT = ToolContext(uuid4(), uuid4(), uuid4(), User(username="ada"), "key")


async def failure(made: Any, **args: Any) -> CallFailed:
    with pytest.raises(CallFailed) as raised:
        await call_tool(made, args, CONTEXT)
    return raised.value


async def test_a_function_runs_in_a_thread_that_knows_where_it_is_and_a_coroutine_on_the_loop() -> None:
    here: contextvars.ContextVar[str] = contextvars.ContextVar("here", default="nowhere")
    here.set("in the run")
    seen: list[tuple[threading.Thread, str]] = []

    @tool(effect="pure", access="read")
    def apart() -> None:
        """Note where."""
        seen.append((threading.current_thread(), here.get()))

    @tool(effect="pure", access="read")
    async def together() -> None:
        """Note where."""
        seen.append((threading.current_thread(), here.get()))

    await call_tool(apart, {}, CONTEXT)
    await call_tool(together, {}, CONTEXT)
    (thread, first), (main, second) = seen
    assert thread.daemon and thread is not main is threading.current_thread()
    assert first == second == "in the run"


@pytest.mark.parametrize("kind", ["read", "write"])
async def test_one_that_uses_the_database_runs_where_a_connection_is(db: None, kind: Any) -> None:
    @tool(effect="pure", access="read", database=kind)
    def count(context: ToolContext) -> str:
        """Count."""
        User.objects.count()
        return threading.current_thread().name

    assert (await call_tool(count, {}, CONTEXT)).text.startswith(f"database-{kind}")


async def test_one_that_uses_the_database_without_saying_so_leaves_no_connection_behind(db: None) -> None:
    left: list[Any] = []

    @tool(effect="pure", access="read")
    def count() -> int:
        """Count."""
        found = User.objects.count()
        left.append(connection.connection)
        left.append(connection)
        return found

    await call_tool(count, {}, CONTEXT)
    assert left[0] is not None


async def test_each_failure_says_whether_it_may_have_happened(caplog: pytest.LogCaptureFixture) -> None:
    words = "@".join(["ada", "example.com"])

    @tool(effect="once", access="write")
    async def act(how: str) -> int:
        """Act."""
        if how == "error":
            raise ToolError("The card\0 was declined." + "x" * 5000)
        if how == "bug":
            raise KeyError(words)
        if how == "exit":
            raise SystemExit(1)
        if how == "cancel":
            raise asyncio.CancelledError
        if how == "wrong":
            return words  # type: ignore[return-value]
        return 1

    known = {
        "error": ("tool_error", False),
        "bug": ("internal", True),
        "exit": ("internal", True),
        "cancel": ("internal", True),
        "wrong": ("bad_result", False),
    }
    for how, (code, may_have_happened) in known.items():
        problem = await failure(act, how=how)
        assert (problem.code, problem.may_have_happened) == (code, may_have_happened), how
        assert "\0" not in problem.message and len(problem.message) <= 2000
    assert (await failure(act, how=1)).code == "bad_args"
    assert "int_type" in caplog.text and "KeyError" in caplog.text and "test_call.py" in caplog.text, (
        "whoever wrote it can find it"
    )
    assert words not in caplog.text, "and nobody's words are in the log"


async def test_a_coroutine_that_will_not_be_cancelled_is_not_waited_for() -> None:
    go_on = asyncio.Event()

    @tool(effect="pure", access="read", timeout_s=0.02)
    async def stubborn() -> None:
        """Stay."""
        while not go_on.is_set():
            try:
                await go_on.wait()
            except asyncio.CancelledError:
                continue

    begun = time.monotonic()
    assert (await failure(stubborn)).code == "timeout"
    assert time.monotonic() - begun < 5
    go_on.set()
    await asyncio.sleep(0)


async def test_there_is_room_for_so_many_threads_and_one_that_hangs_keeps_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(calling, "THREADS", 2)
    go_on, begun = threading.Event(), threading.Semaphore(0)

    @tool(effect="once", access="read", timeout_s=0.05)
    def hang() -> None:
        """Hang."""
        begun.release()
        go_on.wait(20)

    for _ in range(2):
        assert (await failure(hang)).code == "timeout"
    problem = await failure(hang)
    assert (problem.code, problem.may_have_happened) == ("busy", False), "it was never begun"
    go_on.set()

    @tool(effect="once", access="read", timeout_s=20)
    def work() -> str:
        """Work."""
        return "done"

    for _ in range(3):
        assert (await call_tool(work, {}, CONTEXT)).text == "done"
    assert begun.acquire(blocking=False) and begun.acquire(blocking=False) and not begun.acquire(blocking=False)


async def test_whoever_is_cancelled_gives_the_place_back_when_the_thread_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calling, "THREADS", 1)
    go_on, begun = threading.Event(), threading.Event()

    @tool(effect="once", access="read", timeout_s=20)
    def work() -> str:
        """Work."""
        begun.set()
        go_on.wait(20)
        return "done"

    task = asyncio.ensure_future(call_tool(work, {}, CONTEXT))
    await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    assert (await call_tool(work, {}, CONTEXT)).text == "done"


async def test_what_a_tool_gives_is_read_beside_the_loop_unless_it_is_little(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    where: list[bool] = []
    read = Tool.read_result

    def noted(made: Tool, given: Any) -> Any:
        where.append(threading.current_thread() is threading.main_thread())
        return read(made, given)

    monkeypatch.setattr(Tool, "read_result", noted)

    @tool(effect="pure", access="read")
    async def give(count: int) -> Any:
        """Give."""
        return "x" * count if count < 10_000 else [{"number": number} for number in range(count)]

    @tool(effect="pure", access="read", database="read")
    def rows() -> list[int]:
        """Give."""
        return [1, 2]

    for count in (10, 9999, 10_000):
        await call_tool(give, {"count": count}, CONTEXT)
    await call_tool(rows, {}, CONTEXT)
    assert where == [True, False, False, False]
