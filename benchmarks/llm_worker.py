"""A whole worker for `llm_tokens`: it answers a crowd of sessions at once, and tells what that cost its process."""

import asyncio
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.bench import cpu_s
from tests.connection import Connection
from tests.llm_process import LLMProcess
from tests.stack import Stack, Workshop


class Worker:
    """`with Worker(…) as worker: await worker.measure()`: a server of ours whose LLM is the given one."""

    def __init__(self, folder: Path, server: LLMProcess, llm: str, streams: int) -> None:
        self.streams = streams
        self._workshop = Workshop()
        env = server.env | {"CHAT_LLM": llm, "CHAT_RUNS_PER_WORKER": str(max(400, streams))}
        self._stack = Stack(self._workshop, os.environ.get("CHAT_TEST_DATABASE", "sqlite"), env=env)
        self._sessions: list[str] = []

    def __enter__(self) -> Self:
        self._stack.start()
        self._person = self._stack.person("ada")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.end()
        self._workshop.end()

    async def measure(self) -> dict[str, float]:
        """Have all sessions answered once; the CPU seconds that the worker used, and the tokens that it wrote."""
        async with self._stack.client(self._person) as client:
            if not self._sessions:
                self._sessions = [await client.new_session() for _ in range(self.streams)]
                await self._ask(client, self._sessions[:1])  # what is loaded once is not the price of a token
            worker = self._stack.workers[0]
            before, began = await self._written(), cpu_s(worker)
            await self._ask(client, self._sessions)
            return {"cpu_s": cpu_s(worker) - began, "tokens": await self._written() - before}

    async def _ask(self, client: Connection, sessions: list[str]) -> None:
        await asyncio.gather(*(client.post(f"/api/sessions/{one}/messages/", {"content": "go"}) for one in sessions))
        while await asyncio.to_thread(self._stack.ask, "Run.objects.open().count()"):
            await asyncio.sleep(0.2)

    async def _written(self) -> int:
        """Count the words of all answers: nothing is counted that did not arrive in the database."""
        texts = "[m.content for m in Message.objects.filter(role='assistant')]"
        return sum(len(text.split()) for text in await asyncio.to_thread(self._stack.ask, texts))
