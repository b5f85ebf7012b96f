"""What comes out of the queue: messages, or anything that somebody put there."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis as redis_py
from kombu import Connection, Consumer, Message, Queue

from chatproject.celery import app

JUNK: list[Any] = [b"", b"\xff\xfe", b"not json", b"7", b"[]", b"{}", b"[" * 100_000]
JUNK += [
    json.dumps({"body": "x", "properties": one}).encode() for one in (None, "text", {}, {"body_encoding": "rot13"})
]


@pytest.mark.parametrize("junk", JUNK, ids=range(len(JUNK)))
def test_junk_in_the_queue_does_not_end_who_listens(redis_url: str, junk: bytes) -> None:
    assert app  # it has put our transport in the place of the stock one
    client = redis_py.Redis.from_url(redis_url)
    client.delete("junk")
    heard: list[Any] = []
    with Connection(redis_url) as connection:
        with connection.Producer() as producer:
            producer.publish({"after": "it"}, routing_key="junk")
        client.rpush("junk", junk)  # it is the next to be taken
        consumer = Consumer(connection, [Queue("junk")], no_ack=True, accept=["json"])
        consumer.register_callback(lambda body, message: heard.append(body))
        with consumer:
            for _ in range(2):
                connection.drain_events(timeout=5)
    assert heard == [{"after": "it"}]


def test_messages_that_nobody_can_handle_keep_no_place_among_those_that_may_be_open(redis_url: str) -> None:
    heard: list[Any] = []

    def hear(body: Any, message: Message) -> None:
        heard.append(body["number"])
        if body["number"] < 5:
            raise LookupError("what Celery does without an id")
        message.ack()

    with Connection(redis_url) as connection, connection.Producer() as producer:
        redis_py.Redis.from_url(redis_url).delete("odd")
        for number in range(7):
            producer.publish({"number": number}, routing_key="odd")
        with Consumer(connection, [Queue("odd")], callbacks=[hear], accept=["json"], prefetch_count=2):
            for _ in range(7):
                connection.drain_events(timeout=5)
    assert heard == list(range(7))
    assert not redis_py.Redis.from_url(redis_url).hlen("unacked"), "nothing comes again later"


def test_a_redis_that_takes_no_more_counts_as_away(redis_url: str) -> None:
    """The worker tries again after an error of the connection, and ends by any other."""
    client: Any = redis_py.Redis.from_url(redis_url)
    client.config_set("maxmemory", "1")
    try:
        with Connection(redis_url) as connection, pytest.raises(connection.connection_errors):
            connection.Producer().publish({}, routing_key="full")
    finally:
        client.config_set("maxmemory", "0")
