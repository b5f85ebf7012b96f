"""One process of a stack: started, watched, started again when it dies, stopped in the end."""

import contextlib
import os
import signal
import subprocess
import time
from collections import deque

from chatproject.launch.lifeline import Guard, tied_to_us
from chatproject.launch.plan import ROOT, Plan, StartFailed, write_whole

TAIL_LINES = 25
# A part may die three times in ten seconds and come back at once; after that, something is wrong that haste won't cure.
DEATHS, DEATHS_WITHIN_S, PAUSE_S = 3, 10.0, 2.0


class Part:
    def __init__(self, name: str, command: list[str], environ: dict[str, str], plan: Plan, guard: Guard) -> None:
        self.name = name
        self._command = command
        self._environ = environ
        self._log = plan.log(name)
        self._pid_file = plan.pid_file(name)
        self._guard = guard
        self._process: subprocess.Popen[bytes] | None = None
        self._deaths: deque[float] = deque(maxlen=DEATHS + 1)
        self._start_at = 0.0

    def start(self) -> None:
        """Start it in a session of its own: the terminal's Ctrl-C is for the launcher, which knows the order."""
        try:
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    self._command,
                    cwd=ROOT,
                    env=self._environ,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    preexec_fn=tied_to_us(),  # noqa: PLW1509 — the launcher has one thread
                )
        except OSError as error:
            raise StartFailed(f"{self.name} cannot be started: {error}.") from error
        self._guard.add(self._process.pid)
        try:
            write_whole(self._pid_file, f"{self._process.pid}\n")
        except OSError:  # a full disk, say: better no file than one that names another process
            with contextlib.suppress(OSError):
                self._pid_file.unlink(missing_ok=True)

    def exit_code(self) -> int | None:
        """How it ended (a signal as a negative number); None while it runs."""
        return self._process.poll() if self._process else None

    def tend(self) -> str | None:
        """Start it again if it died. Tell what happened, when something did."""
        code = self.exit_code()
        if code is None:
            return None
        now = time.monotonic()
        if not self._start_at:
            self._forget()
            self._deaths.append(now)
            hasty = len(self._deaths) > DEATHS and now - self._deaths[0] < DEATHS_WITHIN_S
            self._start_at = now + PAUSE_S if hasty else now
        if now < self._start_at:
            return None
        self._start_at = 0.0
        try:
            self.start()
        except StartFailed as problem:  # there is no memory just now, or no room: the other parts live on
            self._start_at = now + PAUSE_S
            return str(problem)
        return f"{self.name} ended ({describe(code)}) and was started again; its log is {self._log}"

    def ask_to_stop(self) -> None:
        self._signal(signal.SIGTERM)

    def is_gone(self) -> bool:
        return self._process is None or self.exit_code() is not None

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        if self._process:
            self._process.wait()

    def bury(self) -> None:
        self._forget()
        self._pid_file.unlink(missing_ok=True)

    def tail(self) -> str:
        try:
            with self._log.open("rb") as log:
                log.seek(0, os.SEEK_END)
                log.seek(max(0, log.tell() - 16_384))
                lines = log.read().decode(errors="replace").splitlines()
        except OSError:
            lines = []
        return "\n".join(f"  {line}" for line in lines[-TAIL_LINES:])

    def _signal(self, number: signal.Signals) -> None:
        if self._process and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def _forget(self) -> None:
        if self._process:
            self._guard.remove(self._process.pid)


def describe(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit {code}"
