"""Who may be asked, over HTTP."""

from __future__ import annotations

from chat.models import Agent
from tests.api.conftest import Caller


async def test_agents_are_found_by_name(eve: Caller) -> None:
    await Agent.objects.acreate(name="board", title="The board")
    page = await eve.get("/api/agents/")
    assert [row["name"] for row in page["results"]] == ["assistant", "board"]
    assert await eve.get("/api/agents/board/") == page["results"][1]
    assert page["results"][1]["title"] == "The board"
    for name in ("nobody", "%00", "Board", "x" * 300):
        assert await eve.refused("GET", f"/api/agents/{name}/") == (404, "not_found")


async def test_nobody_changes_an_agent_here_yet(eve: Caller) -> None:
    for method, path in (("POST", ""), ("PATCH", "assistant/"), ("DELETE", "assistant/")):
        assert await eve.refused(method, f"/api/agents/{path}", {}) == (405, "method_not_allowed")
