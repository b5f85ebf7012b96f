"""Agents: added, changed and switched off; never deleted."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from chat.models import Agent, Tool
from chat.models.agents import MODES
from tests.admin.conftest import Browser
from tests.inside import SEEDED
from workers import modes

FORM = {
    "title": "Expert",
    "enabled": "on",
    "visibility": "everyone",
    "mode": "direct",
    "llm": "",
    "instructions": "Be brief.",
    "context_summary": "on",
    "interrupt_expires_s": "1800",
}
ADD, EXPERT = "/admin/chat/agent/add/", "/admin/chat/agent/expert/change/"


def expert() -> Agent:
    return Agent.objects.get(name="expert")


def test_the_modes_on_offer_are_those_that_the_workers_know() -> None:
    assert set(MODES) == set(modes.MODES)


def test_an_agent_is_added(olga: Browser) -> None:
    olga.post(ADD, FORM | {"name": "expert"})
    agent = expert()
    assert (agent.title, agent.instructions, agent.enabled) == ("Expert", "Be brief.", True)
    assert (agent.fallbacks, agent.tools, agent.context, agent.run_limit) == (None, [], {}, {})


def test_an_agent_is_changed_and_keeps_its_name(olga: Browser) -> None:
    before = timezone.now() - timedelta(days=1)
    Agent.objects.create(name="expert", updated_at=before)
    olga.post(EXPERT, FORM | {"name": "other"})
    agent = expert()
    assert (agent.title, agent.instructions) == ("Expert", "Be brief.")
    assert agent.updated_at > before
    assert not Agent.objects.filter(name="other").exists()
    assert "Changed" in olga.text("/admin/chat/agent/expert/history/")


def test_tools_limits_and_context_are_filled_in_field_by_field(olga: Browser) -> None:
    for name, access in (("look_up", "read"), ("cancel_order", "write")):
        Tool.objects.create(name=name, access=access, effect="once", needs_approval=access == "write")
    Agent.objects.create(name="expert", tools=["gone"], context={"summary": False}, fallbacks=[])
    page = olga.text(EXPERT)
    assert "cancel_order (writes, asks a person first)" in page and "look_up (reads)" in page
    assert "gone: no worker has it now" in page
    filled = {
        "tools": ["cancel_order", "gone"],
        "fallbacks": "openai:my model\r\n\r\n demo ",
        "context_tokens": "900",
        "context_summary": "",
        "limit_steps": "4",
        "limit_seconds": "2.5",
        "limit_cost_usd": "0.01",
        "interrupt_expires_s": "0",
        "visibility": "staff",
    }
    olga.post(EXPERT, FORM | filled)
    agent = expert()
    assert (agent.tools, agent.fallbacks) == (["cancel_order", "gone"], ["openai:my model", "demo"])
    assert agent.context == {"tokens": 900, "summary": False}
    assert agent.run_limit == {"steps": 4, "seconds": 2.5, "cost_usd": 0.01}
    assert (agent.interrupt_expires_s, agent.visibility) == (0, "staff")
    olga.post(EXPERT, FORM | {"fallbacks": "none"})
    agent = expert()
    assert (agent.tools, agent.fallbacks, agent.context, agent.run_limit) == ([], [], {}, {})


def test_what_is_not_touched_stays_as_it_was(olga: Browser) -> None:
    kept: dict[str, Any] = {"tools": ["gone"], "fallbacks": ["demo"], "context": {"tokens": 900, "summary": False}}
    kept["run_limit"] = {"steps": 3, "cost_usd": 0.5}
    Agent.objects.create(name="expert", instructions="Be brief.", **kept)
    form = olga.client.get(EXPERT).context["adminform"].form
    shown = {name: form[name].value() for name in form.fields}
    shown = {name: value for name, value in shown.items() if value not in (None, "", False)}
    olga.post(EXPERT, shown)
    agent = expert()
    assert {name: getattr(agent, name) for name in kept} == kept
    assert agent.instructions == "Be brief."


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "two words"},
        {"mode": "magic"},
        {"llm": "gpt-9"},
        {"fallbacks": "demo\nnothing"},
        {"tools": ["no_such_tool"]},
        {"context_tokens": "3"},
        {"limit_steps": "0"},
        {"limit_seconds": "-1"},
        {"limit_cost_usd": "much"},
        {"visibility": "nobody"},
    ],
)
def test_what_cannot_be_is_refused_at_its_field(olga: Browser, wrong: dict[str, Any]) -> None:
    response = olga.post(ADD, FORM | {"name": "expert"} | wrong, 200)
    assert list(response.context["adminform"].form.errors) == list(wrong)
    assert not Agent.objects.exclude(name__in=SEEDED).exists()


def test_who_may_look_and_not_change_sees_the_values(olga: Browser, staff: Callable[..., Browser]) -> None:
    Agent.objects.create(name="expert", tools=["look_up"], run_limit={"steps": 7})
    page = staff("view_agent").text(EXPERT)
    assert "look_up" in page and "7" in page
    staff("view_agent").post(EXPERT, FORM, 403)
    assert expert().title == ""


def test_an_agent_is_not_deleted(olga: Browser) -> None:
    olga.get("/admin/chat/agent/assistant/delete/", 403)
