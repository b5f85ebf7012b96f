"""Open sockets and streams, looked after together: one question to the database and one to Redis for hundreds of them.

Each by itself would be cheap. But most of what a large server does is to hold sockets on which nothing happens.
"""

import asyncio
import logging
from collections.abc import Coroutine
from contextvars import Context, copy_context
from typing import Any, NamedTuple, Protocol

from django.db import Error as AnyDatabaseError
from structlog.contextvars import clear_contextvars

from chat import auth, limits
from chat.auth import Credential
from chat.database import reading
from chat.errors import ChatError

log = logging.getLogger(__name__)

WATCH_S = 5.0
ASKED_MAX = 500  # guests that are asked about at once


class Guest(Protocol):
    """Whom a process has let in until they leave."""

    guest_id: str

    @property
    def is_stalled(self) -> bool:
        """Whether the client takes nothing any more."""

    async def on_stalled(self) -> None: ...

    async def on_ended(self) -> None:
        """Its credential is no longer good."""


class Entry(NamedTuple):
    guest: Guest
    credential: Credential
    context: Context  # what the log says of whom: their goodbye is theirs, too


class Guests:
    def __init__(self) -> None:
        self._here: dict[str, Entry] = {}
        self._watching: asyncio.Task[None] | None = None
        self._leaving: set[asyncio.Task[None]] = set()

    def enter(self, guest: Guest, credential: Credential) -> None:
        """Look after one from now on, until `leave`."""
        self._here[guest.guest_id] = Entry(guest, credential, copy_context())
        if self._watching is None or self._watching.done():
            self._watching = asyncio.ensure_future(self._watch())

    def leave(self, guest: Guest) -> None:
        self._here.pop(guest.guest_id, None)

    async def _watch(self) -> None:
        clear_contextvars()
        waited_s = 0.0
        while self._here:
            await asyncio.sleep(WATCH_S)
            waited_s += WATCH_S
            try:
                self._look_for_stalled()
                if waited_s >= auth.CHECK_S:
                    waited_s = 0.0
                    await self._check_all()
            except Exception:  # it looks after everybody: one who is broken must not end it for the others
                log.exception("open sockets could not be looked after")

    def _look_for_stalled(self) -> None:
        for one in tuple(self._here.values()):
            if one.guest.is_stalled:
                self._show_out(one, one.guest.on_stalled())

    async def _check_all(self) -> None:
        everybody = tuple(self._here.values())
        try:
            for first in range(0, len(everybody), ASKED_MAX):
                await self._check(everybody[first : first + ASKED_MAX])
        except (AnyDatabaseError, ChatError) as problem:
            # The others are not asked about either: each time would take as long, and who reads nothing is to go.
            log.warning("credentials could not be checked: %s", type(problem).__name__)

    async def _check(self, some: tuple[Entry, ...]) -> None:
        await reading(limits.keep_sockets, [(one.credential.user.pk, one.guest.guest_id) for one in some])
        ended = await reading(auth.ended, [one.credential for one in some])
        for one in some:
            if one.credential in ended and one.guest.guest_id in self._here:
                self._show_out(one, one.guest.on_ended())

    def _show_out(self, one: Entry, goodbye: Coroutine[Any, Any, None]) -> None:
        """In a task of its own: the others need not wait until one who reads nothing is told."""
        self.leave(one.guest)
        task = asyncio.get_running_loop().create_task(goodbye, context=one.context)
        self._leaving.add(task)
        task.add_done_callback(self._left)

    def _left(self, task: asyncio.Task[None]) -> None:
        self._leaving.discard(task)
        if not task.cancelled() and (problem := task.exception()):
            log.error("showing a guest out failed", exc_info=problem)


guests = Guests()
