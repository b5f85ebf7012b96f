"""Who may be asked, over HTTP: seen by those who may ask them, changed by staff who may do so in the admin."""

import json
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission

from chat.database import writing
from chat.models import Agent, ChatSession, Tool, User
from tests.api.conftest import Caller, Row

AGENTS = "/api/agents/"


@pytest.fixture
def olga(_agent: None) -> Caller:
    return Caller(User.objects.create(username="olga", password="!", is_staff=True, is_superuser=True))


async def names(caller: Caller) -> list[str]:
    return [row["name"] for row in (await caller.get(AGENTS))["results"]]


async def fields_of(caller: Caller, method: str, path: str, body: Any) -> Row:
    """What is said to be wrong with a body that has to be refused."""
    told: Row = (await caller.call(method, path, body, 400))["error"]
    assert told["code"] == "invalid_input"
    return dict(told["fields"])


# --- reading ----------------------------------------------------------------------------------------------------------


async def test_agents_are_found_by_name(eve: Caller) -> None:
    await Agent.objects.acreate(name="board", title="The board")
    page = await eve.get("/api/agents/")
    assert [row["name"] for row in page["results"]] == ["assistant", "board"]
    assert await eve.get("/api/agents/board/") == page["results"][1]
    assert page["results"][1]["title"] == "The board"
    for name in ("nobody", "%00", "Board", "x" * 300):
        assert await eve.refused("GET", f"/api/agents/{name}/") == (404, "not_found")


async def test_an_agent_for_staff_or_switched_off_is_not_there_for_others(eve: Caller, olga: Caller) -> None:
    await Agent.objects.acreate(name="off", enabled=False)
    await Agent.objects.acreate(name="inner", visibility="staff")
    assert await names(eve) == ["assistant"]
    assert await names(olga) == ["assistant", "inner", "off"]
    for name in ("off", "inner"):
        assert await eve.refused("GET", f"{AGENTS}{name}/") == (404, "not_found")
        assert (await olga.get(f"{AGENTS}{name}/"))["name"] == name


async def test_nobody_talks_to_an_agent_that_they_do_not_see(ada: Caller, ben: Caller, olga: Caller) -> None:
    await Agent.objects.acreate(name="off", enabled=False)
    await Agent.objects.acreate(name="inner", visibility="staff")
    session_id = await ada.new_session()
    for name in ("inner", "off", "nobody"):
        for method, path, body in (
            ("POST", "/api/sessions/", {"agent": name}),
            ("PATCH", f"/api/sessions/{session_id}/", {"agent": name}),
            ("POST", f"/api/sessions/{session_id}/messages/", {"agent": name, "content": "Hello?"}),
        ):
            assert await fields_of(ada, method, path, body) == {"agent": "unknown"}
    assert await olga.refused("POST", "/api/sessions/", {"agent": "off"}) == (400, "invalid_input")
    inner = await olga.new_session(agent="inner")
    await olga.let_in(inner, ben)
    await ben.say(inner)  # whoever is let in talks to the session's agent


# --- changing ---------------------------------------------------------------------------------------------------------


async def test_staff_add_change_and_remove_an_agent(olga: Caller) -> None:
    made = await olga.post(AGENTS, {"name": "expert", "title": "Expert", "fallbacks": ["demo"]}, 201)
    assert await olga.get(f"{AGENTS}expert/") == made
    assert (made["mode"], made["tools"], made["fallbacks"], made["enabled"]) == ("direct", [], ["demo"], True)
    change = {
        "instructions": "Be brief.",
        "llm": "openai:gpt-9",
        "fallbacks": None,
        "context": {"tokens": 900},
        "run_limit": {"steps": 3, "cost_usd": 0.5},
        "interrupt_expires_s": 0,
        "visibility": "staff",
        "enabled": False,
    }
    changed = await olga.call("PATCH", f"{AGENTS}expert/", change)
    assert changed == {**made, **change, "updated_at": changed["updated_at"]}
    assert changed["updated_at"] > made["updated_at"]
    assert await olga.call("PATCH", f"{AGENTS}expert/", {}) == changed
    await olga.call("DELETE", f"{AGENTS}expert/", status=204)
    assert await olga.refused("GET", f"{AGENTS}expert/") == (404, "not_found")


async def test_every_change_is_in_the_history_that_the_admin_shows(olga: Caller) -> None:
    await olga.post(AGENTS, {"name": "expert"}, 201)
    await olga.call("PATCH", f"{AGENTS}expert/", {"title": "Expert", "color": ""})
    await olga.call("DELETE", f"{AGENTS}expert/", status=204)
    entries = [one async for one in LogEntry.objects.filter(object_id="expert").order_by("pk")]
    assert [entry.user_id for entry in entries] == [olga.user and olga.user.pk] * 3
    assert [json.loads(entry.change_message) for entry in entries] == [
        [{"added": {}}],
        [{"changed": {"fields": ["title"]}}],
        [{"deleted": {}}],
    ]


async def test_eve_changes_nothing_and_learns_nothing(eve: Caller) -> None:
    await Agent.objects.acreate(name="inner", visibility="staff")
    assert await eve.refused("POST", AGENTS, {"name": "assistant"}) == (403, "not_allowed")
    for name in ("assistant", "inner", "nobody", "%00"):
        assert await eve.refused("PATCH", f"{AGENTS}{name}/", {"title": "Mine"}) == (403, "not_allowed")
        assert await eve.refused("DELETE", f"{AGENTS}{name}/") == (403, "not_allowed")
    assert await Agent.objects.filter(title="Mine").acount() == 0
    assert await Agent.objects.acount() == 2


async def test_staff_need_the_permission_that_the_admin_asks_for(ben: Caller) -> None:
    assert ben.user is not None
    await User.objects.filter(pk=ben.user.pk).aupdate(is_staff=True)
    assert await ben.refused("PATCH", f"{AGENTS}assistant/", {"title": "New"}) == (403, "not_allowed")
    await ben.user.user_permissions.aadd(await Permission.objects.aget(codename="change_agent"))
    assert (await ben.call("PATCH", f"{AGENTS}assistant/", {"title": "New"}))["title"] == "New"
    assert await ben.refused("POST", AGENTS, {"name": "expert"}) == (403, "not_allowed")
    await User.objects.filter(pk=ben.user.pk).aupdate(is_staff=False)
    assert await ben.refused("PATCH", f"{AGENTS}assistant/", {"title": "Newer"}) == (403, "not_allowed")


async def test_a_name_is_there_once_and_for_ever(olga: Caller) -> None:
    assert await olga.refused("POST", AGENTS, {"name": "assistant"}) == (409, "conflict")
    assert await fields_of(olga, "PATCH", f"{AGENTS}assistant/", {"name": "other"}) == {"name": "unknown"}
    assert await olga.refused("PATCH", f"{AGENTS}nobody/", {"title": "x"}) == (404, "not_found")
    assert await olga.refused("DELETE", f"{AGENTS}nobody/") == (404, "not_found")


async def test_an_agent_that_talk_refers_to_is_switched_off_instead_of_removed(ada: Caller, olga: Caller) -> None:
    await olga.post(AGENTS, {"name": "expert"}, 201)
    await ada.new_session(agent="expert")
    assert await olga.refused("DELETE", f"{AGENTS}expert/") == (409, "conflict")
    assert await olga.refused("DELETE", f"{AGENTS}assistant/") == (409, "conflict")
    assert not await LogEntry.objects.filter(change_message__contains="deleted").aexists()
    await olga.call("PATCH", f"{AGENTS}expert/", {"enabled": False})
    assert await ada.refused("POST", "/api/sessions/", {"agent": "expert"}) == (400, "invalid_input")
    assert await ChatSession.objects.filter(agent="expert").acount() == 1


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("name", "two words"),
        ("name", "expert\n"),
        ("name", ""),
        ("mode", "magic"),
        ("llm", "gpt-9"),
        ("llm", "openai:"),
        ("llm", "demo?"),
        ("fallbacks", ["demo", "nothing"]),
        ("tools", ["cancel_order", "no_such_tool"]),
        ("context", {"tokens": 1}),
        ("context", {"words": 900}),
        ("run_limit", {"steps": 0}),
        ("run_limit", {"seconds": "9"}),
        ("interrupt_expires_s", -1),
        ("visibility", "nobody"),
        ("enabled", None),
        ("title", "x" * 121),
        ("color", ["red"]),
    ],
)
async def test_what_cannot_be_is_told_by_field(olga: Caller, field: str, wrong: Any) -> None:
    await Tool.objects.acreate(name="cancel_order", access="write", effect="idempotent")
    body = {"name": "expert", field: wrong}
    fields = await fields_of(olga, "POST", AGENTS, body)
    assert [name.partition(".")[0] for name in fields] == [field]
    if field != "name":
        del body["name"]
        assert list(await fields_of(olga, "PATCH", f"{AGENTS}assistant/", body)) == list(fields)
    assert await Agent.objects.acount() == 1


async def test_a_tool_that_an_agent_has_had_may_stay_while_no_worker_tells_of_it(olga: Caller) -> None:
    await Agent.objects.acreate(name="expert", tools=["gone"])
    tools = ["gone", "gone_too"]
    assert list(await fields_of(olga, "PATCH", f"{AGENTS}expert/", {"tools": tools})) == ["tools"]
    assert (await olga.call("PATCH", f"{AGENTS}expert/", {"title": "New"}))["tools"] == ["gone"]
    await writing(Tool(name="gone_too", access="read", effect="pure").save)
    assert (await olga.call("PATCH", f"{AGENTS}expert/", {"tools": tools}))["tools"] == tools
