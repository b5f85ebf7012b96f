"""What breaks in the middle of an answer, and what a reader then sees: nothing twice, nothing missing."""

import os
import re
import signal
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import COUNTING, SLOW, Server, Visit
from tests.processes import eventually, free_port
from tests.proxy import Proxy


def words(count: int) -> str:
    return " ".join(f"w{number}" for number in range(1, count + 1))


def test_a_reload_in_the_middle_of_an_answer_goes_on_where_it_was(visit: Visit) -> None:
    ada = visit("ada").choose_llm(COUNTING).say("Count")
    ada.await_words(5)
    ada.page.reload()
    ada.await_words(60)
    expect(ada.stop).to_have_count(0)
    assert ada.answer_text() == words(60)
    expect(ada.answers).to_have_count(1)


def test_a_worker_that_is_killed_costs_seconds_and_is_told(visit: Visit, server: Server) -> None:
    ada, again = visit("ada"), visit("ada")
    ada.choose_llm(SLOW).say("Count")
    ada.await_words(5)
    os.kill(server.launched.pid("worker"), signal.SIGKILL)
    expect(ada.thread.get_by_text("The answer is being written again")).to_be_visible()
    ada.await_words(100)
    again.open(ada.path)
    for tab in (ada, again):
        expect(tab.stop).to_have_count(0)
        expect(tab.answers).to_have_count(1)
        assert tab.answer_text() == words(100)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["asked to stop", "killed"])
def test_a_web_process_that_goes_is_come_back_to(visit: Visit, server: Server, number: signal.Signals) -> None:
    ada = visit("ada").choose_llm(COUNTING).say("Count")
    ada.await_words(5)
    os.kill(server.launched.pid("web"), number)
    ada.await_words(60)
    expect(ada.stop).to_have_count(0)
    assert ada.answer_text() == words(60)
    ada.say("And again")
    expect(ada.answers).to_have_count(2)


def test_a_server_that_is_started_again_takes_the_answer_up(visit: Visit, server: Server) -> None:
    ada = visit("ada").choose_llm(COUNTING).say("Count")
    ada.await_words(5)
    server.restart()
    ada.await_words(60)
    expect(ada.stop).to_have_count(0)
    expect(ada.answers).to_have_count(1)
    assert ada.answer_text() == words(60)
    assert ada.page.get_by_role("img", name="Connected").is_visible()


@pytest.fixture
def cable(server: Server) -> Iterator[Proxy]:
    """Between the browser and the server: what can be pulled out."""
    made = Proxy(server.launched.port)
    yield made
    made.end()


def test_what_is_said_without_a_connection_is_sent_when_it_is_back(visit: Visit, server: Server, cable: Proxy) -> None:
    ada = visit("ada", origin=f"http://127.0.0.1:{cable.port}")
    ada.say("The first")
    expect(ada.answers).to_have_count(1)
    expect(ada.stop).to_have_count(0)
    nobody = free_port()
    cable.lead_to(nobody)
    expect(ada.page.get_by_role("status").filter(has_text="The connection was lost")).to_be_visible()
    ada.say("Said while away")
    expect(ada.said_by_me.last).to_contain_text("Will be sent when you are connected again")
    cable.lead_to(server.launched.port)
    expect(ada.answers).to_have_count(2)
    expect(ada.said_by_me).to_have_count(2)
    expect(ada.page.get_by_text("Will be sent")).to_have_count(0)
    told = ada.ask("GET", f"/api/sessions/{ada.session_id}/messages/")["results"]
    assert [row["content"] for row in told if row["role"] == "user"] == ["Said while away", "The first"]


def test_one_need_not_wait_for_the_next_try(visit: Visit, server: Server, cable: Proxy) -> None:
    ada = visit("ada", origin=f"http://127.0.0.1:{cable.port}")
    ada.page.evaluate("Math.random = () => 1")  # every wait is its longest: only the button can be quicker
    cable.lead_to(free_port())
    banner = ada.page.get_by_role("status").filter(has_text="The connection was lost")
    expect(banner).to_contain_text(re.compile(r"Next try in 1[0-5] seconds"), timeout=30_000)
    cable.lead_to(server.launched.port)
    ada.page.get_by_role("button", name="Reconnect").click()
    expect(ada.page.get_by_role("img", name="Connected")).to_be_visible(timeout=5_000)


def test_what_was_said_without_a_connection_outlives_the_tab(visit: Visit, server: Server, cable: Proxy) -> None:
    origin = f"http://127.0.0.1:{cable.port}"
    ada = visit("ada", origin=origin)
    ada.say("The first")
    expect(ada.stop).to_have_count(0)
    expect(ada.answers).to_have_count(1)
    cable.lead_to(free_port())
    expect(ada.page.get_by_role("img", name=re.compile("Not connected|Connecting"))).to_be_visible()
    ada.say("Said while away")
    expect(ada.said_by_me.last).to_contain_text("Will be sent")
    path = ada.path
    ada.page.close()
    cable.lead_to(server.launched.port)
    later = visit(beside=ada, path=path)
    expect(later.answers).to_have_count(2)
    session = later.session_id
    eventually(
        lambda: len(later.ask("GET", f"/api/sessions/{session}/messages/")["results"]) == 4, "both were answered once"
    )
