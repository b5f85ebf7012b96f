"""The page for everybody: in Chinese, by keyboard alone, for those who listen, and safe to read."""

import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest
from playwright.sync_api import Page, expect

from chatproject.launch.page import PACKAGES
from tests.browser.conftest import LONG, PHONE, Server, Visit
from tests.browser.states import states
from tests.browser.words import named, words

# -- for those who listen ----------------------------------------------------------------------------------------------

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


def breaches(page: Page) -> list[str]:
    """Ask axe what is wrong for people who use the page otherwise than by looking and pointing."""
    if not page.evaluate("'axe' in window"):
        page.evaluate((PACKAGES / "axe-core" / "axe.min.js").read_text())
    found = page.evaluate("(rules) => axe.run(document, rules)", RULES)["violations"]
    return [f"{one['id']}: {node['target']} {node['html'][:150]}" for one in found for node in one["nodes"]]


@pytest.mark.parametrize(
    "options",
    [{"color_scheme": "light"}, {"color_scheme": "dark"}, {"color_scheme": "light", **PHONE}],
    ids=["light", "dark", "phone"],
)
def test_axe_finds_nothing_in_any_state(visit: Visit, options: dict[str, Any]) -> None:
    ada = visit("ada", **options)
    found = {state: wrong for state in states(ada) if (wrong := breaches(ada.page))}
    assert found == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_the_pages_around_it(visit: Visit, server: Server, scheme: str) -> None:
    nobody, ada = visit(color_scheme=scheme), visit("ada", color_scheme=scheme)
    nobody.page.goto(f"{server.origin}/login/")
    nobody.page.get_by_label("Name").fill("ada")
    nobody.page.get_by_label("Password").fill("wrong")
    nobody.page.get_by_role("button", name="Sign in").click()
    expect(nobody.page.get_by_role("alert")).to_be_visible()
    assert breaches(nobody.page) == []
    for path in ("/about/", "/password/", "/nowhere/"):
        ada.page.goto(server.origin + path)
        assert breaches(ada.page) == [], path


# -- in both directions ------------------------------------------------------------------------------------------------


def test_code_goes_one_way_in_a_message_that_goes_the_other(visit: Visit) -> None:
    ada = visit("ada")
    ada.new_chat().say("שלום, הרץ את זה:\n\n`-x = $y;`\n\n```bash\n$HOME/bin/run --all !\n```\n\nIn English.")
    bubble = ada.page.locator(".asked:not(.unsent) .prose")  # it is drawn anew once it is said
    expect(bubble.locator("pre")).to_be_visible()
    told = bubble.evaluate(
        """(text) => [text, ...text.querySelectorAll("pre, code")].map((one) => getComputedStyle(one).direction)"""
    )
    assert told == ["rtl", "ltr", "ltr", "ltr"]
    first, last = (bubble.locator("> p").nth(at) for at in (0, -1))
    sides = [one.evaluate(STANDS) for one in (first, last)]
    assert sides == ["right", "left"], "each paragraph stands where its own words begin"


# On which side of its paragraph a line of words stands.
STANDS = """(paragraph) => {
  const words = document.createRange();
  words.selectNodeContents(paragraph);
  const [line] = words.getClientRects(), all = paragraph.getBoundingClientRect();
  return Math.abs(line.left - all.left) < 2 ? "left" : "right";
}"""


# How far a link's host stands to the right of its words, and to the left of them.
APART = """(link) => {
  const [words, host] = [...link.querySelectorAll("bdi")].map((one) => one.getBoundingClientRect());
  return [host.left - words.right, words.left - host.right];
}"""


def test_the_host_behind_a_link_follows_its_words_as_the_line_goes(visit: Visit) -> None:
    ada = visit("ada")
    ada.new_chat().say("See [שלום](https://evil.example/1) now\n\nשלום [here](https://evil.example/2) שלום")
    links = ada.page.locator(".asked .prose a")
    expect(links).to_have_text(["שלום (evil.example)", "here (evil.example)"])
    in_english, in_hebrew = (links.nth(at).evaluate(APART) for at in (0, 1))
    assert in_english[0] > 1, "to the right, behind a space"
    assert in_hebrew[1] > 1, "to the left, behind a space"


# -- in Chinese --------------------------------------------------------------------------------------------------------

# What is the same in every language: names, keys, and what people and models have said.
SAME = re.compile(
    r"\b(ada|eve|demo\S*|[Aa]ssistant|English|Enter|Shift|Esc|Ctrl|Alt|GitHub|AI|JSON|Markdown|Token|Python|USD)\b"
)
TOLD = """() => {
  const told = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT);
  for (let node = walker.currentNode; node; node = walker.nextNode()) {
    const element = node.nodeType === Node.TEXT_NODE ? node.parentElement : node;
    if (element.closest(".prose, pre, .off-screen[aria-live], kbd, script, noscript, [lang]:not(html)")) continue;
    if (node.nodeType === Node.TEXT_NODE) told.push(node.data);
    else for (const name of ["aria-label", "title", "placeholder", "alt", "aria-description"])
      if (element.hasAttribute(name)) told.push(element.getAttribute(name));
  }
  told.push(document.title);
  return told;
}"""


def latin(page: Page) -> list[str]:
    return sorted({text.strip() for text in page.evaluate(TOLD) if re.search(r"[A-Za-z]{2}", SAME.sub("", text))})


def test_in_chinese_no_english_is_left_in_any_state(visit: Visit) -> None:
    eve = visit("eve", locale="zh-CN")  # she has no sessions with English names
    expect(eve.page.locator("html")).to_have_attribute("lang", re.compile("^zh"))
    left = {state: found for state in states(eve, "zh") if (found := latin(eve.page))}
    assert left == {}


def test_both_catalogues_have_the_same_keys_and_places() -> None:
    english, chinese = words("en"), words("zh")
    assert english.keys() == chinese.keys() and len(english) > 100
    for key, text in english.items():
        assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", chinese[key])), key


def test_a_language_and_a_theme_are_switched_for_the_servers_pages_too(visit: Visit, server: Server) -> None:
    ada = visit("ada", color_scheme="light")
    ada.choose_mine("中文")
    expect(ada.page.get_by_role("button", name=named("zh", "session.new"))).to_be_visible()
    ada.page.get_by_role("button", name=named("zh", "me")).click()
    ada.page.get_by_role("menuitem", name=named("zh", "theme.light")).click()
    ada.page.goto(f"{server.origin}/password/")
    expect(ada.page.get_by_role("heading", name="修改密码")).to_be_visible()
    expect(ada.page.locator("html")).to_have_attribute("data-theme", "light")
    ada.page.get_by_role("button", name="English").click()
    expect(ada.page.get_by_role("heading", name="Change password")).to_be_visible()
    ada.open()
    expect(ada.page.get_by_role("button", name="New chat")).to_be_visible()
    expect(ada.page.locator("html")).to_have_attribute("data-theme", "light")


# -- by keyboard alone -------------------------------------------------------------------------------------------------


def test_everything_can_be_done_without_a_mouse(visit: Visit) -> None:
    ada = visit("ada")
    page, press = ada.page, ada.page.keyboard.press
    expect(ada.message).to_be_focused()
    page.get_by_role("button", name="Model:").focus()
    press("Enter")
    press("End")
    press("Enter")
    expect(page.get_by_role("button", name=f"Model: {LONG}")).to_be_focused()
    ada.message.blur()
    press("/")
    expect(ada.message).to_be_focused()
    page.keyboard.type("Line one")
    press("Shift+Enter")
    page.keyboard.type("line two")
    press("Enter")
    ada.await_words(3)
    expect(ada.said_by_me).to_contain_text("line two")
    press("Escape")
    expect(ada.thread.get_by_text("Stopped here")).to_be_visible()
    session = ada.session_id

    ada.row(session).get_by_role("button", name="Actions for").focus()
    press("Enter")
    expect(page.get_by_role("menuitem", name="Rename")).to_be_focused()
    press("Enter")
    page.keyboard.type("By keys alone")
    press("Enter")
    expect(ada.row(session)).to_contain_text("By keys alone")

    press("Alt+n")
    expect(page).to_have_url(f"{ada.origin}/")
    press("Control+k")
    expect(page.get_by_role("searchbox", name="Search chats")).to_be_focused()
    page.keyboard.type("keys alone")
    expect(ada.sessions.get_by_role("link")).to_have_count(1)
    ada.row(session).get_by_role("link").focus()
    press("Enter")
    expect(page).to_have_url(f"{ada.origin}/c/{session}/")

    ada.row(session).get_by_role("button", name="Actions for").focus()
    press("Enter")
    press("ArrowUp")
    expect(page.get_by_role("menuitem", name="Delete")).to_be_focused()
    press("Enter")
    expect(page.get_by_role("dialog", name="Delete")).to_be_visible()
    press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(ada.row(session)).to_be_visible()


def test_the_first_stop_of_the_tab_key_leads_past_the_list(visit: Visit) -> None:
    ada = visit("ada", **PHONE)  # elsewhere the message field has the focus from the start
    ada.page.keyboard.press("Tab")
    expect(ada.page.get_by_role("link", name=named("en", "skip"))).to_be_focused()
    ada.page.keyboard.press("Enter")
    expect(ada.page.get_by_role("textbox", name="Message")).to_be_focused()


# -- safe to read ------------------------------------------------------------------------------------------------------

HARMFUL = """![seen](https://elsewhere.example/pixel.png?secret=1) [click](javascript:alert(1)) <https://elsewhere.example/a>

<img src="https://elsewhere.example/b.png" onerror="alert(1)"><script>alert(1)</script><style>body{display:none}</style>
<iframe src="https://elsewhere.example/"></iframe> ![data](data:image/svg+xml,<svg onload=alert(1)>)

![r][r] <svg onload="alert(1)">

[r]: https://elsewhere.example/c.png
"""


def test_nothing_in_a_message_is_fetched_or_run(visit: Visit) -> None:
    ada = visit("ada")
    ada.page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
    ada.say(HARMFUL)
    expect(ada.answers).to_have_count(1)
    expect(ada.thread.get_by_text("Noted")).to_be_visible()
    expect(ada.thread.get_by_text("seen").first).to_be_visible()
    assert ada.thread.locator("img, iframe, script, style, svg[onload], object, embed").count() == 0
    links = ada.thread.get_by_role("link").all()
    assert links
    for link in links:
        assert (link.get_attribute("href") or "").startswith("https://elsewhere.example/")
        assert set((link.get_attribute("rel") or "").split()) >= {"noopener", "noreferrer"}
        assert link.get_attribute("target") == "_blank"


class Pictures(BaseHTTPRequestHandler):
    """Servers of others: each gives a picture, or sends the browser on to the address that it is asked with."""

    asked: ClassVar[set[tuple[str, str, str | None, str | None]]] = set()

    def do_GET(self) -> None:
        self.asked.add((self.headers["Host"], self.path, self.headers["Referer"], self.headers["Cookie"]))
        if self.path.startswith("/away?"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/away?"))
            self.end_headers()
        else:
            self.send_response(200)
            self.send_header("Content-Type", "image/svg+xml")
            self.end_headers()
            self.wfile.write(b'<svg xmlns="http://www.w3.org/2000/svg" width="40" height="30"/>')

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hosts() -> Iterator[list[str]]:
    Pictures.asked.clear()
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), Pictures) for _ in range(2)]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield [f"localhost:{server.server_port}" for server in servers]
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_picture_from_elsewhere_is_loaded_when_one_asks_for_it_and_from_there_alone(
    visit: Visit, hosts: list[str]
) -> None:
    shown, third = hosts
    ada = visit("ada")
    ada.say(f"![a chart](http://{shown}/chart?a=1&b=2) ![a trap](http://{shown}/away?http://{third}/)")
    chart = ada.said_by_me.locator(".no-picture").filter(has_text="a chart")
    expect(chart).to_contain_text(shown)
    assert not Pictures.asked
    chart.get_by_role("button", name="Load").click()
    picture = ada.said_by_me.frame_locator("iframe[title='a chart']").locator("img")
    expect(picture).to_have_js_property("naturalWidth", 40)
    ada.said_by_me.get_by_role("button", name="Load").click()
    deadline = time.monotonic() + 15
    while len(Pictures.asked) < 2 and time.monotonic() < deadline:
        ada.page.wait_for_timeout(50)
    trap = ada.said_by_me.frame_locator("iframe[title='a trap']").locator("img")
    expect(trap).to_have_js_property("complete", True)  # there is nothing left that could still be asked
    wanted = {"/chart?a=1&b=2", f"/away?http://{third}/"}
    assert Pictures.asked == {(shown, path, None, None) for path in wanted}
    visit.watches[0].problems.clear()  # it counts what is asked of others, also what the policy stops


BREACHES = """async () => {
  const attempt = (what) => { try { what(); } catch {} };
  attempt(() => { document.body.innerHTML += "<b></b>"; });
  attempt(() => document.body.append(Object.assign(document.createElement("style"), { textContent: "b {}" })));
  await fetch("https://elsewhere.example/").catch(() => undefined);
  setTimeout(() => { throw new Error("thrown on purpose"); });
}"""


def test_what_must_not_happen_would_be_noticed(visit: Visit) -> None:
    ada = visit("ada")
    alarms = visit.watches[-1].problems
    ada.page.evaluate(BREACHES)
    expect(ada.message).to_be_visible()  # what the browser has told by now is heard
    for told in ("require-trusted-types-for", "style-src-elem", "connect-src", "thrown on purpose"):
        assert any(told in alarm for alarm in alarms), (told, alarms)
    alarms.clear()
