"""An agent that acts: a person approves or refuses what it wants to do, in whichever tab they are."""

import json
import re
from typing import Any

from playwright.sync_api import Locator, expect

from tests.browser.conftest import Visit
from tests.browser.test_page import breaches, latin
from tests.browser.visitor import Visitor
from tests.browser.words import named, words


def question(visitor: Visitor) -> Locator:
    return visitor.thread.get_by_role("region", name="A question for you")


def tool(visitor: Visitor, name: str) -> Locator:
    """The card of a tool that was called last."""
    return visitor.thread.get_by_role("group").filter(has_text=name).last


def test_an_approval_is_given_in_another_tab(visit: Visit) -> None:
    one = visit("ada").say("@support cancel order 1001")
    expect(question(one)).to_contain_text("1001")
    expect(question(one).get_by_role("button", name="Approve")).to_be_visible()
    assert breaches(one.page) == []
    two = visit(beside=one)
    expect(two.page.get_by_role("button", name="Inbox: 1 question")).to_be_visible()
    two.open(one.path)
    question(two).get_by_role("button", name="Approve").click()
    for tab in (one, two):
        expect(question(tab)).to_have_count(0)
        expect(tool(tab, "cancel_order")).to_contain_text("done")
        expect(tab.stop).to_have_count(0)
        expect(tab.answers.last).to_contain_text("cancelled")
    tool(one, "cancel_order").locator("summary").click()
    assert breaches(one.page) == []
    expect(two.page.get_by_role("button", name=re.compile(r"^Inbox$"))).to_be_visible()


def test_a_refusal_keeps_the_order_and_tells_the_agent_why(visit: Visit) -> None:
    ben = visit("ben").say("@support cancel order 1004")
    question(ben).get_by_role("button", name="Refuse").click()
    ben.page.get_by_label("Why not?").fill("The customer called again")
    question(ben).get_by_role("button", name="Refuse").click()
    expect(question(ben)).to_have_count(0)
    expect(tool(ben, "cancel_order")).to_contain_text("refused")
    expect(ben.stop).to_have_count(0)
    ben.say("@support order status 1004")
    expect(tool(ben, "get_order_status")).to_contain_text("done")
    tool(ben, "get_order_status").locator("summary").click()
    expect(tool(ben, "get_order_status")).to_contain_text("processing")


def left(visitor: Visitor, row: dict[str, Any]) -> list[str]:
    """The English that is the page's own: not the words of the tool, or the agent's name."""
    told = bare(json.dumps(row["payload"])) + "Customersupport"
    return [text for text in latin(visitor.page) if bare(text) not in told]


def bare(text: str) -> str:
    return re.sub(r"[\s\"\\]", "", text)


def test_a_question_outlives_a_reload_and_is_asked_in_chinese_too(visit: Visit) -> None:
    eve = visit("eve", locale="zh-CN").say("@support cancel order 1006")
    asked = eve.thread.get_by_role("region", name=named("zh", "question.asks"))
    expect(asked).to_be_visible()
    eve.page.reload()
    expect(asked).to_contain_text("1006")
    refuse = asked.get_by_role("button", name=re.compile(words("zh")["question.refuse"]))
    [row] = eve.ask("GET", "/api/interrupts/?status=open")["results"]
    refuse.click()
    assert left(eve, row) == []
    refuse.click()
    expect(asked).to_have_count(0)
    expect(tool(eve, "cancel_order")).to_contain_text(words("zh")["tool.refused"])
    assert left(eve, row) == []


def test_enter_in_the_reason_of_an_operator_refuses(visit: Visit) -> None:
    eve = visit("eve").say("@support cancel order 1006")
    expect(question(eve)).to_contain_text("1006")
    [row] = eve.ask("GET", "/api/interrupts/?status=open")["results"]
    operator = visit().page
    operator.goto(f"{eve.origin}/admin/login/?next=/admin/chat/interrupt/{row['interrupt_id']}/change/")
    operator.get_by_label("Username").fill("demo")
    operator.get_by_label("Password").fill("demo")
    operator.keyboard.press("Enter")
    operator.get_by_label("Reason, where you refuse").fill("The customer called again")
    operator.keyboard.press("Enter")
    expect(operator.get_by_text("Answered.")).to_be_visible()
    answered, *_ = eve.ask("GET", "/api/interrupts/?status=resolved")["results"]
    assert answered["interrupt_id"] == row["interrupt_id"]
    assert answered["answer"] == {"approved": False, "reason": "The customer called again"}
    expect(tool(eve, "cancel_order")).to_contain_text("refused")
