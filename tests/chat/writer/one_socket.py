"""The queue of one socket, on a server that takes frames when the test lets it."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from chat.protocol import Delta
from chat.writer import Writer

OPENING = {"role": "assistant", "author": {"name": "assistant"}, "kind": "text"}


class Follower:
    def __init__(self) -> None:
        self.written = 0


class Socket:
    """A server's side of one socket: takes frames when the test lets it, and remembers them."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.texts: list[str] = []
        self.calls: list[int] = []  # how many frames left in each
        self.started_again = 0
        self.is_full = False
        self.now = 1000.0
        self.writer = Writer(self._send, self._drained, self._start_again, clock=lambda: self.now)
        self.ada = Follower()
        self._work = asyncio.ensure_future(self.writer.work())

    async def _send(self, texts: Sequence[str]) -> None:
        self.calls.append(len(texts))
        self.texts += texts

    async def _drained(self) -> None:
        await self.open.wait()

    def _start_again(self) -> None:
        self.started_again += 1

    async def settle(self) -> list[str]:
        """Let everything out that waits."""
        self.open.set()
        await asyncio.wait_for(self.writer.idle.wait(), 10)
        self.open.clear()
        texts, self.texts = self.texts, []
        return texts

    async def come_to_the_door(self) -> None:
        """Let the task take note of the queue, so that it stands at the closed door."""
        await asyncio.sleep(0)

    def delta(self, offset: int, text: str, message_id: str = "m1", run_id: str = "r1") -> Delta:
        delta = Delta("message.delta", "s", run_id, message_id, 1, offset, text, OPENING if offset == 0 else None)
        self.writer.put_delta(delta, self.ada)
        return delta

    def fact(self, seq: int, run_id: str | None = None, text: str = "") -> None:
        self.writer.put_fact(text or f"fact {seq}", self.ada, seq, run_id)


def said(texts: list[str]) -> list[Any]:
    """What was sent: deltas as (offset, text), anything else as it is."""
    return [_piece(json.loads(text)["data"]) if text.startswith("{") else text for text in texts]


def _piece(data: dict[str, Any]) -> tuple[int, str]:
    return data["offset"], data["text"]
