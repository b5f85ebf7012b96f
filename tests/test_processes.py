"""The tests' own processes: started, killed, frozen, started again, and gone whatever happens to the tests."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.processes import ROOT, Process, eventually
from tests.servers import Redis


def exists(pid: int) -> bool:
    """Whether a process runs; one that is dead and only waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
    except OSError:
        pass
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], check=False, text=True, capture_output=True)
    return bool(done.stdout.strip()) and "Z" not in done.stdout


def test_a_killed_redis_comes_back_empty_at_the_same_address(tmp_path: Path) -> None:
    redis = Redis(tmp_path)
    redis.start()
    try:
        redis.client().set("a", "1")
        redis.kill()
        assert not redis.alive
        redis.start()
        assert redis.client().get("a") is None
        redis.client().set("b", "2")
        redis.flush()
        assert redis.client().dbsize() == 0
    finally:
        redis.end()


def test_a_process_that_cannot_start_shows_why(tmp_path: Path) -> None:
    failing = Process("failing", [sys.executable, "-c", "raise SystemExit('no such thing')"], tmp_path / "log")
    failing.ready = lambda _: False
    with pytest.raises(AssertionError, match=r"(?s)ended at once.*no such thing"):
        failing.start()
    failing.end()


def test_a_frozen_process_is_ended_too(tmp_path: Path) -> None:
    sleeping = Process("sleeping", [sys.executable, "-c", "import time; time.sleep(60)"], tmp_path / "log").start()
    sleeping.freeze()
    sleeping.end()
    assert not sleeping.alive and not exists(sleeping.pid)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_everything_ends_with_the_tests_even_when_they_are_killed(tmp_path: Path, number: int) -> None:
    script = (
        "import sys, time; from pathlib import Path; from tests.processes import Process\n"
        "one = Process('one', [sys.executable, '-c', 'import time; time.sleep(60)'], Path(sys.argv[1])).start()\n"
        "print(one.pid, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "log")]
    tests = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert tests.stdout
    pid = int(tests.stdout.readline())
    assert exists(pid)
    os.kill(tests.pid, number)
    tests.wait()
    tests.stdout.close()
    eventually(lambda: not exists(pid), "the process is gone", 5)


def test_waiting_ends_with_a_clear_word() -> None:
    started = time.monotonic()
    with pytest.raises(AssertionError, match=r"the moon is blue: not within 0\.1 s"):
        eventually(lambda: False, "the moon is blue", 0.1)
    assert time.monotonic() - started < 5
