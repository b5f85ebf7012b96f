"""Where things are on the screen, and that all of them can be reached: on a desktop and on a phone."""

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import DESKTOP, LONG, PHONE, Visit
from tests.browser.states import states
from tests.browser.words import named


def test_the_list_stands_beside_the_talk_from_top_to_bottom(visit: Visit) -> None:
    ada = visit("ada", **DESKTOP)
    side = ada.page.locator(".left").bounding_box()
    assert side and (side["x"], side["y"], side["height"]) == (0, 0, DESKTOP["viewport"]["height"])


@pytest.mark.parametrize("options", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_what_was_not_sent_is_in_sight_where_its_session_is_gone(visit: Visit, options: dict[str, Any]) -> None:
    ada = visit("ada", **options)
    ada.say("What will be gone")
    expect(ada.answers).to_have_count(1)
    ada.message.fill("Half a thought")
    ada.ask("DELETE", f"/api/sessions/{ada.session_id}/", status=204)
    left = ada.page.get_by_role("region", name=named("en", "session.gone.left"))
    expect(left.get_by_text("Half a thought")).to_be_in_viewport(ratio=1)
    expect(left.get_by_role("button", name="Copy message")).to_be_in_viewport(ratio=1)
    left.get_by_role("button", name="Discard").click()
    expect(left).to_have_count(0)


# What one could not touch: beyond the edge, in the part of the page that never moves.
BEYOND = """() => [...document.querySelectorAll("main button, main a, main textarea, main summary")]
  .filter((one) => one.checkVisibility())
  .filter((one) => one.getBoundingClientRect().left < 0 || one.getBoundingClientRect().right > screen.width)
  .map((one) => one.getAttribute("aria-label") ?? one.textContent)"""

# What stands around the message field and lies over its neighbour, or has no room for its name.
CROWDED = """() => {
  const boxes = [...document.querySelectorAll(".composer button")].map((one) => [one, one.getBoundingClientRect()]);
  const over = boxes.filter(([, box], at) => at && box.left < boxes[at - 1][1].right).map(([one]) => one);
  const names = [...document.querySelectorAll(".picker > span:not(.avatar)")].filter((one) => one.clientWidth < 20);
  return [...over, ...names].map((one) => one.getAttribute("aria-label") ?? one.textContent);
}"""


def test_a_phone_has_everything_and_nothing_wider_than_itself(visit: Visit) -> None:
    ada = visit("ada", **PHONE)
    for state in states(ada):
        wide = ada.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, state
        assert ada.page.evaluate(BEYOND) == [], state
    ada.open().choose_llm(LONG).say("Count")
    ada.await_words(1)
    ada.say("And then").message.fill("And this")
    expect(ada.page.get_by_role("region", name="Waiting messages")).to_be_visible()
    expect(ada.page.get_by_role("button", name=named("en", "busy.how"))).to_be_visible()
    assert ada.page.evaluate(BEYOND) == []
    assert ada.page.evaluate(CROWDED) == []
    for _ in range(2):
        ada.stop.click()
    expect(ada.stop).to_have_count(0)
