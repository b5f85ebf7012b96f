"""How a worker hears a doorbell: at once, in the thread that reads from Redis.

Celery would make a request of the message, hand it to a thread of its pool, trace it there, and acknowledge it: a tenth
of a worker's time at many answers, for a message that is worth nothing once it is heard. A time to begin at, retries, a
result and revoking mean nothing to it.
"""

import logging
from collections.abc import Callable
from typing import Any

from celery import Task

log = logging.getLogger(__name__)


def at_once(task: Any, app: Any, consumer: Any, **_: Any) -> Callable[..., None]:
    """What a worker does with the messages of a task: Celery's word for it is strategy."""

    def hear(message: Any, payload: Any, ack: Callable[..., Any], *_: Any) -> None:
        ack(log, consumer.connection_errors)
        try:
            args, kwargs, _embedded = message.payload
            task.run(*args, **kwargs)
        except Exception as problem:  # the thread of all doorbells: what one of them brings must not end it
            log.error("a doorbell brings what nobody knows: %s", type(problem).__name__)

    return hear


class Doorbell(Task):  # type: ignore[type-arg]
    """A task that only hands on what came, and waits for nothing."""

    Strategy = "workers.doorbells:at_once"
