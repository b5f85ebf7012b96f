"""What the person has said and the server has not confirmed yet: sent in order, each under one key for ever."""

import asyncio
import uuid
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from chat.terminal.calls import Row
from chat.terminal.connection import Connection, delay_s
from chat.terminal.errors import Offline, Refused


@dataclass(slots=True, eq=False)
class Unsent:
    content: str
    session_id: str | None  # None: a session that does not exist yet
    confirmed: "asyncio.Future[Row]"  # the ok's data, or Refused
    agent: str | None = None  # None: the session's own
    key: str = field(default_factory=lambda: uuid.uuid4().hex)


class Outbox:
    """A queue of one user's messages. It outlives every socket; a key makes the second sending harmless."""

    def __init__(
        self, connection: Connection, start_session: Callable[[], Awaitable[str]], on_change: Callable[[], None]
    ) -> None:
        self.items: deque[Unsent] = deque()
        self.holdup = ""  # why the first one waits, though there is a connection
        self._connection, self._start_session, self._on_change = connection, start_session, on_change
        self._filled = asyncio.Event()

    def add(self, content: str, session_id: str | None, agent: str | None = None) -> Unsent:
        item = Unsent(content, session_id, asyncio.get_running_loop().create_future(), agent)
        self.items.append(item)
        self._filled.set()
        self._on_change()
        return item

    async def run(self) -> None:
        """Send one after the other, for ever: the order of the talk is the order of the keys' first sending."""
        failures = 0
        while True:
            while not self.items:
                self._filled.clear()
                await self._filled.wait()
            await self._connection.ready.wait()
            item = self.items[0]
            try:
                answer = await self._send(item)
            except Offline:
                failures += 1
                await asyncio.sleep(delay_s(failures, None, None))
                continue
            except Refused as error:
                if error.temporary:
                    failures += 1
                    self.holdup = str(error)
                    self._on_change()
                    await asyncio.sleep(delay_s(failures, error, None))
                    continue
                item.confirmed.set_exception(error)
            else:
                item.confirmed.set_result(answer)
            self.items.popleft()
            failures, self.holdup = 0, ""
            self._on_change()

    async def _send(self, item: Unsent) -> Row:
        if item.session_id is None:
            session_id = await self._start_session()
            for waiting in self.items:
                waiting.session_id = waiting.session_id or session_id
        data = {"session_id": item.session_id, "key": item.key, "content": item.content}
        data |= {"agent": item.agent} if item.agent else {}
        return await self._connection.ask("message.send", data)
