"""A client at work in a test, and what it was told."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from chat.terminal.api import Api
from chat.terminal.client import Client
from chat.terminal.state import Talk
from tests.terminal.frames import Row
from tests.terminal.server import PASSWORD, ScriptedServer


class Watcher:
    """A view that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.again = 0
        self.seen: list[str] = []  # the text of the newest answer, after each change
        self.client: Client | None = None

    def changed(self) -> None:
        talk = self.client.talk if self.client else None
        answers = [item.text for item in talk.items if item.kind == "answer"] if talk else []
        if answers and answers[-1:] != self.seen[-1:]:
            self.seen.append(answers[-1])

    def opened(self, talk: Talk) -> None: ...

    def left(self) -> None: ...

    def read_again(self, talk: Talk) -> None:
        self.again += 1

    def tell(self, text: str, *, error: bool = False) -> None:
        self.told.append(text)


@asynccontextmanager
async def client_of(server: ScriptedServer) -> AsyncIterator[tuple[Client, Watcher]]:
    watcher = Watcher()
    api = Api(server.url, "ada", right_password)
    client = watcher.client = Client(api, watcher)
    serving = asyncio.create_task(client.run())
    try:
        yield client, watcher
    finally:
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving
        await api.close()


async def until(true: Callable[[], object], within_s: float = 8.0) -> None:
    async with asyncio.timeout(within_s):
        while not true():
            await asyncio.sleep(0.005)


def answers(client: Client) -> list[str]:
    return (
        [i.text for i in client.talk.items if i.kind == "answer" and i.done and not i.discarded] if client.talk else []
    )


def sent(server: ScriptedServer) -> list[Row]:
    return [command["data"] for command in server.commands if command["type"] == "message.send"]


def restarting(retry_after_s: float) -> Row:
    return {"code": "restarting", "message": "The server restarts.", "temporary": True, "retry_after_s": retry_after_s}


async def right_password() -> str:
    return PASSWORD
