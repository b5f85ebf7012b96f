"""Nothing of any socket outlives its test."""

from collections.abc import AsyncIterator

import pytest

from chat import failpoints, limits
from chat.hub import hubs
from tests.chat.hub.watching import nothing_is_left
from tests.inside import Talk


@pytest.fixture(autouse=True)
async def _nobody_stays(request: pytest.FixtureRequest, talk: Talk) -> AsyncIterator[None]:
    """Every test ends with every socket gone: then nothing may be left of them."""
    yield
    failpoints.armed.clear()
    await nothing_is_left(talk)
    assert not hubs._hubs and not limits._sockets
