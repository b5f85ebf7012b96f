"""From signing in to signing out: two tabs, two people."""

import re

from playwright.sync_api import expect

from tests.browser.conftest import COUNTING, LONG, PASSWORD, Server, Visit


def test_the_whole_journey_in_two_tabs(visit: Visit, server: Server) -> None:
    one = visit()
    one.page.goto(server.origin)
    expect(one.page).to_have_url(f"{server.origin}/login/?next=/")
    one.sign_in("ada", PASSWORD)
    two = visit(beside=one)

    one.choose_llm(LONG).say("Count for me, please")
    one.await_words(10)
    session = one.session_id
    two.come_back().row(session).get_by_role("link").click()
    two.await_words(12)
    assert two.session_id == session

    two.stop.click()
    for tab in (one, two):
        expect(tab.thread.get_by_text("Stopped here")).to_be_visible()
        expect(tab.stop).to_have_count(0)
    said = one.answer_text()
    assert said == two.answer_text()
    assert re.fullmatch(r"w1( w\d+)*", said)

    one.choose_llm(COUNTING)
    one.thread.get_by_role("button", name="Try again").click()
    for tab in (one, two):
        expect(tab.answers).to_have_count(2)

    two.rename(session, "Counting")
    expect(one.row(session)).to_contain_text("Counting")

    one.new_chat().say("Something else")
    expect(one.answers).to_have_count(1)
    other = one.session_id
    one.rename(other, "Elsewhere")
    search = one.page.get_by_role("searchbox", name="Search chats")
    search.fill("counting")
    expect(one.row(other)).to_have_count(0)
    one.row(session).get_by_role("link").click()
    expect(one.page).to_have_url(f"{server.origin}/c/{session}/")
    search.fill("")

    one.choose(session, "Delete")
    dialog = one.page.get_by_role("dialog", name="Delete")
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_have_count(0)
    one.choose(session, "Delete")
    dialog.get_by_role("button", name="Delete").click()
    expect(one.row(session)).to_have_count(0)
    expect(two.page.get_by_text("you do not take part in it")).to_be_visible()

    one.choose_mine("Sign out")
    expect(one.page).to_have_url(f"{server.origin}/login/")
    two.page.reload()
    expect(two.page).to_have_url(re.compile(r"/login/\?next="))


def test_signing_out_in_the_admin_forgets_what_one_typed_and_nothing_of_others(visit: Visit, server: Server) -> None:
    page = visit().sign_in("demo", "demo").page
    page.evaluate("localStorage.setItem('chat.of.another.draft.new', 'Theirs')")
    page.get_by_role("textbox", name="Message").fill("The merger is on Friday")
    names = "Object.keys(localStorage).filter((name) => name.startsWith('chat.of.'))"
    page.wait_for_function(f"{names}.length === 2")
    page.goto(f"{server.origin}/admin/")
    page.locator("#logout-form").evaluate("(form) => form.requestSubmit()")
    expect(page).to_have_url(f"{server.origin}/login/")
    assert page.evaluate(names) == ["chat.of.another.draft.new"]


def test_two_people_in_one_session(visit: Visit) -> None:
    ada, ben = visit("ada"), visit("ben")
    ada.choose_llm(COUNTING).say("For both of us")
    ada.await_words(2)
    session = ada.session_id
    ada.ask("POST", f"/api/sessions/{session}/members/", {"username": "ben", "role": "member"}, 201)
    ben.open(f"/c/{session}/").await_words(60)
    ada.await_words(60)
    assert ada.answer_text() == ben.answer_text() == " ".join(f"w{n}" for n in range(1, 61))

    ben.message.press_sequentially("I ty")
    expect(ada.page.get_by_text("ben is typing")).to_be_visible()
    ben.say("I too have a question")
    expect(ada.thread.get_by_role("article", name="ben said")).to_contain_text("I too have a question")
    expect(ada.answers).to_have_count(2)


def test_what_is_not_mine_is_not_there(visit: Visit) -> None:
    ada, eve = visit("ada"), visit("eve")
    ada.say("A secret")
    expect(ada.answers).to_have_count(1)
    eve.page.goto(ada.page.url)
    expect(eve.page.get_by_text("you do not take part in it")).to_be_visible()
    expect(eve.row(ada.session_id)).to_have_count(0)


def test_a_message_waits_behind_the_answer_and_can_be_changed(visit: Visit) -> None:
    ada = visit("ada").choose_llm(LONG).say("The first")
    ada.await_words(1)
    ada.say("The second").say("The third")
    queue = ada.page.get_by_role("region", name="Waiting messages")
    expect(queue.get_by_role("listitem")).to_have_count(2)
    queue.get_by_role("listitem").nth(1).get_by_role("button", name="Move up").click()
    expect(queue.get_by_role("listitem").first).to_contain_text("The third")
    queue.get_by_role("listitem").first.get_by_role("button", name="Edit").click()
    queue.get_by_role("textbox", name="Edit").fill("The third, changed")
    queue.get_by_role("button", name="Save").click()
    expect(queue.get_by_role("listitem").first).to_contain_text("The third, changed")
    queue.get_by_role("listitem").nth(1).get_by_role("button", name="Take back").click()
    expect(queue.get_by_role("listitem")).to_have_count(1)
    ada.stop.click()
    expect(ada.said_by_me.last).to_contain_text("The third, changed")
    expect(queue).to_have_count(0)
    ada.stop.click()
    expect(ada.stop).to_have_count(0)
