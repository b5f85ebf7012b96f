"""A stack as `make run` starts it: a launcher of its own, its parts, and what lives of them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from http.client import HTTPException
from pathlib import Path

from chatproject.launch.plan import ROOT
from tests.processes import free_port

PARTS = ("redis", "web", "worker", "beat")
RECIPE = "run:\n\t@exec {python} -m chatproject.launch --parent $$PPID\n"


class Launched:
    """`with_make`: the parent is a real make with the Makefile's recipe, but without the set-up before it."""

    def __init__(
        self, data: Path, *, port: int = 0, with_make: bool = False, settings: Mapping[str, str] | None = None
    ) -> None:
        self.data = data
        self.ready_line = ""
        self.port = port or free_port()
        command = [sys.executable, "-m", "chatproject.launch"]
        if with_make:
            makefile = data.with_suffix(".mk")
            makefile.write_text(RECIPE.format(python=sys.executable))
            command = ["make", "-f", str(makefile), "run"]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CHAT_")}
        for name in ("REDIS_URL", "DATABASE_URL", "HOST", "MAKEFLAGS", "MAKELEVEL", "DJANGO_SETTINGS_MODULE"):
            kept.pop(name, None)
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={
                **kept,
                "PORT": str(self.port),
                "CHAT_DATA_DIR": str(data),
                "CHAT_REDIS": "embedded",
                **(settings or {}),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # As at a terminal: where the tests run in the background, an interrupt is ignored by all who inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )

    def until_ready(self) -> str:
        assert self.process.stdout and self.process.stderr
        self.ready_line = self.process.stdout.readline()
        assert self.ready_line, f"it did not start: {self.process.stderr.read()}"
        return self.ready_line

    def pid(self, part: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            return int((self.data / "run" / f"{part}.pid").read_text())
        return 0

    def env(self) -> dict[str, str]:
        lines = (self.data / "run" / "env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def launcher(self) -> int:
        """The launcher itself, which `make` started or we did."""
        return int(Path(f"/proc/{self.pid('web')}/stat").read_text().rsplit(")", 1)[1].split()[1])

    def pids(self) -> list[int]:
        return [self.launcher(), *map(self.pid, PARTS)]

    def left_of(self, pids: list[int], within_s: float = 10) -> str:
        """Wait until they are gone. Gives "", or which live on and what they said last."""
        if comes(lambda: not any(map(alive, pids)), within_s):
            return ""
        names = dict(zip(pids, ("launcher", *PARTS), strict=True))
        told = [f"{names[pid]} (pid {pid}) lives on" for pid in filter(alive, pids)]
        return "\n".join(told + [f"{log.name}: {log.read_text()[-1500:]}" for log in (self.data / "logs").iterdir()])

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=2) as answer:
                return bool(json.load(answer)["status"] == "ok")
        except (OSError, HTTPException):
            return False

    def end(self) -> None:
        """Whatever the test did: leave nothing."""
        pids = [pid for pid in map(self.pid, PARTS) if pid]
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.communicate()
        for pid in filter(alive, pids):
            os.kill(pid, signal.SIGKILL)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in {"Z", "X"}
    except OSError:
        return False


def comes(claim: Callable[[], bool], within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while not claim():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
