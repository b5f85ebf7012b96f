"""A Redis that takes connections and never answers: whoever asks it goes on without it, within a moment."""

import ast
import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from redis.exceptions import RedisError

from chat import limits, shards, stream
from chat.api import health
from chat.outbox import outbox
from tests.processes import PATIENCE

ROOT = Path(__file__).parents[2]
SESSION, RUN, MESSAGE = uuid4(), uuid4(), str(uuid4())

CALLS: dict[str, tuple[Callable[[], Any], Any]] = {
    "the drafts of what is to be stopped": (lambda: stream.take(SESSION, RUN, [MESSAGE]), None),
    "the drafts of a session": (lambda: stream.peek(SESSION, [MESSAGE]), None),
    "a message that is counted": (lambda: asyncio.run(limits.spend_message(1, SESSION, "token")) is not None, True),
    "an attempt to sign in": (lambda: len(limits.spend_sign_in("ada", "127.0.0.1")), 2),
    "a socket that is opened": (lambda: limits.hold_socket(1, "one"), None),
    "sockets that live": (lambda: limits.keep_sockets([(1, "one")]), None),
    "what was committed": (lambda: outbox.flush(5), True),
}


@pytest.fixture
def silent(redis: Any, settings: Any) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"redis://127.0.0.1:{server.getsockname()[1]}/0"
        settings.REDIS_URL, settings.CHAT_REDIS_SHARDS = url, [url]
        for clients in (shards.client, shards.impatient):
            clients.cache_clear()
        yield url
        outbox.flush(5)
        for clients in (shards.client, shards.impatient):
            clients.cache_clear()


@pytest.mark.parametrize("what", CALLS)
def test_nobody_waits_long_for_a_redis_that_does_not_answer(what: str, silent: str) -> None:
    call, expected = CALLS[what]
    if what == "what was committed":
        stream.raise_fence(SESSION, RUN, 1)
    began = time.monotonic()
    assert call() == expected
    assert time.monotonic() - began < 1.2 * PATIENCE
    began = time.monotonic()
    call()
    assert time.monotonic() - began < 0.1 * PATIENCE, "it is left alone for a while"


def test_the_probe_tells_that_it_is_away(silent: str) -> None:
    began = time.monotonic()
    with pytest.raises(RedisError):
        health._ask_redis()
    assert time.monotonic() - began < 3 * PATIENCE


def test_no_client_of_redis_is_made_without_time_outs() -> None:
    made = []
    for path in [*(ROOT / "chat").rglob("*.py"), *(ROOT / "workers").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "from_url":
                given = {keyword.arg for keyword in node.keywords}
                assert {"socket_timeout", "socket_connect_timeout"} <= given, f"{path}:{node.lineno}"
                made.append(path.name)
    assert len(made) >= 3


def test_on_a_loop_redis_is_asked_under_a_patience_alone() -> None:
    """The loops' clients have no time-out of their own."""
    asked = []
    for path in [*(ROOT / "chat").rglob("*.py"), *(ROOT / "workers").rglob("*.py")]:
        nodes = list(ast.walk(ast.parse(path.read_text())))
        bounded = [one for one in nodes if isinstance(one, ast.AsyncWith) and "Patience" in ast.unparse(one.items[0])]
        for node in nodes:
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("layer().redis", "self.commands")):
                assert any(one.lineno < node.lineno <= (one.end_lineno or 0) for one in bounded), (
                    f"{path}:{node.lineno}"
                )
                asked.append(path.name)
    assert set(asked) == {"hub.py", "layers.py", "limits.py", "publish.py"}
