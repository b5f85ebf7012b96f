"""What every benchmark is given: how much to do, servers that end with it, and how to read what they cost."""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import psutil

from tests.processes import Process, free_port, listens
from tests.servers import Redis
from tests.stack import Stack, Workshop

DATABASES = {"sqlite": "SQLite", "postgres": "Postgres"}
SERVERS = ("daphne", "uvicorn")


class Wrong(Exception):
    """What a server gave is not what it had to give: a figure of it would say nothing."""


@dataclass
class Cost:
    """What processes used while something was measured."""

    cpu_s: float = 0.0
    wall_s: float = 0.0
    client_s: float = 0.0  # the CPU seconds of the load client: this process

    @property
    def client_share(self) -> float:
        """How busy the load client was. Near 1, it measured itself."""
        return self.client_s / self.wall_s if self.wall_s else 0.0


@dataclass
class Bench:
    """`with Bench() as bench:`. All that it started ends with it."""

    rounds: int = 3
    much: float = 1.0  # how often and how long to measure in a round, as a share: never of whom or what
    busiest_client: float = 0.0
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="bench-")))
    workshop: Workshop = field(default_factory=Workshop)
    _started: list[Process | Stack] = field(default_factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end_all()
        self.workshop.end()
        shutil.rmtree(self.folder, ignore_errors=True)

    def end_all(self) -> None:
        """End what a benchmark started."""
        while self._started:
            self._started.pop().end()

    def end(self, one: Process | Stack) -> None:
        self._started.remove(one)
        one.end()

    def times(self, full: int, least: int = 2) -> int:
        """How often to do something again. Users, sockets and answers are what a row is named for: they stay."""
        return max(round(full * self.much), least)

    def seconds(self, full: float) -> float:
        return max(full * self.much, 0.3)

    # --- what is measured ---------------------------------------------------------------------------------------------
    def stack(
        self,
        database: str = "sqlite",
        server: str = "daphne",
        *,
        workers: int = 1,
        env: Mapping[str, str] | None = None,
    ) -> Stack:
        """Start the chat server as `make run` does: one web process, one worker. Without limits for its users."""
        settings = {"CHAT_ACCESS_TOKEN_S": "86400"} | dict(env or {})
        stack = Stack(self.workshop, database, webs=1, workers=workers, server=server, env=settings)
        self._started.append(stack)
        return stack.start()

    def llm(self) -> str:
        """Start the LLM's server, and give its base URL."""
        port = free_port()
        self.start("llm", [sys.executable, "-m", "benchmarks.llm", str(port)], port)
        return f"http://127.0.0.1:{port}/v1"

    def redis(self, name: str) -> Redis:
        """Start a Redis of somebody's own."""
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-redis-", dir=self.folder))
        redis = Redis(folder)
        self._started.append(redis)
        redis.start()
        return redis

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        port: int | None = None,
        env: Mapping[str, str] | None = None,
        **popen: Any,
    ) -> Process:
        """Start a process; with a port, wait until it listens."""
        log = self.folder / f"{name}-{uuid4().hex[:6]}.log"
        kept = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
        ready = (lambda _: listens(port)) if port else (lambda _: True)
        process = Process(name, command, log, env=kept | dict(env or {}), ready=ready, popen=popen)
        self.keep(process)
        process.spawn().wait_ready(90)
        return process

    def keep(self, process: Process) -> None:
        """End it with the benchmark."""
        self._started.append(process)

    # --- what it costs ------------------------------------------------------------------------------------------------
    @contextmanager
    def cost(self, *processes: Process) -> Iterator[Cost]:
        """Measure the CPU seconds of processes, and of this one, while something goes on."""
        cost = Cost()
        before, client, begin = cpu_s(*processes), time.process_time(), time.perf_counter()
        yield cost
        cost.wall_s = time.perf_counter() - begin
        cost.cpu_s, cost.client_s = cpu_s(*processes) - before, time.process_time() - client
        self.busiest_client = max(self.busiest_client, cost.client_share)


def cpu_s(*processes: Process) -> float:
    """What they have used so far: all threads, also those that have ended."""
    try:  # in nanoseconds; /proc tells it in ticks of 10 ms, of which a short span has few
        return sum(time.clock_gettime(_cpu_clock(process.pid)) for process in processes)
    except OSError:  # not on Linux
        return sum(sum(psutil.Process(process.pid).cpu_times()[:2]) for process in processes)


def _cpu_clock(pid: int) -> int:
    """The clock of another process's CPU time, as clock_getcpuclockid(3) gives it: Python has it for threads alone."""
    return (~pid << 3) | 2


def memory_bytes(process: Process) -> int:
    size: int = psutil.Process(process.pid).memory_info().rss
    return size
