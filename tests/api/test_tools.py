"""What agents can be given, over HTTP."""

from typing import Any

from chat.actions.tools import announce_tools
from chat.database import writing
from chat.models import Tool
from tests.api.conftest import Caller


def tool(name: str, **more: Any) -> Tool:
    return Tool(name=name, **{"access": "read", "effect": "pure", "description": "Looks.", **more})


async def test_the_tools_are_those_that_a_worker_told_of_last(eve: Caller) -> None:
    assert (await eve.get("/api/tools/"))["results"] == []
    await writing(announce_tools, [tool("look"), tool("old")])
    write: dict[str, Any] = {
        "access": "write",
        "effect": "once",
        "needs_approval": True,
        "args_schema": {"type": "object"},
    }
    await writing(announce_tools, [tool("cancel", **write), tool("look", description="Looks again.")])
    listed = (await eve.get("/api/tools/"))["results"]
    assert [(row["name"], row["description"]) for row in listed] == [("cancel", "Looks."), ("look", "Looks again.")]
    assert listed[0] == {"name": "cancel", "description": "Looks.", **write}
    await writing(announce_tools, [])
    assert (await eve.get("/api/tools/"))["results"] == []


async def test_the_llms_are_those_that_the_operator_offers(eve: Caller, settings: Any) -> None:
    settings.CHAT_LLM, settings.CHAT_LLMS = "openai:a", ["demo", "openai:a"]
    assert (await eve.get("/api/llms/"))["results"] == [
        {"name": "openai:a", "default": True},
        {"name": "demo", "default": False},
    ]
