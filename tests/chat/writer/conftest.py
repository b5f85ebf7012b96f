"""One socket's queue."""

from collections.abc import AsyncIterator

import pytest

from tests.chat.writer.one_socket import Socket


@pytest.fixture
async def socket() -> AsyncIterator[Socket]:
    made = Socket()
    yield made
    made._work.cancel()
    assert made.writer._size == sum(item.size for item in made.writer._queue)
