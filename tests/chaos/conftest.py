"""One server for all that is killed here, brought back to life after each test."""

from collections.abc import Iterator

import pytest

from tests.chaos.crowd import OFFERED, QUICK
from tests.stack import Stack, Workshop


@pytest.fixture(scope="package")
def victim(workshop: Workshop, database: str) -> Iterator[Stack]:
    with Stack(workshop, database, webs=2, workers=2, env=QUICK | {"CHAT_LLMS": ",".join(OFFERED)}) as made:
        yield made.start()


@pytest.fixture
def stack(victim: Stack) -> Iterator[Stack]:
    """Two web processes and two workers with short leases."""
    yield victim
    victim.heal()
