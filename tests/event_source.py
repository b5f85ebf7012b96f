"""A client of server-sent events, written from their specification; as a process of its own, it prints what it is told.

python -m tests.event_source URL TOKEN [LAST_EVENT_ID]
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any, NamedTuple, Self

import httpx2

from tests.connection import Refused
from tests.fold import Frame
from tests.processes import PATIENCE


class Event(NamedTuple):
    id: str | None
    type: str
    frame: Frame


class EventSource:
    """One response. It keeps what came, and the last id, as a browser does for its next request."""

    def __init__(self, url: str, token: str, last_id: str | None = None) -> None:
        self.url = url
        self.headers = {"Accept": "text/event-stream", "Authorization": f"Bearer {token}"}
        if last_id is not None:
            self.headers["Last-Event-ID"] = last_id
        self.last_id = last_id
        self.events: list[Event] = []
        self.comments = 0
        self.retry_ms: int | None = None

    async def __aenter__(self) -> Self:
        self._http = httpx2.AsyncClient(timeout=httpx2.Timeout(30 * PATIENCE), trust_env=False)
        self.response = await self._http.send(
            self._http.build_request("GET", self.url, headers=self.headers), stream=True
        )
        if self.response.status_code != 200:
            refusal = json.loads(await self.response.aread())["error"]
            await self._http.aclose()
            raise Refused(refusal, self.response.status_code)
        self._stream = self._read()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, problem: object, trace: TracebackType | None) -> None:
        await self.response.aclose()
        await self._http.aclose()

    async def _read(self) -> AsyncIterator[Event]:
        buffer = b""
        fields: dict[str, str] = {}
        async for chunk in self.response.aiter_raw():
            *lines, buffer = (buffer + chunk).split(b"\n")
            for line in lines:
                if line:
                    self._take(line.decode(), fields)
                elif "data" in fields:
                    event = Event(fields.get("id"), fields.get("event", "message"), json.loads(fields["data"]))
                    self.events.append(event)
                    yield event
                    fields = {}

    def _take(self, line: str, fields: dict[str, str]) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not name:
            self.comments += 1
        elif name == "retry":
            self.retry_ms = int(value)
        else:
            assert name not in fields, line  # a frame is one line of data
            fields[name] = value
            if name == "id":
                self.last_id = value

    async def until(self, holds: Callable[[Frame], Any], within_s: float = 30) -> list[Frame]:
        """Give all frames that come, to the first for which something holds."""
        frames = []
        async with asyncio.timeout(within_s * PATIENCE):
            async for event in self._stream:
                frames.append(event.frame)
                if holds(event.frame):
                    return frames
        raise AssertionError(f"the stream ended after {[frame['type'] for frame in frames]}")

    async def rest(self, within_s: float = 30) -> list[Frame]:
        """Give all frames that come, to the end of the response."""
        async with asyncio.timeout(within_s * PATIENCE):
            return [event.frame async for event in self._stream]


async def main(url: str, token: str, last_id: str | None = None) -> None:
    async with EventSource(url, token, last_id) as source:
        print("open", flush=True)
        async for event in source._stream:
            print(json.dumps(event._asdict()), flush=True)
    print("end", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
