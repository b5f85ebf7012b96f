"""Servers as they are shipped, but for the time that a client may take nothing."""

from collections.abc import Iterator

import pytest

from tests.chat.hostile.cost import ANSWER, LONG, SLOW_S
from tests.chat.servers.web import Web
from tests.stack import Stack, Workshop
from tests.wire import Person


@pytest.fixture(scope="package")
def stack(workshop: Workshop) -> Iterator[Stack]:
    with Stack(workshop, "sqlite", webs=0, workers=1, env={"CHAT_LLMS": f"{ANSWER},{LONG}"}) as made:
        yield made.start()


@pytest.fixture(scope="package", params=["daphne", "uvicorn"])
def web(stack: Stack, request: pytest.FixtureRequest) -> Iterator[Web]:
    """A server as it is shipped, but for the time that a client may take nothing, and with a window."""
    env = {"CHAT_SLOW_S": str(SLOW_S), "CHAT_SOCKETS_PER_USER": "0", "CHAT_TEST_PATIENT": "1"}
    made = Web(stack, request.param, **env)
    made.start()
    yield made
    made.end()


@pytest.fixture
def ada(stack: Stack) -> Person:
    return stack.person("ada")
