"""Nothing outlives the launcher, and the launcher does not outlive `make`, whatever signal took them."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

LINUX = sys.platform == "linux"
PR_SET_PDEATHSIG = 1


def tied_to_us() -> Callable[[], None] | None:
    """What a child runs before its program starts, so that the kernel kills it when we die (Linux).

    The kernel watches the *thread* that forked: start every part from the main thread.
    """
    if not LINUX:
        return None
    libc, us = ctypes.CDLL(None), os.getpid()

    def tie() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != us:  # we died before the tie was made
            os._exit(1)

    return tie


class Guard:
    """Where the kernel keeps no such watch, a small process of our own does: it reads pids until its pipe closes."""

    def __init__(self, *, needed: bool = not LINUX) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        if needed:
            self._process = subprocess.Popen(
                [sys.executable, __file__], stdin=subprocess.PIPE, start_new_session=True, bufsize=0
            )

    def add(self, pid: int) -> None:
        self._tell(f"+{pid}\n")

    def remove(self, pid: int) -> None:
        self._tell(f"-{pid}\n")

    def _tell(self, line: str) -> None:
        if self._process and self._process.stdin:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(line.encode())

    def close(self) -> None:
        if self._process and self._process.stdin:
            self._process.stdin.close()
            self._process.wait()


def keep_guard() -> None:
    held: set[int] = set()
    for line in sys.stdin:
        (held.add if line[0] == "+" else held.discard)(int(line[1:]))
    for pid in held:
        with contextlib.suppress(OSError):
            os.killpg(pid, signal.SIGKILL)


class Parent:
    """The process that we run for. `make` passes its own id: it may be gone before we can ask."""

    def __init__(self, pid: int | None) -> None:
        self.pid = pid or os.getppid()
        self._is_make = pid is not None and self._catches_interrupt()

    def is_leaving(self) -> bool:
        if os.getppid() != self.pid:
            return True
        # An interrupt sent to make alone (not to its group, as a terminal does) makes it give up its handler and wait
        # for us without telling us. That is all there is to see of it.
        return self._is_make and not self._catches_interrupt()

    def _catches_interrupt(self) -> bool:
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
        except OSError:
            return False
        caught = next((line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")), "0")
        return bool(int(caught, 16) >> (signal.SIGINT - 1) & 1)


if __name__ == "__main__":
    keep_guard()
