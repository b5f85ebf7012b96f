"""Clocks that jump: by an hour, forth and back, while answers are written."""

import asyncio
import os
import time
from datetime import datetime
from pathlib import Path

from tests.chaos.matrix.paces import STEADY
from tests.chaos.matrix.scene import Found, NotPlayed, Scene, fault, off
from tests.debian import find_library
from tests.stack import Stack


def library() -> Path:
    """libfaketime, which shows a process another time. Raises NotPlayed."""
    try:
        return find_library("faketime/libfaketimeMT.so.1", "libfaketime")
    except RuntimeError as problem:
        raise NotPlayed(str(problem)) from None


# libfaketime 0.9.10, told to leave the monotonic clock alone, refuses to sleep until a time of it, as Python does. And
# unless it is forbidden to "fix" waits until such a time, threads that wait for the interpreter spin: seven times as
# much processor time.
SLEEPS = """
import select
import time
time.sleep = lambda seconds: select.select((), (), (), seconds) and None
"""


class Clock:
    """The wall clock of some processes: so many seconds off. What measures spans is left alone."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "clock"
        self.jump(0)
        (folder / "sitecustomize.py").write_text(SLEEPS)
        self.env = {
            "LD_PRELOAD": str(library()), "FAKETIME_TIMESTAMP_FILE": str(self.file), "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_FORCE_MONOTONIC_FIX": "0", "FAKETIME_DONT_RESET": "1",
            "PYTHONPATH": str(folder),
        }  # fmt: skip

    def jump(self, seconds: int) -> None:
        written = self.file.with_suffix(".new")
        written.write_text(f"{seconds:+d}\n")
        os.replace(written, self.file)


@fault(
    34,
    "clock jumps",
    "an hour forth and back: on Postgres the workers' clock, then the web processes'; on SQLite all of them together",
    "nothing is lost; where the database's clock stays, no answer begins anew",
)
async def clock_jumps(scene: Scene) -> Found:
    library()
    # On SQLite each jump forth counts as a crash: four, one after the other, are more than an answer is given.
    stack = scene.new_stack(webs=2, workers=2, env={"CHAT_CRASHES_MAX": "1000"})
    workers, webs = Clock(stack.folder), Clock(stack.folder / "data")
    for part, clock in [*((one, workers) for one in stack.workers), *((one, webs) for one in stack.webs)]:
        part.env = (part.env or {}) | clock.env
    await off(stack.start)
    # On SQLite the database's clock is that of whoever asks it: a machine's clock jumps for all at once.
    steps = [(workers, webs)] * 2 if scene.is_sqlite else [(workers,), (webs,)]
    times = 0
    async with scene.audience(stack, sessions=20, pace=STEADY) as audience:
        audience.start()
        for clocks in steps:
            for seconds in (3600, 0, -3600, 0):
                await audience.flowing(0.6)
                for clock in clocks:
                    clock.jump(seconds)
                times += 1
                await asyncio.sleep(1.5)
                await audience.growing(within_s=12)
        tally = await audience.stop()
        restarted = audience.restarts("worker_lost")
    await _was_seen(stack, webs)
    assert scene.is_sqlite or restarted == 0, f"{restarted} answers began anew"
    return Found(times, tally, f"{restarted} answers begun anew")


async def _was_seen(stack: Stack, clock: Clock) -> None:
    """Check that the jump reached a process: a fault that nobody felt proves nothing."""
    clock.jump(7200)
    client = stack.client(stack.person("ada"))
    at = (await client.get(f"/api/sessions/{await client.new_session()}/"))["created_at"]
    await client.close_http()
    off_by = datetime.fromisoformat(at.replace("Z", "+00:00")).timestamp() - time.time()
    assert abs(off_by - 7200) < 60, f"the clock of the web process is only {off_by:.0f} s off"
