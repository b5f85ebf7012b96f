"""What comes out of the queue: messages, or anything that somebody put there."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
import redis as redis_py
from kombu import Connection, Consumer, Message, Queue

from chatproject.celery import app
from tests.conftest import SWIFT, NewStack
from tests.processes import eventually
from tests.servers import Redis

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


def test_a_redis_that_is_full_counts_as_away(redis_url: str) -> None:
    """The worker tries again after an error of the connection, and ends by any other."""
    client: Any = redis_py.Redis.from_url(redis_url)
    client.config_set("maxmemory", "1")
    try:
        with Connection(redis_url) as connection, pytest.raises(connection.connection_errors):
            connection.Producer().publish({}, routing_key="full")
    finally:
        client.config_set("maxmemory", "0")


def take_its_replicas(redis: Redis) -> None:
    redis.client().config_set("min-replicas-to-write", "1")


def demote(redis: Redis) -> None:
    redis.client().replicaof("127.0.0.1", 1)


def fail_its_file(redis: Redis) -> None:
    """Where its file should be put, there is a folder."""
    client: Any = redis.client()
    (redis.cwd / "dump.rdb").mkdir(exist_ok=True)
    client.config_set("save", "3600 1000000")  # that it saves at all is what it may refuse for
    client.bgsave()
    eventually(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", "its file cannot be written")


def mend(redis: Redis) -> None:
    client: Any = redis.client()
    client.replicaof("NO", "ONE")
    for name, value in {"min-replicas-to-write": "0", "save": "", "stop-writes-on-bgsave-error": "no"}.items():
        client.config_set(name, value)


REFUSALS = [take_its_replicas, demote, fail_its_file]


@pytest.mark.enough_on("sqlite")
@pytest.mark.parametrize("refuse", REFUSALS)
async def test_a_redis_that_answers_and_refuses_ends_no_worker_and_no_talk(
    new_stack: NewStack, refuse: Callable[[Redis], None]
) -> None:
    stack = new_stack(env={"CHAT_LLM": SWIFT})
    [worker] = stack.workers
    async with stack.client(stack.person("ada")) as client:
        session_id = await client.new_session()
        await client.subscribe(session_id)
        listening = stack.redis.client()
        await asyncio.to_thread(eventually, lambda: "brpop" in {one["cmd"] for one in listening.client_list()}, "it")
        await asyncio.to_thread(refuse, stack.redis)
        for _ in range(3):
            await client.answered(session_id, await client.say(session_id, "And now?"), within_s=15)
            await asyncio.sleep(1)
        ready = await client.get("/readyz")
        assert ready["status"] == "degraded" and ready["checks"]["redis"]["status"] == "down"
        assert worker.alive
        told = worker.text()
        assert 1 <= told.count("Connection to broker lost") < 20, "about once a second, and not as fast as it can"
        assert "PendingDeprecationWarning" not in told

        mend(stack.redis)
        await client.answered(session_id, await client.say(session_id, "Back again"), within_s=15)
        await client.agrees()
