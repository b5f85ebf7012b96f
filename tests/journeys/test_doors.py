"""Ada owns, Ben is a member, Vic only views, Eve is a stranger, and one is nobody: at every door."""

from typing import Any

import pytest

from tests.conftest import SWIFT
from tests.stack import Stack
from tests.wire import Client, Person, Refused

NOBODY = Person("", "", "", "")

# Each door, and what it says to owner, member, viewer, stranger and nobody. The last ones change things.
DOORS: list[tuple[str, str, Any, tuple[int, int, int, int, int]]] = [
    ("GET", "/api/sessions/{session}/", None, (200, 200, 200, 404, 401)),
    ("GET", "/api/sessions/{session}/messages/", None, (200, 200, 200, 404, 401)),
    ("GET", "/api/sessions/{session}/events/", None, (200, 200, 200, 404, 401)),
    ("GET", "/api/sessions/{session}/runs/", None, (200, 200, 200, 404, 401)),
    ("GET", "/api/sessions/{session}/members/", None, (200, 200, 200, 404, 401)),
    ("GET", "/api/runs/{run}/", None, (200, 200, 200, 404, 401)),
    ("POST", "/api/runs/{run}/cancel/", {}, (200, 200, 403, 404, 401)),
    ("POST", "/api/runs/{run}/retry/", {}, (409, 409, 403, 404, 401)),
    ("PATCH", "/api/runs/{run}/", {"before": None}, (409, 409, 403, 404, 401)),
    ("POST", "/api/sessions/{session}/messages/", {"content": "Hi", "llm": SWIFT}, (202, 202, 403, 404, 401)),
    ("PATCH", "/api/sessions/{session}/", {"title": "New"}, (200, 200, 403, 404, 401)),
    ("POST", "/api/sessions/{session}/close/", {}, (200, 200, 403, 404, 401)),
    ("POST", "/api/sessions/{session}/reopen/", {}, (200, 200, 403, 404, 401)),
    ("POST", "/api/sessions/{session}/members/", {"username": "nobody-at-all"}, (400, 403, 403, 404, 401)),
    ("DELETE", "/api/sessions/{session}/members/{stranger}/", None, (404, 403, 403, 404, 401)),
    ("DELETE", "/api/sessions/{session}/", None, (204, 403, 403, 404, 401)),
]
COMMANDS: list[tuple[str, dict[str, Any], tuple[str, str, str, str]]] = [
    ("session.subscribe", {"session_id": "{session}"}, ("ok", "ok", "ok", "not_found")),
    ("session.unsubscribe", {"session_id": "{session}"}, ("ok", "ok", "ok", "not_found")),
    ("typing", {"session_id": "{session}", "active": True}, ("ok", "ok", "not_allowed", "not_found")),
    ("message.send", {"session_id": "{session}", "content": "Hi"}, ("ok", "ok", "not_allowed", "not_found")),
    (
        "message.update",
        {"message_id": "{message}", "content": "Ho"},
        ("conflict", "not_allowed", "not_allowed", "not_found"),
    ),
    ("run.cancel", {"run_id": "{run}"}, ("ok", "ok", "not_allowed", "not_found")),
    ("run.retry", {"run_id": "{run}"}, ("conflict", "conflict", "not_allowed", "not_found")),
    ("run.move", {"run_id": "{run}", "before": None}, ("conflict", "conflict", "not_allowed", "not_found")),
    ("interrupt.resolve", {"interrupt_id": "{run}", "answer": {"approved": True}}, ("not_found",) * 4),
]


@pytest.fixture
def vic(stack: Stack) -> Person:
    """A viewer."""
    return stack.person("vic")


async def answered_session(client: Client, *others: tuple[Person, str]) -> dict[str, str]:
    """Make a session with members and one answered message, and name its ids."""
    session_id = await client.new_session()
    for person, role in others:
        await client.post(f"/api/sessions/{session_id}/members/", {"username": person.username, "role": role})
    asked = await client.post(f"/api/sessions/{session_id}/messages/", {"content": "Hi", "llm": SWIFT}, wait=20)
    assert asked["run"]["status"] == "succeeded"
    return {"session": session_id, "run": asked["run_id"], "message": asked["message_id"]}


async def test_every_door_of_http(stack: Stack, ada: Person, ben: Person, vic: Person, eve: Person) -> None:
    client = stack.client(ada)
    ids = await answered_session(client, (ben, "member"), (vic, "viewer")) | {"stranger": eve.user_id}
    wrong = []
    people = (ada, ben, vic, eve, NOBODY)
    for method, path, body, expected in DOORS:
        # The owner comes last: what is closed or deleted by her must still be there for the others.
        for person, status in reversed(list(zip(people, expected, strict=True))):
            visitor = stack.client(person)
            response = await visitor.http.request(method, path.format(**ids), json=body)
            await visitor.close_http()
            if response.status_code != status:
                wrong.append(f"{method} {path} by {person.username or 'nobody'}: {response.status_code}, not {status}")
            elif status >= 400:
                assert response.json()["error"].keys() >= {"code", "message", "temporary"}, path
    await client.close_http()
    assert not wrong, "\n".join(wrong)


async def test_every_command_of_the_socket(stack: Stack, ada: Person, ben: Person, vic: Person, eve: Person) -> None:
    wrong = []
    async with (
        stack.client(ada) as owner,
        stack.client(ben) as member,
        stack.client(vic) as viewer,
        stack.client(eve) as stranger,
    ):
        ids = await answered_session(owner, (ben, "member"), (vic, "viewer"))
        for kind, shape, expected in COMMANDS:
            data = {key: value.format(**ids) if isinstance(value, str) else value for key, value in shape.items()}
            for client, said in zip((owner, member, viewer, stranger), expected, strict=True):
                try:
                    await client.command(kind, **data)
                    heard = "ok"
                except Refused as refused:
                    heard = str(refused.code)
                if heard != said:
                    wrong.append(f"{kind} by {client.person.username}: {heard}, not {said}")
    assert not wrong, "\n".join(wrong)


async def test_a_stranger_finds_nothing_of_it_in_her_lists(stack: Stack, ada: Person, eve: Person) -> None:
    async with stack.client(ada) as owner, stack.client(eve) as stranger:
        mine = await owner.new_session(title="Private")
        assert mine in [row["session_id"] for row in (await owner.get("/api/sessions/"))["results"]]
        assert (await stranger.get("/api/sessions/"))["results"] == []
        for body in ({"parent_id": mine},):
            with pytest.raises(Refused):
                await stranger.post("/api/sessions/", body)


async def test_a_member_who_was_removed_hears_nothing_more(stack: Stack, ada: Person, ben: Person) -> None:
    async with stack.client(ada) as owner, stack.client(ben, web=1) as member:
        session_id = await owner.new_session()
        await owner.subscribe(session_id)
        await owner.post(f"/api/sessions/{session_id}/members/", {"username": ben.username, "role": "member"})
        fold = await member.subscribe(session_id)
        await owner.answered(session_id, await owner.say(session_id, "For both", llm=SWIFT))
        await member.until(lambda: len(fold.answers()) == 1, "the member hears it")
        await owner.call("DELETE", f"/api/sessions/{session_id}/members/{ben.user_id}/")
        await owner.answered(session_id, await owner.say(session_id, "For the owner alone", llm=SWIFT))
        with pytest.raises(Refused) as refused:
            await member.get(f"/api/sessions/{session_id}/")
        assert refused.value.status == 404
        with pytest.raises(Refused, match="not_found"):
            await member.command("message.send", session_id=session_id, content="I am still here")
        await member.command("ping")
        assert all("owner alone" not in str(frame) for _, frame in member.received)
        await owner.agrees(session_id)


async def test_staff_see_no_more_than_others(stack: Stack, ada: Person) -> None:
    admin = stack.person("root")
    stack.ask("User.objects.filter(pk=pk).update(is_staff=True, is_superuser=True)", pk=admin.user_id)
    async with stack.client(ada) as owner, stack.client(admin) as staff:
        session_id = await owner.new_session()
        assert (await staff.get("/api/me/"))["is_staff"] is True
        assert (await staff.get("/api/sessions/"))["results"] == []
        with pytest.raises(Refused, match="not_found"):
            await staff.get(f"/api/sessions/{session_id}/")
        with pytest.raises(Refused, match="not_found"):
            await staff.subscribe(session_id)
