"""The WebSocket half of the wire: one socket at a time, opened again whenever it is lost.

Whoever uses it is told each frame, and when a socket is ready; what to resume from is theirs to know.
"""

import asyncio
import json
import os
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import count

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from chat.terminal.api import Api
from chat.terminal.calls import Row
from chat.terminal.errors import Offline, Refused, SignInRefused, Trouble

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 15.0
SETTLED_S = 2.0  # a socket that lived this long starts the delays over
ANSWER_S = 20.0
MAX_FRAME = 16 * 1024 * 1024

NOT_SIGNED_IN, FORBIDDEN_ORIGIN = 4401, 4403
WHY = {
    4408: "this client was too slow",
    4412: "the server restarts",
    4413: "too many refused commands",
    4429: "too many connections",
}


class Connection:
    """Keeps a socket open until it is cancelled, or a person must sign in anew."""

    def __init__(
        self,
        api: Api,
        *,
        on_frame: Callable[[Row], None],
        on_ready: Callable[[], Awaitable[None]],
        on_change: Callable[[], None],
    ) -> None:
        self.ready = asyncio.Event()
        self.problem = ""  # why there is no socket now
        self.next_try_at = 0.0  # monotonic
        self._api = api
        self._on_frame, self._on_ready, self._on_change = on_frame, on_ready, on_change
        self._socket: ClientConnection | None = None
        self._asked: dict[str, asyncio.Future[Row]] = {}
        self._refs = count(1)
        self._last_error: Refused | None = None
        self._heartbeat_s = 20.0

    # --- commands --------------------------------------------------------------------------------------------------

    async def ask(self, command: str, data: Row) -> Row:
        """Send a command and wait for its one answer. Raises Refused; Offline: it may or may not have been done."""
        socket, ref = self._socket, str(next(self._refs))
        if socket is None:
            raise Offline("not connected")
        answer = self._asked[ref] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(ANSWER_S):
                await socket.send(json.dumps({"type": command, "ref": ref, "data": data}))
                return await answer
        except (ConnectionClosed, TimeoutError) as error:
            if isinstance(error, TimeoutError):
                await socket.close()  # the next one begins again with all that has to be asked
            raise Offline("the connection went away before the server answered") from None
        finally:
            self._asked.pop(ref, None)

    # --- the socket's life -----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Connect, and again, for ever. Raises SignInRefused."""
        failures = refusals = 0
        while True:
            self._last_error, opened_at = None, time.monotonic()
            try:
                code = await self._live()
                was_ready = self.ready.is_set()
            except Offline as error:
                code, was_ready, self.problem = None, False, str(error)
            finally:
                self._lost()
            if code is None and was_ready:
                continue
            if was_ready and time.monotonic() - opened_at > SETTLED_S:
                failures = 0
            failures += 1
            refusals = refusals + 1 if code == NOT_SIGNED_IN and not was_ready else 0
            if code == FORBIDDEN_ORIGIN or refusals > 2:
                raise SignInRefused(self.problem)
            await self._wait(delay_s(failures, self._last_error, code))

    async def _live(self) -> int | None:
        """One socket, from its opening to its end: the close code, or None where it was left for a younger token."""
        try:
            token = await self._api.token()
            socket = await connect(
                self._api.socket_url,
                additional_headers={"Authorization": f"Bearer {token}"},
                proxy=True if self._api.may_use_proxy else None,
                compression=None,
                max_size=MAX_FRAME,
                ping_interval=None,  # `ping` on the wire asks the server's own code, not only its socket
                close_timeout=1,
                open_timeout=10,
            )
        except InvalidStatus as error:
            if error.response.status_code in {401, 403}:
                self._api.distrust_token()
                self.problem = "not signed in"
                return NOT_SIGNED_IN
            raise Offline(f"{self._api.url} answered {error.response.status_code}") from None
        except Refused as error:
            self._last_error = error
            raise Offline(str(error)) from None
        except (OSError, InvalidHandshake, EOFError) as error:
            number = error.errno if isinstance(error, OSError) else None
            reason = os.strerror(number) if number and number > 0 else str(error) or type(error).__name__
            raise Offline(f"no connection ({reason})") from None
        greeting: asyncio.Task[None] | None = None
        try:
            self._socket = socket
            socket_ends_at = time.monotonic() + max(self._api.token_left_s, 1.0)
            while (frame := await self._receive(socket, socket_ends_at)) is not None:
                if frame["type"] == "connection.ready":
                    self._heartbeat_s = float(frame["data"]["heartbeat_s"])
                    self.ready.set()
                    self._on_change()
                    greeting = asyncio.create_task(self._greet())
                else:
                    self._take(frame)
        finally:
            if greeting:
                greeting.cancel()
                with suppress(asyncio.CancelledError):
                    await greeting
            self._socket = None
            await socket.close()
        if time.monotonic() >= socket_ends_at:
            return None
        code = socket.close_code or 1006
        if code == NOT_SIGNED_IN:
            self._api.distrust_token()
        said = str(self._last_error) if self._last_error else ""
        self.problem = said or WHY.get(code, "the connection was lost")
        return code

    async def _receive(self, socket: ClientConnection, ends_at: float) -> Row | None:
        """The next frame; None at the socket's end. A silent server is asked whether it lives, then left."""
        asked = False
        while (left_s := ends_at - time.monotonic()) > 0:
            try:
                async with asyncio.timeout(min(self._heartbeat_s, left_s)):
                    text = await socket.recv()
            except TimeoutError:
                if asked:
                    return None
                if ends_at - time.monotonic() > 0:
                    asked = True
                    with suppress(ConnectionClosed):
                        await socket.send(json.dumps({"type": "ping", "ref": None, "data": {}}))
                continue
            except ConnectionClosed:
                return None
            frame: Row = json.loads(text)
            return frame
        return None

    def _take(self, frame: Row) -> None:
        answer = self._asked.get(frame.get("ref") or "")
        if frame["type"] == "ok" and answer and not answer.done():
            answer.set_result(frame["data"])
        elif frame["type"] == "error":
            error = Refused.from_data(frame["data"])
            if answer and not answer.done():
                answer.set_exception(error)
            elif frame.get("session_id"):
                self._on_frame(frame)  # of one session: the socket goes on
            elif frame.get("ref") is None:
                self._last_error = error  # of the socket itself; its close follows
        elif frame["type"] not in {"ok", "pong"}:
            self._on_frame(frame)

    async def _greet(self) -> None:
        with suppress(Trouble):  # offline: the next socket greets again
            await self._on_ready()

    def _lost(self) -> None:
        self.ready.clear()
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(Offline("the connection went away before the server answered"))
        self._on_change()

    async def _wait(self, seconds: float) -> None:
        self.next_try_at = time.monotonic() + seconds
        self._on_change()
        await asyncio.sleep(seconds)


def delay_s(failures: int, error: Refused | None, code: int | None) -> float:
    """Full jitter under a ceiling that doubles: a thousand clients of one restart come back spread out.

    Where the server named a time it is kept to, and the jitter comes on top.
    """
    if code == NOT_SIGNED_IN and failures == 1:
        return 0.0
    ceiling_s = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** min(failures - 1, 10))
    named_s = error.retry_after_s if error and error.retry_after_s else 0.0
    return named_s + random.uniform(0, max(ceiling_s, named_s / 2))  # noqa: S311 - it spreads load and guards nothing
