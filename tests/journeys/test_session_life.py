"""A session's life where time runs fast: it names itself, is closed when idle, forgets its events and is deleted."""

from typing import Any

import pytest

from tests.conftest import NewStack
from tests.fold import Row
from tests.processes import eventually
from tests.wire import Client, Refused

ENDLESS = "demo?tokens=100000&tokens_per_s=5"
FAST = {
    "CHAT_TITLE_LLM": "",
    "CHAT_LLMS": ENDLESS,
    "CHAT_SWEEP_S": "0.2",
    "CHAT_TIDY_S": "0.2",
    "CHAT_SESSION_IDLE_S": "2",
    "CHAT_EVENTS_DAYS": "1s",
    "CHAT_RETENTION_DAYS": "2s",
}


def told(client: Client, session_id: str, kind: str) -> list[Row]:
    return [frame["data"] for frame in client.log(session_id) if frame["type"] == kind]


async def test_a_session_lives_and_ends_as_the_operator_says(new_stack: NewStack) -> None:
    stack = new_stack(workers=2, env=FAST)
    ada = stack.person("ada")
    async with stack.client(ada) as phone, stack.client(ada) as desk:
        busy, session_id = await phone.new_session(), await phone.new_session()
        await phone.subscribe(busy)
        await phone.say(busy, "Never end", llm=ENDLESS)
        for one in (phone, desk):
            await one.subscribe(session_id)
        run_id = await phone.say(session_id, "Where is order 1042?")
        await phone.answered(session_id, run_id)

        for one in (phone, desk):  # it names itself, and both are told
            await one.until(lambda one=one: one.folds[session_id].session["title"], "it has a name", 10)
            assert one.folds[session_id].session["title"] == "Where is order 1042"

        await phone.until(lambda: told(phone, session_id, "session.closed"), "it is closed", 10)
        assert [row["reason"] for row in told(phone, session_id, "session.closed")] == ["idle"]
        await desk.until(lambda: told(desk, session_id, "session.deleted"), "it is deleted", 15)
        for one in (phone, desk):
            assert len(told(one, session_id, "session.closed")) == 1, "two workers tidy up, and it is closed once"
        with pytest.raises(Refused, match="not_found"):
            await phone.get(f"/api/sessions/{session_id}/")
        spent: Any = stack.clerk.ask("sorted(Usage.objects.filter(run=None).values_list('attempt', flat=True))")
        assert spent == [0, 1], "what the name and the answer cost is owed all the same"

        # While an answer is in progress no session is idle; what is old in its log is forgotten nevertheless.
        kept_from = "ChatSession.objects.get(pk=pk).kept_from"
        eventually(lambda: stack.clerk.ask(kept_from, pk=busy) > 1, "old events are forgotten")
        with pytest.raises(Refused, match="too_old"):
            await phone.get(f"/api/sessions/{busy}/events/", after=0)
        with pytest.raises(Refused, match="too_old"):
            await desk.command("session.subscribe", session_id=busy, after=0)
        await desk.open_page(busy)
        for one in (phone, desk):
            assert one.folds[busy].session["status"] == "active"
            await one.agrees(busy)
