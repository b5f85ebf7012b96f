"""Operating-system processes that a test starts: with a log each, stopped and killed at will, and never left behind."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent
# Everything that waits for another process waits this many times longer on a slow machine.
PATIENCE = float(os.environ.get("CHAT_TEST_PATIENCE", "1"))

_LEASH = """
import os, signal, sys
groups = set()
for line in sys.stdin:
    (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass
"""


class _Leash:
    """Ends all that this process started when it is gone, however it went: the pipe closes, and a helper of ours acts.

    `PR_SET_PDEATHSIG` would do it on Linux alone, and fires already when the starting *thread* ends.
    """

    def __init__(self) -> None:
        self._pipe: subprocess.Popen[str] | None = None
        self._owner = 0

    def _tell(self, line: str) -> None:
        if self._pipe is None or self._owner != os.getpid():
            self._owner = os.getpid()
            command = [sys.executable, "-S", "-c", _LEASH]
            # A session of its own: Ctrl-C reaches the tests, and the leash outlives them.
            self._pipe = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True)
        assert self._pipe.stdin is not None
        self._pipe.stdin.write(line + "\n")
        self._pipe.stdin.flush()

    def hold(self, pid: int) -> None:
        self._tell(f"+{pid}")

    def release(self, pid: int) -> None:
        self._tell(f"-{pid}")


LEASH = _Leash()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def eventually(holds: Callable[[], Any], what: str, within_s: float = 20.0, every_s: float = 0.02) -> Any:
    """Wait until something holds, and give what it gave. Raises AssertionError when it does not come true."""
    until = time.monotonic() + within_s * PATIENCE
    while not (value := holds()):
        assert time.monotonic() < until, f"{what}: not within {within_s:g} s"
        time.sleep(every_s)
    return value


def listens(port: int, host: str = "127.0.0.1") -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((host, port)) == 0


class Process:
    """One process, in a session of its own. Restarting it appends to the same log."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
        ready: Callable[["Process"], bool] = lambda process: True,
        popen: Mapping[str, Any] | None = None,
    ) -> None:
        self.name, self.command, self.log, self.cwd, self.ready = name, [str(part) for part in command], log, cwd, ready
        self.env = dict(env) if env is not None else None
        self.popen = dict(popen or {})
        self._process: subprocess.Popen[Any] | None = None
        self.started_at_byte = 0

    def __repr__(self) -> str:
        return f"<{self.name} {'pid ' + str(self.pid) if self.alive else 'not running'}>"

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} was never started"
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def spawn(self) -> Self:
        """Start it, and do not wait until it is ready."""
        assert not self.alive, f"{self.name} runs already"
        with self.log.open("ab") as log:
            self.started_at_byte = log.tell()
            streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            options = streams | self.popen
            self._process = subprocess.Popen(
                self.command, env=self.env, cwd=self.cwd, start_new_session=True, **options
            )
        LEASH.hold(self.pid)
        return self

    def wait_ready(self, within_s: float = 30.0) -> Self:
        def is_ready() -> bool:
            assert self.alive, f"{self.name} ended at once:\n{self.tail()}"
            return self.ready(self)

        try:
            eventually(is_ready, f"{self.name} is ready", within_s)
        except AssertionError as problem:
            raise AssertionError(f"{problem}\n{self.tail()}") from None
        return self

    def start(self) -> Self:
        return self.spawn().wait_ready()

    def signal(self, number: int) -> None:
        if self.alive:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.signal(signal.SIGKILL)
        self.wait()

    def freeze(self) -> None:
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def terminate(self) -> None:
        """Ask it to end, and return at once."""
        self.signal(signal.SIGTERM)

    def wait(self, within_s: float = 15.0) -> int:
        """Wait for its end, and give its exit code. Raises AssertionError when it goes on."""
        assert self._process is not None
        try:
            code = self._process.wait(within_s * PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} still runs after {within_s:g} s:\n{self.tail()}") from None
        LEASH.release(self._process.pid)
        return code

    def end(self) -> None:
        """Clean up, whatever state it is in."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            LEASH.release(self._process.pid)

    def text(self, *, since_start: bool = True) -> str:
        """Give what it wrote."""
        with self.log.open("rb") as log:
            log.seek(self.started_at_byte if since_start else 0)
            return log.read().decode(errors="replace")

    def tail(self, lines: int = 40) -> str:
        return "\n".join(self.text(since_start=False).splitlines()[-lines:])
