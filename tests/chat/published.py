"""A session that is only a name, frames of it, and what its live group hears."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from chat import shards, stream
from chat.protocol import Frame

SESSION, RUN = uuid4(), uuid4()


def frame(seq: int) -> Frame:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    row = {"title": "Größe 🌍"}
    session_id = str(SESSION)
    return Frame.make(
        type="session.updated", session_id=session_id, run_id=None, seq=seq, at=at, author_id=None, data=row
    )


@contextmanager
def heard(redis: Any, group: str) -> Iterator[Callable[..., Any]]:
    """What a group hears, decoded: a call waits for the next message, and gives None where none comes."""
    listening = redis.pubsub(ignore_subscribe_messages=True)
    listening.subscribe(shards.channel_of(group))
    listening.get_message(timeout=5)

    def hear(timeout_s: float = 5) -> Any:
        message = listening.get_message(timeout=timeout_s)
        return None if message is None else shards.layer().deserialize(message["data"])

    try:
        yield hear
    finally:
        listening.close()


@pytest.fixture
def live(redis: Any) -> Iterator[Callable[..., Any]]:
    """What the session's live group hears."""
    with heard(redis, stream.session_group(SESSION)) as hear:
        yield hear
