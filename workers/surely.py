"""Work on the database that is done in the end, however long the database is away."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from django.db import InterfaceError, InternalError, OperationalError

from chat.database import writing_briefly
from chat.errors import Unavailable

log = logging.getLogger(__name__)

T = TypeVar("T")

DATABASE_RETRY_S = 0.5
STOOD_STILL = "25P03"  # Postgres ended the connection: one of us two was frozen in the middle of a transaction


async def surely(call: Callable[..., T], *args: Any, by: Callable[..., Awaitable[Any]] = writing_briefly) -> T:
    """Read, or do a fenced action, again and again while the database is away.

    If only the reply to its COMMIT was lost, the fence refuses the second try: that is an end, too.
    """
    while True:
        try:
            done: T = await by(call, *args)
            return done
        except (OperationalError, InterfaceError, InternalError, Unavailable) as problem:
            if isinstance(problem, InternalError) and getattr(problem.__cause__, "sqlstate", "") != STOOD_STILL:
                raise
            name = getattr(call, "__name__", None) or getattr(call, "func", call).__name__
            log.warning("%s waits for the database: %s", name, type(problem).__name__)
            await asyncio.sleep(DATABASE_RETRY_S)
