"""What time does to sessions, and versions to messages, a little at a time: in every worker, beside its sweep."""

import random
import time

from django.conf import settings
from django.db import connection

from chat import metrics
from chat.actions import positions, retention
from chat.actions.retention import Step


def put_log_in_place() -> Step:
    """SQLite's log: else the event loops, which write most of it, would have to."""
    if connection.vendor == "sqlite":
        connection.put_log_in_place()  # type: ignore[attr-defined]  # our own SQLite's
    return Step()


STEPS = {
    "log": put_log_in_place,
    "positions": positions.place_messages,
    "idle": retention.close_idle,
    "retention": retention.delete_closed,
    "events": retention.forget_events,
}
# The log grows by megabytes a second. And no LLM reads what has no position yet; to look for it costs nothing, by an
# index that has rows only during an upgrade.
AT_EVERY_LOOK = {"log", "positions"}


class Tidying:
    """Takes each step every `CHAT_TIDY_S`, and again at the next look where one was not enough; some at every look."""

    def __init__(self) -> None:
        self._due = dict.fromkeys(STEPS, 0.0)

    def look(self) -> None:
        """Take the steps that are due. Called again and again."""
        for name, step in STEPS.items():
            if time.monotonic() < self._due[name]:
                continue
            done, more = step()
            if done:
                metrics.SWEPT.labels(name).inc(done)
            if not more and name not in AT_EVERY_LOOK:
                # Jitter: the processes of one server were often started at once.
                self._due[name] = time.monotonic() + settings.CHAT_TIDY_S * random.uniform(0.7, 1.3)  # noqa: S311
