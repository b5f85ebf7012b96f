"""Agents: added, changed and switched off; never deleted."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from chat.models import Agent
from chat.models.agents import MODES
from tests.admin.conftest import Browser
from tests.inside import SEEDED
from workers import modes

FORM = {"title": "Expert", "enabled": "on", "mode": "direct", "llm": "", "instructions": "Be brief."}


def test_the_modes_on_offer_are_those_that_the_workers_know() -> None:
    assert set(MODES) == set(modes.MODES)


def test_an_agent_is_added(olga: Browser) -> None:
    olga.post("/admin/chat/agent/add/", FORM | {"name": "expert"})
    agent = Agent.objects.get(name="expert")
    assert (agent.title, agent.instructions, agent.enabled) == ("Expert", "Be brief.", True)


def test_an_agent_is_changed_and_keeps_its_name(olga: Browser) -> None:
    before = timezone.now() - timedelta(days=1)
    Agent.objects.create(name="expert", updated_at=before)
    olga.post("/admin/chat/agent/expert/change/", FORM | {"name": "other"})
    agent = Agent.objects.get(name="expert")
    assert (agent.title, agent.instructions) == ("Expert", "Be brief.")
    assert agent.updated_at > before
    assert not Agent.objects.filter(name="other").exists()
    assert "Changed" in olga.text("/admin/chat/agent/expert/history/")


def test_a_wrong_name_or_mode_is_refused(olga: Browser) -> None:
    for wrong in ({"name": "two words"}, {"name": "expert", "mode": "magic"}):
        olga.post("/admin/chat/agent/add/", FORM | wrong, 200)
    assert not Agent.objects.exclude(name__in=SEEDED).exists()


def test_an_agent_is_not_deleted(olga: Browser) -> None:
    olga.get("/admin/chat/agent/assistant/delete/", 403)
