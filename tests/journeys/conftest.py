"""The server of the journeys, and its three people, new for each test: no test meets what another one left."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import OFFERED
from tests.stack import Stack, Workshop
from tests.wire import Person
from tests.workers.tools.installed import install

SEND = '''"""A tool that writes down what it does, where a test can read it."""

import os

from workers.tools.base import ToolContext, tool


@tool(effect="once", access="write")
def send(context: ToolContext, number: int) -> str:
    """Send something."""
    with open(os.environ["DEEDS"], "a") as deeds:
        deeds.write(f"{context.session_id} {number}\\n")
    return f"sent {number}"
'''


@pytest.fixture(scope="package")
def tools(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of servers whose workers have a package of tools."""
    folder = install(tmp_path_factory.mktemp("tools"), "journeys", SEND)
    return {"PYTHONPATH": str(folder), "DEEDS": str(folder / "deeds")}


@pytest.fixture(scope="package")
def stack(workshop: Workshop, database: str, tools: dict[str, str]) -> Iterator[Stack]:
    """A server that tests share and leave as they found it: two web processes, a worker, a scripted LLM's server."""
    env = {"CHAT_LLMS": ",".join(OFFERED), "CHAT_LLM_FIRST_TOKEN_S": "3", "CHAT_LLM_BETWEEN_TOKENS_S": "3"} | tools
    with Stack(workshop, database, webs=2, llm=True, env=env) as made:
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
