"""What is published arrives as it was made."""

from typing import Any
from uuid import uuid4

from chat import shards, stream
from chat.protocol import Delta, Frame
from tests.chat.published import RUN, SESSION, frame
from tests.inside import told

MESSAGE = uuid4()


def test_frames_arrive_as_they_were_made(live: Any) -> None:
    stream.publish(SESSION, [frame(1), frame(2)])
    assert [Frame.unpack(live()["frame"]) for _ in range(2)] == [frame(1), frame(2)]


def test_a_delta_arrives_as_it_was_made(redis: Any, live: Any) -> None:
    delta = Delta(stream.MESSAGE, str(SESSION), str(RUN), str(MESSAGE), 1, 0, "Hello 🌍", {"role": "assistant"})
    redis.publish(shards.channel_of(stream.session_group(SESSION)), stream.delta_message(delta))
    assert Delta.unpack(live()["delta"]) == delta


def test_a_fence_that_is_raised_forgets_the_drafts_of_both_kinds(redis: Any) -> None:
    for kind in stream.DELTAS:
        redis.set(stream.draft_key(SESSION, MESSAGE, kind), "so far")
    redis.hset(stream.fence_key(SESSION, RUN), "h", 10**15)
    stream.raise_fence(SESSION, RUN, 3, [str(MESSAGE)])
    told()
    assert not redis.keys("chat:draft:*")
    assert redis.hgetall(stream.fence_key(SESSION, RUN)) == {b"a": b"3"}
