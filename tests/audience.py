"""Many sockets that follow one session and behave, in a process of their own; it is asked over its pipes.

Started with a URL, a token, a session's id and a number of sockets. Says `{"following": n}` once all follow; then for
each line that it is given, a seq, waits until every socket has come so far and says how that went.
"""

import asyncio
import json
import sys
import time
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed


class Listener:
    def __init__(self) -> None:
        self.seq: int | None = None
        self.is_whole, self.is_open = True, False
        self.deltas = 0
        self.following = asyncio.Event()

    async def follow(self, url: str, token: str, session_id: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        async with connect(url, additional_headers=headers, compression=None, ping_interval=None, proxy=None) as socket:
            self.is_open = True
            await socket.send(json.dumps({"type": "session.subscribe", "data": {"session_id": session_id}}))
            try:
                async for text in socket:
                    self._take(json.loads(text))
            except ConnectionClosed:
                pass
            self.is_open = False

    def _take(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "ok":
            self.seq = frame["data"]["last_seq"]
            self.following.set()
        elif frame["type"] == "message.delta":
            self.deltas += 1
        elif frame["seq"] is not None and self.seq is not None:
            self.is_whole = self.is_whole and frame["seq"] == self.seq + 1
            self.seq = frame["seq"]


async def main(url: str, token: str, session_id: str, count: int) -> None:
    listeners = [Listener() for _ in range(count)]
    gate = asyncio.Semaphore(20)
    tasks = []

    async def begin(listener: Listener) -> None:
        async with gate:
            tasks.append(asyncio.ensure_future(listener.follow(url, token, session_id)))
            await listener.following.wait()

    await asyncio.gather(*(begin(listener) for listener in listeners))
    say(following=count)
    while line := await asyncio.to_thread(sys.stdin.readline):
        began, goal = time.monotonic(), int(line)
        while any((one.seq or 0) < goal and one.is_open for one in listeners):
            await asyncio.sleep(0.01)
        say(
            reached=sum((one.seq or 0) >= goal for one in listeners),
            whole=sum(one.is_whole for one in listeners),
            open=sum(one.is_open for one in listeners),
            waited_s=round(time.monotonic() - began, 3),
        )


def say(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
