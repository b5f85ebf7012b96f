"""Tests of `make test` that have a longer variant: as long, and with as many, as is promised."""

import asyncio
import os
import sys

from tests.chaos.matrix.scene import Found, Scene, fault
from tests.processes import ROOT

HOSTILE = "tests/chat/hostile"
PATIENT = {"CHAT_TEST_PATIENCE": "2"}  # the other database's faults are played at the same time


async def tested(*words: str, **env: str) -> str:
    """Run tests, and give what they said of what they measured. Raises AssertionError where one fails."""
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", *words]
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        env=os.environ | PATIENT | env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said = (await process.communicate())[0].decode(errors="replace")
    finally:
        if process.returncode is None:  # no time was left: what it started ends with it
            process.kill()
    told = [line for line in said.splitlines() if line.startswith(("E  ", "FAILED"))]
    assert process.returncode == 0, "\n".join(told[:40]) or said[-3000:]
    return said


def measured(said: str, *begin: str) -> str:
    """Of what tests said, the lines that begin so: pytest's own dots may come before."""
    lines = [line.lstrip(".") for line in said.splitlines()]
    return "; ".join(line for line in lines if line.startswith(begin))


@fault(
    28,
    "beside a thousand",
    "a socket that reads nothing of 15 MB, beside 999 that follow a session, on daphne and on uvicorn",
    "it costs at most 8 MiB beside what the others' messages take, and is given up in seconds; "
    "the 999 are told everything, in time",
    only="sqlite",
    within_s=240,
)
async def beside_a_thousand(scene: Scene) -> Found:
    said = await tested(HOSTILE, "-k", "never_reads_costs", CHAT_TEST_AUDIENCE="999")
    return Found(2, None, measured(said, "daphne:", "uvicorn:"))


@fault(
    39,
    "three thousand vanish",
    "60 waves of 50 sockets that vanish in the middle of an answer, on daphne and on uvicorn",
    "no hub, task, descriptor, thread, connection or subscription of theirs is left",
    only="sqlite",
    within_s=240,
)
async def three_thousand_vanish(scene: Scene) -> Found:
    said = await tested(HOSTILE, "-k", "vanish_in_the_middle", CHAT_TEST_WAVES="60")
    return Found(2 * 60 * 50, None, measured(said, "daphne:", "uvicorn:"))
