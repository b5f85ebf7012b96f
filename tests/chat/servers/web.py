"""A web process on daphne or on uvicorn, with a window into it."""

import asyncio
import json
import sys
import urllib.request
from collections.abc import Callable
from typing import Any

from tests.processes import PATIENCE, Process, eventually, free_port
from tests.stack import Stack, answers

WAIT_S = 20 * PATIENCE
COMMANDS = {
    "daphne": ["daphne", "-v", "0", "-b", "127.0.0.1", "-p", "{port}"],
    "uvicorn": [
        "uvicorn", "--host", "127.0.0.1", "--port", "{port}", "--ws", "websockets-sansio", "--log-level", "warning",
        "--ws-max-size", str(1024 * 1024), "--ws-per-message-deflate", "false", "--timeout-graceful-shutdown", "5",
    ],
}  # fmt: skip


class Web(Process):
    """A web process on one of the two servers."""

    def __init__(
        self, stack: Stack, server: str, application: str = "tests.chat.watched:application", **env: str
    ) -> None:
        self.server, self.port = server, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [part.format(port=self.port) for part in COMMANDS[server]]
        super().__init__(
            f"{server}-{self.port}",
            [sys.executable, "-m", *command, application],
            stack.folder / f"{server}-{self.port}.log",
            env=stack.env | {"CHAT_SOCKETS_PER_USER": "5"} | env,
            ready=lambda _: answers(self.url + "/healthz"),
        )

    def holds(self) -> dict[str, int]:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(self.url + "/watched/", timeout=10) as response:
            held: dict[str, int] = json.load(response)
            return held

    def lets_go(self) -> None:
        """Wait until nothing is left of any socket."""
        kept = ("hubs", "viewers", "tasks", "connections")
        eventually(lambda: [self.holds()[name] for name in kept] == [0, 0, 0, 0], "everything is let go", WAIT_S)


def fill(stack: Stack, session_id: str, count: int) -> None:
    """Lengthen a log by events of 10 kB each, of which nobody is told."""
    stack.ask(
        "(row := ChatSession.objects.get(pk=session_id)) and Event.objects.bulk_create(["
        "Event(session_id=row.pk, seq=row.last_seq + n, type='session.updated', at=row.updated_at,"
        " data={**row.as_data(), 'last_seq': row.last_seq + n, 'metadata': {'filling': 'x' * 10000}})"
        " for n in range(1, count + 1)])"
        " and ChatSession.objects.filter(pk=session_id).update(last_seq=row.last_seq + count)",
        session_id=session_id,
        count=count,
    )


async def in_thread(call: Callable[..., Any], *args: Any) -> Any:
    return await asyncio.to_thread(call, *args)
