"""On daphne and on uvicorn, each a process of its own, of which nothing is left after a test."""

from collections.abc import Iterator

import pytest

from tests.chat.servers.web import Web
from tests.stack import Stack, Workshop
from tests.wire import Person


@pytest.fixture(scope="module")
def stack(workshop: Workshop) -> Iterator[Stack]:
    """Redis and a database; the web processes are these tests' own."""
    with Stack(workshop, "sqlite", webs=0, workers=0) as made:
        yield made.start()


@pytest.fixture(scope="module", params=["daphne", "uvicorn"])
def web(stack: Stack, request: pytest.FixtureRequest) -> Iterator[Web]:
    made = Web(stack, request.param)
    made.start()
    yield made
    made.end()


@pytest.fixture
def ada(stack: Stack) -> Person:
    return stack.person("ada")


@pytest.fixture(autouse=True)
def _nothing_stays(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "web" in request.fixturenames:
        request.getfixturevalue("web").lets_go()
