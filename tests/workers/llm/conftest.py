"""What the tests of language models share."""

from collections.abc import AsyncIterator

import pytest

from workers.llm import close_clients


@pytest.fixture(autouse=True)
async def clients_closed() -> AsyncIterator[None]:
    yield
    await close_clients()
