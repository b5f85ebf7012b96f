"""The page in a browser, beside Chainlit's: what is loaded before one can write, and whether it stays smooth.

Frames are counted by the page's own `requestAnimationFrame`, of which a browser without a screen gives 60 a second.
"""

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from benchmarks import rivals
from benchmarks.bench import Bench, Wrong
from benchmarks.figures import Figure, Rounds, ratio
from benchmarks.llm import END, markdown
from tests.browser import chromium
from tests.stack import Stack
from tests.wire import Person

TITLE = "The page in Chromium"
TOKENS, PER_S, SHORT = 2000, 100, 70
MESSAGES, IN_TURN = 5000, 20
SCROLL_S = 4.0
PASSWORD = "correct horse battery"

SIZE, READY = "first load, all that is sent", "first load, until one can write"
FRAMES, WORST, BUSY = (
    f"frames a second while an answer of {TOKENS:,} pieces is written",
    "frames in its worst second",
    "main thread busy meanwhile",
)
OPENED, SCROLLED, SCROLLED_WORST = (
    f"opening a session of {MESSAGES:,} messages",
    "frames a second, scrolling up in it",
    "frames in its worst second of that",
)
OURS, CHAINLIT = "ours", "Chainlit"

COUNT = """
window.counted = []
const count = (at) => { counted.push(at); requestAnimationFrame(count) }
requestAnimationFrame(count)
"""
# As a wheel that is turned without a pause: 3,000 pixels a second.
SCROLL = """
const scroller = document.querySelector("[role=log]")
let before = performance.now()
const scroll = (at) => { scroller.scrollTop -= (at - before) * 3; before = at; requestAnimationFrame(scroll) }
requestAnimationFrame(scroll)
"""
SENT = """
[...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
  .reduce((bytes, entry) => bytes + entry.transferSize, 0)
"""


@dataclass
class Site:
    """A page to measure: where one writes, where the last answer is, and who is signed in."""

    url: str
    writes_in: str
    answer: str
    signed_in: Any = None
    context: BrowserContext = field(init=False)

    async def visit(self, browser: Browser) -> Page:
        """Open it as somebody does whose browser has none of its files yet."""
        self.context = await browser.new_context(storage_state=self.signed_in, viewport={"width": 1280, "height": 800})
        page = await self.context.new_page()
        await page.goto(self.url)
        await page.locator(self.writes_in).wait_for()
        return page


async def run(bench: Bench) -> list[Figure]:
    llm_url, rounds = bench.llm(), Rounds()
    long_answer = f"markdown-{TOKENS}@{PER_S}"
    env = {"CHAT_LLM": f"openai:markdown-{SHORT}@0", "OPENAI_BASE_URL": llm_url, "OPENAI_API_KEY": "none"}
    stack = bench.stack(env=env)
    ada = stack.person("ada", PASSWORD)
    session_id = await long_talk(stack, ada, MESSAGES // 2)
    stack.ask("Agent.objects.update(llm=llm)", llm=f"openai:{long_answer}")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium.find(), args=chromium.OPTIONS)
        ours = Site(stack.webs[0].url, "textarea", "article.answer .prose", await sign_in(browser, stack, ada))
        theirs = Site(rivals.chainlit(bench, llm_url, long_answer)[0], "#chat-input", ".ai-message")
        for _ in range(min(bench.rounds, bench.times(bench.rounds))):  # one takes more than a minute
            for who, site in ((OURS, ours), (CHAINLIT, theirs)):
                await load(rounds, who, site, browser)
                await answer(rounds, who, site, browser)
            await long_session(rounds, ours, browser, session_id)
        await browser.close()
    beside = [ratio(rounds.figure(what, OURS), rounds.figure(what, CHAINLIT)) for what in (SIZE, READY, BUSY)]
    most = {(SIZE, OURS): 250.0, (OPENED, OURS): 1000.0}
    return [*rounds.figures(most, {(FRAMES, OURS): 50.0, (SCROLLED, OURS): 50.0}), *beside]


async def long_talk(stack: Stack, person: Person, turns: int) -> str:
    """Have a session of so many questions and answers."""
    async with stack.client(person) as client:
        session_id = await client.new_session()
        await client.subscribe(session_id)
        for begun in range(0, turns, IN_TURN):
            asked = range(begun, min(begun + IN_TURN, turns))
            runs = [await client.say(session_id, f"Question {number} of {turns}?") for number in asked]
            await client.ended(session_id, runs[-1])
    return session_id


async def sign_in(browser: Browser, stack: Stack, person: Person) -> Any:
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(f"{stack.webs[0].url}/login/")
    await page.get_by_label("Name").fill(person.username)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()
    await page.locator("textarea").wait_for()
    state = await context.storage_state()
    await context.close()
    return state


# --- what is measured -------------------------------------------------------------------------------------------------
async def load(rounds: Rounds, who: str, site: Site, browser: Browser) -> None:
    begin = time.perf_counter()
    page = await site.visit(browser)
    ready = time.perf_counter() - begin
    await page.wait_for_load_state("networkidle")  # also what it loads a little later
    rounds.add(SIZE, who, "KB", await page.evaluate(SENT) / 1000)
    rounds.add(READY, who, "ms", ready * 1000)
    await site.context.close()


async def answer(rounds: Rounds, who: str, site: Site, browser: Browser) -> None:
    """Ask, and count the frames from the first words of the answer to its last."""
    page = await site.visit(browser)
    await page.wait_for_load_state("networkidle")  # before, Chainlit does not listen
    shown = page.locator(site.answer).last
    await page.locator(site.writes_in).fill("Tell me everything.")
    await page.keyboard.press("Enter")
    await until(shown.count)
    metrics = await page.context.new_cdp_session(page)
    await metrics.send("Performance.enable")
    before, begin = await main_thread_s(metrics), time.perf_counter()
    await page.evaluate(COUNT)
    await until(lambda: ended(page, site), TOKENS / PER_S + 60)
    stamps = await page.evaluate("counted")
    took = time.perf_counter() - begin
    rounds.add(BUSY, who, "%", (await main_thread_s(metrics) - before) / took * 100)
    rounds.add(FRAMES, who, "/s", per_second(stamps))
    rounds.add(WORST, who, "", worst_second(stamps))
    check(who, await shown.inner_text(), TOKENS)
    await site.context.close()


async def long_session(rounds: Rounds, site: Site, browser: Browser, session_id: str) -> None:
    """Open a long session from the list, and scroll up in it: older messages are loaded meanwhile."""
    page = await site.visit(browser)
    link = page.locator(f'a[href="/c/{session_id}/"]')
    await link.wait_for()
    begin = time.perf_counter()
    await link.click()
    await page.locator(site.answer).last.wait_for()
    rounds.add(OPENED, OURS, "ms", (time.perf_counter() - begin) * 1000)
    await page.evaluate(COUNT)
    await page.evaluate(SCROLL)
    await asyncio.sleep(SCROLL_S)
    stamps = await page.evaluate("counted")
    rounds.add(SCROLLED, OURS, "/s", per_second(stamps))
    rounds.add(SCROLLED_WORST, OURS, "", worst_second(stamps))
    await site.context.close()


async def ended(page: Page, site: Site) -> bool:
    """Whether the answer's last words are there: asked seldom, and of the end of it alone."""
    script = "([answer, end]) => [...document.querySelectorAll(answer)].at(-1)?.textContent.trim().endsWith(end)"
    return bool(await page.evaluate(script, [site.answer, END]))


async def until(holds: Callable[[], Any], seconds: float = 30) -> None:
    """Raises Wrong where it never holds."""
    deadline = time.monotonic() + seconds
    while not await holds():
        if time.monotonic() > deadline:
            raise Wrong("the page did not show the answer in time")
        await asyncio.sleep(0.1)


async def main_thread_s(metrics: Any) -> float:
    """For how long the page's main thread has worked: scripts, styles, layout, painting."""
    found = await metrics.send("Performance.getMetrics")
    return next(float(one["value"]) for one in found["metrics"] if one["name"] == "TaskDuration")


def per_second(stamps: list[float]) -> float:
    return (len(stamps) - 1) / (stamps[-1] - stamps[0]) * 1000


def worst_second(stamps: list[float]) -> float:
    """The fewest frames within any second."""
    fewest, last = len(stamps), 0
    for first, at in enumerate(stamps):
        while last < len(stamps) and stamps[last] < at + 1000:
            last += 1
        if last == len(stamps):
            break
        fewest = min(fewest, last - first)
    return fewest


def check(who: str, shown: str, tokens: int) -> None:
    """Raises Wrong where a word of the answer is missing or came twice."""
    expected = re.findall(r"word\d+", "".join(markdown(tokens)))
    words = re.findall(r"word\d+", shown)
    if words != expected:
        raise Wrong(f"{who} showed {len(words)} words of {len(expected)}: {shown[-200:]}")
