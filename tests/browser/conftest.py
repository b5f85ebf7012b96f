"""A stack, a browser, and people in it. What a browser must never do is looked at after every test."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from playwright.sync_api import Browser, BrowserContext, expect, sync_playwright

from chatproject.launch.plan import ROOT
from tests.browser import chromium
from tests.browser.visitor import Visitor, Watch
from tests.launch.launched import Launched

PATIENCE = float(os.environ.get("CHAT_TEST_PATIENCE", "1"))
PASSWORD = "correct horse battery"
PEOPLE = ("ada", "ben", "eve")
DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
# What a message may choose: demo models that count, to 60 in three seconds, to 100 after some thought, or without end.
COUNTING, LONG = "demo?tokens=60&tokens_per_s=20", "demo?tokens=4000&tokens_per_s=20"
SLOW = "demo?tokens=100&tokens_per_s=20&first_token_ms=1500"
ROOMY = {
    "CHAT_MESSAGES_PER_10S": "0",
    "CHAT_SOCKETS_PER_USER": "0",
    "CHAT_RUNS_PER_USER": "0",
    "CHAT_SIGN_INS_PER_MINUTE": "0",
    "CHAT_TITLE_LLM": "none",  # the tests name their sessions themselves
}

expect.set_options(timeout=15_000 * PATIENCE)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Server"]:
    with Server(tmp_path_factory.mktemp("browser") / "data") as made:
        yield made


class Server:
    """`make run`'s launcher on a port that stays, with three accounts."""

    def __init__(self, data: Path, **settings: str) -> None:
        self.data = data
        self.settings = {**ROOMY, "CHAT_LLMS": f"{COUNTING},{SLOW},{LONG}", **settings}
        self.launched = Launched(data, settings=self.settings)

    def __enter__(self) -> Self:
        self.launched.until_ready()
        adding = [self._manage("adduser", name) for name in PEOPLE]
        for process in adding:
            assert process.wait(60) == 0
        return self

    def __exit__(self, *problem: object) -> None:
        self.launched.end()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.launched.port}"

    def _manage(self, *command: str) -> subprocess.Popen[bytes]:
        environ = {**os.environ, "CHAT_DATA_DIR": str(self.data), "CHAT_PASSWORD": PASSWORD}
        return subprocess.Popen([sys.executable, "manage.py", *command], cwd=ROOT, env=environ)

    def restart(self) -> None:
        """Stop all of it, as Ctrl-C does, and start it again on the same port and data."""
        self.launched.end()
        self.launched = Launched(self.data, port=self.launched.port, settings=self.settings)
        self.launched.until_ready()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = chromium.find()
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=program, args=chromium.OPTIONS)


@pytest.fixture(scope="session")
def signed_in(browser: Browser, server: Server) -> Callable[[str], Any]:
    """A browser's memory after a person signed in, which they did once."""
    kept: dict[str, Any] = {}

    def state_of(name: str) -> Any:
        if name not in kept:
            context = browser.new_context()
            Visitor(context.new_page(), server.origin).sign_in(name, PASSWORD)
            kept[name] = context.storage_state()
            context.close()
        return kept[name]

    return state_of


class Visit:
    """`visit("ada")` opens the page in a browser where Ada is signed in; `beside=` in another tab of one's own;
    `origin=` by another door; the rest is for the browser."""

    def __init__(self, browser: Browser, server: Server, signed_in: Callable[[str], Any]) -> None:
        self._browser, self._server, self._signed_in = browser, server, signed_in
        self.contexts: list[BrowserContext] = []
        self.watches: list[Watch] = []

    def __call__(
        self,
        name: str | None = None,
        path: str = "/",
        *,
        beside: Visitor | None = None,
        origin: str = "",
        **options: Any,
    ) -> Visitor:
        if beside is None:
            origin = origin or self._server.origin
            state = self._signed_in(name) if name else None
            context = self._browser.new_context(**{"locale": "en-US", "storage_state": state, **options})
            self.contexts.append(context)
            self.watches.append(Watch(context, origin))
        else:
            context, origin = beside.page.context, beside.origin
        visitor = Visitor(context.new_page(), origin)
        return visitor.open(path) if name or beside else visitor


@pytest.fixture
def visit(browser: Browser, server: Server, signed_in: Callable[[str], Any]) -> Iterator[Visit]:
    made = Visit(browser, server, signed_in)
    yield made
    for context in made.contexts:
        context.close()
    assert [problem for watch in made.watches for problem in watch.problems] == []
