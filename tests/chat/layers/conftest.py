"""A channel layer on a real Redis."""

from collections.abc import AsyncIterator, Iterator

import pytest
import redis as redis_py

from chat import layers
from chat.layers import ChatChannelLayer
from tests.servers import Redis


@pytest.fixture
async def layer(redis_server: Redis) -> AsyncIterator[ChatChannelLayer]:
    made = ChatChannelLayer(hosts=[redis_server.url])
    yield made
    await made.flush()


@pytest.fixture
def redis(redis_server: Redis) -> Iterator[redis_py.Redis]:
    """A client of the tests' own: what it sees is not what the layer believes."""
    client = redis_server.client()
    yield client
    client.close()


@pytest.fixture
def swift(monkeypatch: pytest.MonkeyPatch) -> None:
    """A heart that is missed sooner."""
    monkeypatch.setattr(layers, "BEAT_S", 0.05)
    monkeypatch.setattr(layers, "UNHEARD_S", 0.25)
    monkeypatch.setattr(layers, "LOST_S", 0.6)
