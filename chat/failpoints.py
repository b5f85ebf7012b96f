"""Named places where a test may stop, delay or kill a process; in normal life a dictionary look-up.

`CHAT_FAILPOINTS="enqueue=exit,subscribe.read=sleep:0.3,claim.committed=exit@3,hub.read=jitter:0.1,tool.made=rest:60"`:
die there, wait there, die there the third time, and, between the steps of a coroutine, let the loop go on for up to so
many seconds at random, or for so many. Tests in the same process put a callable into `armed`; on an event loop it may
be a coroutine function.
"""

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable

armed: dict[str, Callable[[], Awaitable[None] | None]] = {}


def failpoint(name: str) -> None:
    if armed and (act := armed.get(name)):
        act()


async def afailpoint(name: str) -> None:
    """Likewise between two steps of a coroutine: what is armed may await, while the rest of the loop goes on."""
    if armed and (act := armed.get(name)) and (going := act()) is not None:
        await going


def _parse(action: str) -> Callable[[], Awaitable[None] | None]:
    action, _, nth = action.partition("@")
    verb, _, value = action.partition(":")
    seen = 0

    def act() -> Awaitable[None] | None:
        nonlocal seen
        seen += 1
        if nth and seen != int(nth):
            return None
        if verb == "exit":
            os._exit(1)  # as a SIGKILL would: no clean-up, no flush
        elif verb == "sleep":
            time.sleep(float(value))
        elif verb == "jitter":
            return asyncio.sleep(random.uniform(0, float(value)))  # noqa: S311 - no secret
        elif verb == "rest":
            return asyncio.sleep(float(value))
        else:
            raise ValueError(f"CHAT_FAILPOINTS: unknown action {verb!r}")
        return None

    return act


for _entry in filter(None, os.environ.get("CHAT_FAILPOINTS", "").split(",")):
    _name, _, _action = _entry.partition("=")
    armed[_name] = _parse(_action)
