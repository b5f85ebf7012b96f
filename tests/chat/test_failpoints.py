"""Places where a test stops, delays or kills a process."""

import asyncio
import subprocess
import sys
import time

import pytest

from chat import failpoints
from chat.failpoints import afailpoint, failpoint
from tests.processes import ROOT


def run(failpoints: str, code: str) -> tuple[int, str]:
    code = "from chat.failpoints import failpoint\n" + code
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        env={"CHAT_FAILPOINTS": failpoints},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_failpoint_that_nobody_armed_does_nothing() -> None:
    assert not failpoints.armed
    failpoint("claim.commit")


def test_a_test_puts_its_own_act_behind_a_name() -> None:
    seen: list[str] = []
    failpoints.armed["here"] = lambda: seen.append("here")
    try:
        failpoint("here")
        failpoint("there")
    finally:
        del failpoints.armed["here"]
    assert seen == ["here"]


def test_exit_ends_the_process_at_once_without_any_cleaning_up() -> None:
    code, said = run("a=exit", "try:\n    failpoint('a')\nfinally:\n    print('cleaned up', flush=True)")
    assert (code, said) == (1, "")


def test_exit_at_the_third_time_lets_two_pass() -> None:
    code, said = run("other=exit,a=exit@3", "for n in range(5):\n    failpoint('a'); print(n, flush=True)")
    assert (code, said.split()) == (1, ["0", "1"])


def test_sleep_delays() -> None:
    act = failpoints._parse("sleep:0.05")
    began = time.monotonic()
    act()
    assert time.monotonic() - began >= 0.05


async def test_a_rest_lets_the_loop_go_on_for_as_long_as_it_says() -> None:
    failpoints.armed["here"] = failpoints._parse("rest:0.03")
    begun, went_on = time.monotonic(), asyncio.get_running_loop().call_later(0.005, lambda: None)
    await afailpoint("here")
    assert time.monotonic() - begun >= 0.03 and went_on.when() < asyncio.get_running_loop().time()


async def test_jitter_lets_the_rest_of_the_loop_go_on() -> None:
    failpoints.armed["here"] = failpoints._parse("jitter:0.05")
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    turning = asyncio.create_task(others())
    try:
        for _ in range(10):
            await afailpoint("here")
    finally:
        turning.cancel()
        del failpoints.armed["here"]
    assert turns > 10


def test_an_unknown_action_is_an_error_and_not_a_silent_pass() -> None:
    with pytest.raises(ValueError, match="unknown action 'explode'"):
        failpoints._parse("explode")()
