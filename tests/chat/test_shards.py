"""Which Redis has what."""

from typing import Any
from uuid import uuid4

from chat import shards, stream


def test_keys_and_channel_of_a_session_live_on_one_shard(settings: Any) -> None:
    settings.CHAT_REDIS_SHARDS = ["redis://a", "redis://b", "redis://c"]
    found = {shards.shard_of(stream.session_group(uuid4())) for _ in range(50)}
    assert found == {0, 1, 2}, "sessions are spread"
