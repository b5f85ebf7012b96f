"""Open sockets and streams, looked after together: one question to the database and one to Redis for hundreds of them.

Each by itself would be cheap. But most of what a large server does is to hold sockets on which nothing happens.
"""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Protocol

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


class Guests:
    def __init__(self) -> None:
        self._here: dict[str, tuple[Guest, Credential]] = {}
        self._watching: asyncio.Task[None] | None = None
        self._leaving: set[asyncio.Task[None]] = set()

    def enter(self, guest: Guest, credential: Credential) -> None:
        """Look after one from now on, until `leave`."""
        self._here[guest.guest_id] = guest, credential
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
            for guest, _ in tuple(self._here.values()):
                if guest.is_stalled:
                    self._show_out(guest, guest.on_stalled())
            if waited_s >= auth.CHECK_S:
                waited_s = 0.0
                everybody = tuple(self._here.values())
                for first in range(0, len(everybody), ASKED_MAX):
                    await self._check(everybody[first : first + ASKED_MAX])

    async def _check(self, some: tuple[tuple[Guest, Credential], ...]) -> None:
        try:
            await reading(limits.keep_sockets, [(credential.user.pk, guest.guest_id) for guest, credential in some])
            ended = await reading(auth.ended, [credential for _, credential in some])
        except (AnyDatabaseError, ChatError) as problem:
            log.warning("credentials could not be checked: %s", type(problem).__name__)
            return
        for guest, credential in some:
            if credential in ended and guest.guest_id in self._here:
                self._show_out(guest, guest.on_ended())

    def _show_out(self, guest: Guest, goodbye: Coroutine[Any, Any, None]) -> None:
        """In a task of its own: the others need not wait until one who reads nothing is told."""
        self.leave(guest)
        task = asyncio.ensure_future(goodbye)
        self._leaving.add(task)
        task.add_done_callback(self._left)

    def _left(self, task: asyncio.Task[None]) -> None:
        self._leaving.discard(task)
        if not task.cancelled() and (problem := task.exception()):
            log.error("showing a guest out failed", exc_info=problem)


guests = Guests()
