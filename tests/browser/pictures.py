"""Pictures of the page in every state, to look at: `python -m tests.browser.pictures OUT [NAME …]`.

Light and dark, desktop and phone, English and Chinese. `docs/pictures/` has some of them.
"""

import argparse
import os
import re
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser import chromium
from tests.browser.conftest import DESKTOP, LONG, PASSWORD, PHONE, SLOW, Server
from tests.browser.states import states
from tests.browser.visitor import Visitor
from tests.proxy import Proxy

LOOKS: dict[str, dict[str, Any]] = {
    "light": {**DESKTOP, "color_scheme": "light"},
    "dark": {**DESKTOP, "color_scheme": "dark"},
    "phone": {**PHONE, "color_scheme": "light"},
    "phone-dark": {**PHONE, "color_scheme": "dark"},
    "chinese": {**DESKTOP, "color_scheme": "light", "locale": "zh-CN"},
}
TALK = [
    "The shop has been slow since the release of 14:20. Orders still go through.",
    "Payments answer in 900 ms instead of 80. The database is idle, and so is the queue.",
    "What do we know about payments?",
]


class Studio:
    def __init__(self, browser: Browser, server: Server, cable: Proxy, out: Path) -> None:
        self.browser, self.server, self.cable, self.out = browser, server, cable, out
        self.states: dict[str, Any] = {}

    def take(self, visitor: Visitor, name: str) -> None:
        visitor.page.screenshot(path=self.out / f"{name}.png", animations="disabled")
        print(name, flush=True)

    def visitor(self, person: str, **look: Any) -> Visitor:
        origin = f"http://127.0.0.1:{self.cable.port}"
        if person not in self.states:
            context = self.browser.new_context(locale="en-US")
            Visitor(context.new_page(), origin).sign_in(person, PASSWORD)
            self.states[person] = context.storage_state()
            context.close()
        context = self.browser.new_context(**{"locale": "en-US", **look, "storage_state": self.states[person]})
        return Visitor(context.new_page(), origin).open()

    def around(self, look: str) -> None:
        """The pages around the chat."""
        context = self.browser.new_context(**{"locale": "en-US", **LOOKS[look]})
        page = context.new_page()
        page.goto(f"{self.server.origin}/login/")
        self.take(Visitor(page, ""), f"{look}-page-sign-in")
        signed_in = self.visitor("ada", **LOOKS[look])
        for path in ("password", "about", "nowhere"):
            signed_in.page.goto(f"{signed_in.origin}/{path}/")
            self.take(signed_in, f"{look}-page-{path}")

    def usual(self, look: str) -> None:
        """Each state that one comes by."""
        visitor = self.visitor("ada", **LOOKS[look])
        for state in states(visitor, "zh" if look == "chinese" else "en"):
            self.take(visitor, f"{look}-{state}")

    def under_way(self, look: str) -> None:
        """An answer that comes, messages that wait behind it, a stop."""
        visitor = self.visitor("ada", **LOOKS[look])
        for said in TALK:
            visitor.say(said)
            expect(visitor.page.get_by_role("button", name="Copy answer")).to_have_count(TALK.index(said) + 1)
        self.take(visitor, f"{look}-talk")
        visitor.choose_llm(LONG).say("Count the payments of this minute.")
        visitor.await_words(60)
        visitor.say("And those that failed?").say("Then write a short note for support.")
        self.take(visitor, f"{look}-streaming")
        for _ in range(3):
            visitor.stop.click()
            visitor.page.wait_for_timeout(300)
        expect(visitor.stop).to_have_count(0)
        self.take(visitor, f"{look}-stopped")

    def acting(self, look: str) -> None:
        """Tools, and an approval."""
        visitor = self.visitor("ada", **LOOKS[look]).say("@support order status 1001")
        expect(visitor.page.get_by_role("button", name="Copy answer")).to_have_count(1)
        visitor.thread.get_by_role("group").last.locator("summary").click()
        self.take(visitor, f"{look}-tool")
        visitor.say("@support cancel order 1001")
        expect(visitor.page.get_by_role("button", name="Approve")).to_be_visible()
        self.take(visitor, f"{look}-approval")
        for _ in range(2):
            visitor.page.get_by_role("button", name="Refuse").click()
        expect(visitor.page.get_by_role("button", name="Copy answer")).to_have_count(2)
        self.take(visitor, f"{look}-refused")

    def faults(self, look: str) -> None:
        """A worker that was killed; no connection."""
        visitor = self.visitor("ben", **LOOKS[look])
        visitor.choose_llm(SLOW).say("Count the payments of this minute.")
        visitor.await_words(10)
        os.kill(self.server.launched.pid("worker"), signal.SIGKILL)
        expect(visitor.thread.get_by_text("The answer is being written again")).to_be_visible()
        self.take(visitor, f"{look}-restarted")
        visitor.await_words(100)
        expect(visitor.stop).to_have_count(0)
        self.cable.lead_to(9)
        expect(visitor.page.get_by_text("The connection was lost")).to_be_visible()
        visitor.say("I write this while I am away.")
        self.take(visitor, f"{look}-offline")
        self.cable.lead_to(self.server.launched.port)

    def long(self, look: str) -> None:
        """A long thread, scrolled up."""
        visitor = self.visitor("eve", **LOOKS[look])
        visitor.say("The first of many messages")
        expect(visitor.answers).to_have_count(1)
        session = visitor.session_id
        for number in range(30):
            body = {"content": f"Point {number}: the payments of hour {number} were fine."}
            visitor.ask("POST", f"/api/sessions/{session}/messages/?wait=20", body)
        visitor.page.reload()
        expect(visitor.thread.get_by_text("Point 29").first).to_be_visible()
        self.take(visitor, f"{look}-long")
        visitor.thread.hover()
        visitor.page.mouse.wheel(0, -1500)
        expect(visitor.page.get_by_role("button", name=re.compile("latest message"))).to_be_visible()
        self.take(visitor, f"{look}-scrolled")


def pictures(studio: Studio) -> Iterator[tuple[str, Any]]:
    for look in LOOKS:
        yield f"{look}-around", lambda look=look: studio.around(look)
        yield f"{look}-usual", lambda look=look: studio.usual(look)
        if look != "chinese":
            yield f"{look}-under-way", lambda look=look: studio.under_way(look)
            yield f"{look}-acting", lambda look=look: studio.acting(look)
    for look in ("light", "phone-dark"):
        yield f"{look}-faults", lambda look=look: studio.faults(look)
        yield f"{look}-long", lambda look=look: studio.long(look)


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m tests.browser.pictures", description=__doc__)
    arguments.add_argument("out", type=Path)
    arguments.add_argument("names", nargs="*", help="only sets that begin so, like light or phone-usual")
    asked = arguments.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    expect.set_options(timeout=30_000)
    with (
        tempfile.TemporaryDirectory() as folder,
        Server(Path(folder) / "data", CHAT_TITLE_LLM="") as server,
        sync_playwright() as tool,
    ):
        browser = tool.chromium.launch(executable_path=chromium.find(), args=chromium.OPTIONS)
        studio = Studio(browser, server, Proxy(server.launched.port), asked.out)
        for name, take in pictures(studio):
            if not asked.names or name.startswith(tuple(asked.names)):
                take()


if __name__ == "__main__":
    main()
