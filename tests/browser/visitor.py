"""One person at one tab: what they do, by the names that they see, and what their browser notices meanwhile."""

import re
from typing import Any, Self
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, Locator, Page, Request, expect

# Chromium's own words for what a test did on purpose: the network gone, a server restarted, a row not found.
EXPECTED = re.compile(r"net::ERR_|WebSocket (connection|is closed)|status of (401|404|409|429|503)")

TELL_VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) => {
  console.error(`policy: ${event.effectiveDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`);
});
"""


class Watch:
    """What must not happen in any tab: requests to others, breaches of the policy, failures of a script."""

    def __init__(self, context: BrowserContext, *origins: str) -> None:
        self._ours = {urlsplit(origin).netloc for origin in origins}
        self.problems: list[str] = []
        context.add_init_script(TELL_VIOLATIONS)
        context.on("request", self._on_request)
        context.on("weberror", lambda error: self.problems.append(f"script: {error.error}"))
        context.on("console", self._on_console)
        context.on("page", lambda page: page.on("websocket", lambda socket: self._check(socket.url)))

    def _on_request(self, request: Request) -> None:
        self._check(request.url)

    def _check(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"data", "blob"} and parts.netloc not in self._ours:
            self.problems.append(f"asked another host: {url}")

    def _on_console(self, message: Any) -> None:
        if message.type == "error" and not EXPECTED.search(message.text):
            self.problems.append(f"console: {message.text}")


class Visitor:
    def __init__(self, page: Page, origin: str) -> None:
        self.page, self.origin = page, origin

    # -- where they are ----------------------------------------------------------------------------------------------

    def sign_in(self, name: str, password: str) -> Self:
        self.page.goto(f"{self.origin}/login/")
        self.page.get_by_label("Name").fill(name)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Sign in").click()
        expect(self.message).to_be_visible()
        return self

    def open(self, path: str = "/") -> Self:
        self.page.goto(self.origin + path)
        expect(self.message).to_be_visible()
        return self

    @property
    def path(self) -> str:
        return urlsplit(self.page.url).path

    @property
    def session_id(self) -> str:
        found = re.fullmatch(r"/c/([0-9a-f-]{36})/", self.path)
        assert found, self.path
        return found[1]

    # -- what they see -----------------------------------------------------------------------------------------------

    @property
    def message(self) -> Locator:
        return self.page.get_by_role("textbox", name=re.compile("^(Message|消息)$"))

    @property
    def sessions(self) -> Locator:
        return self.page.get_by_role("navigation", name="Sessions")

    def row(self, session_id: str) -> Locator:
        """A session's row in the list, whatever its title is by now."""
        link = self.page.locator(f'a[href="/c/{session_id}/"]')
        return self.sessions.get_by_role("listitem").filter(has=link)

    @property
    def thread(self) -> Locator:
        return self.page.get_by_role("log")

    @property
    def said_by_me(self) -> Locator:
        return self.thread.get_by_role("article", name="You said")

    @property
    def answers(self) -> Locator:
        """What is or was written by an agent: the last one is at the bottom."""
        return self.thread.locator("article.answer[data-message-id]")

    @property
    def stop(self) -> Locator:
        return self.page.get_by_role("button", name="Stop", exact=True)

    def answer_text(self) -> str:
        """The words of the last answer."""
        return " ".join(self.answers.last.locator(".prose").inner_text().split())

    # -- what they do ------------------------------------------------------------------------------------------------

    def new_chat(self) -> Self:
        self.page.get_by_role("button", name="New chat").click()
        expect(self.page).to_have_url(self.origin + "/")
        return self

    def choose_llm(self, name: str) -> Self:
        self.page.get_by_role("button", name="Model:").click()
        self.page.get_by_role("menuitemradio", name=name, exact=True).click()
        return self

    def say(self, text: str) -> Self:
        self.message.fill(text)
        self.message.press("Enter")
        expect(self.message).to_have_value("")
        return self

    def come_back(self) -> Self:
        """Look at this tab again, after others."""
        self.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        return self

    def await_words(self, count: int) -> Self:
        """Wait until the last answer, of a demo model that counts, has come so far."""
        expect(self.answers.last).to_contain_text(re.compile(rf"w{count}(?!\d)"))
        return self

    def choose(self, session_id: str, action: str) -> Self:
        """Choose something that can be done to a session of the list."""
        self.row(session_id).get_by_role("button", name="Actions for").click()
        self.page.get_by_role("menuitem", name=action).click()
        return self

    def rename(self, session_id: str, title: str) -> Self:
        self.choose(session_id, "Rename")
        self.page.get_by_role("textbox", name="Rename").fill(title)
        self.page.keyboard.press("Enter")
        expect(self.row(session_id)).to_contain_text(title)
        return self

    def choose_mine(self, action: str) -> Self:
        """Choose something of one's own menu."""
        self.page.get_by_role("button", name="settings and signing out").click()
        self.page.get_by_role("menuitem", name=action).click()
        return self

    def ask(self, method: str, path: str, data: Any = None, status: int = 200) -> Any:
        """Ask the API with this browser's cookies: for what has no button, or to look at the truth."""
        cookies = {one["name"]: one["value"] for one in self.page.context.cookies()}
        headers = {"X-CSRFToken": cookies.get("csrftoken", ""), "Origin": self.origin}
        answer = self.page.context.request.fetch(self.origin + path, method=method, data=data, headers=headers)
        assert answer.status == status, f"{method} {path}: {answer.status} {answer.text()[:300]}"
        return answer.json() if answer.body() else None
