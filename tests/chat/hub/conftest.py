"""A room around each talk."""

from collections.abc import AsyncIterator

import pytest

from tests.chat.hub.watching import Room, room_of
from tests.inside import Talk


@pytest.fixture
async def room(talk: Talk) -> AsyncIterator[Room]:
    async with room_of(talk) as made:
        yield made
