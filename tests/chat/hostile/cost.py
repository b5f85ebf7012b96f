"""What a client costs a web process, as the system sees it, and an audience that notices when it costs too much."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psutil

from tests.chat.servers.web import Web
from tests.processes import Process
from tests.wire import Person

MIB = 1024 * 1024
COST_MAX = 8 * MIB  # what one client may cost, whatever it does
SLOW_S = 3.0
ANSWER, LONG = "demo?tokens=600&tokens_per_s=300", "demo?tokens=1500&tokens_per_s=300"


def rss(web: Process) -> int:
    size: int = psutil.Process(web.pid).memory_info().rss
    return size


def connections(web: Web) -> int:
    """How many sockets of clients the process holds."""
    held = psutil.Process(web.pid).net_connections("tcp")
    return sum(one.laddr.port == web.port and one.status != psutil.CONN_LISTEN for one in held)


class Highest:
    """The most memory that a process has while somebody looks."""

    def __init__(self, web: Process) -> None:
        self._web, self.base, self.most = web, rss(web), 0

    def look(self) -> int:
        self.most = max(self.most, rss(self._web) - self.base)
        return self.most


@contextmanager
def audience(web: Web, person: Person, session_id: str, count: int) -> Iterator[Callable[[int], dict[str, Any]]]:
    command = [sys.executable, "-m", "tests.audience", web.url.replace("http", "ws") + "/ws/", person.token]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = Process("audience", [*command, session_id, str(count)], web.log.with_name("audience.log"), popen=pipes)
    process.spawn()
    said = process._process.stdout
    try:
        assert json.loads(said.readline()) == {"following": count}

        def come_to(seq: int) -> dict[str, Any]:
            process._process.stdin.write(f"{seq}\n")
            process._process.stdin.flush()
            heard: dict[str, Any] = json.loads(said.readline())
            return heard

        yield come_to
    finally:
        process.end()
