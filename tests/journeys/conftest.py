"""The server of the journeys, and its three people, new for each test: no test meets what another one left."""

from collections.abc import Iterator

import pytest

from tests.conftest import OFFERED
from tests.deeds import Deeds
from tests.stack import Stack, Workshop
from tests.wire import Person


@pytest.fixture(scope="package")
def deeds(tmp_path_factory: pytest.TempPathFactory, database: str) -> Deeds:
    """The tools that the shared server's workers have besides their own."""
    return Deeds(tmp_path_factory.mktemp(f"deeds-{database}"))


@pytest.fixture(scope="package")
def stack(workshop: Workshop, database: str, deeds: Deeds) -> Iterator[Stack]:
    """A server that tests share and leave as they found it: two web processes, a worker, a scripted LLM's server."""
    env = {"CHAT_LLMS": ",".join(OFFERED), "CHAT_LLM_FIRST_TOKEN_S": "3", "CHAT_LLM_BETWEEN_TOKENS_S": "3"}
    with Stack(workshop, database, webs=2, llm=True, env=env | deeds.env) as made:
        yield made.start()


@pytest.fixture
def ada(stack: Stack) -> Person:
    """The owner."""
    return stack.person("ada")


@pytest.fixture
def ben(stack: Stack) -> Person:
    """A member."""
    return stack.person("ben")


@pytest.fixture
def eve(stack: Stack) -> Person:
    """A stranger."""
    return stack.person("eve")


@pytest.fixture(autouse=True)
def _nothing_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "stack" in request.fixturenames:
        request.getfixturevalue("stack").heal()
