"""A time limit that only the other side can use up."""

import asyncio
from typing import Any

STOOD_S = 0.02  # a timer that comes so much too late tells that its loop stood
LOOKS = 10  # for that often: what is there is read in a few turns, and a loop that is always late must end, too


class Patience:
    """Like `asyncio.timeout`: raises TimeoutError. But time in which the event loop stood does not count.

    After a stall the timer is due in the same turn in which the loop sees what arrived long ago. `asyncio.timeout`
    would discard that answer, and a quick server would count as dead. This one lets the answer be read first.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._looks = LOOKS

    async def __aenter__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._limit = asyncio.timeout(None)
        await self._limit.__aenter__()
        self._look_at(self._loop.time() + self._seconds)

    def _look_at(self, due: float) -> None:
        self._due = due
        self._timer = self._loop.call_at(due, self._look)

    def _look(self) -> None:
        now = self._loop.time()
        if now - self._due > STOOD_S and self._looks:
            self._looks -= 1
            self._look_at(now + STOOD_S)
        else:
            self._limit.reschedule(now)

    async def __aexit__(self, *problem: Any) -> None:
        self._timer.cancel()
        await self._limit.__aexit__(*problem)
