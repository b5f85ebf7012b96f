"""What the logs of a whole server hold after a full run, and what they do not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
import redis

from tests.deeds import AGENT
from tests.stack import Stack
from tests.watching.conftest import INSTRUCTIONS, LLM_KEY, METRICS_TOKEN, PROVIDERS_WORDS
from tests.wire import Client, Person

PASSWORD = "canary-of-the-password-3d19"
CONTENT = "canary-of-what-was-said-e5d0"
TITLE = "canary-of-a-title-0b1f"
SEARCHED = "canary-of-a-search-66aa"
NOT_A_TOKEN = "canary-of-a-wrong-token-90ff"

EVERY_ROW = (
    "[str(row) for model in __import__('django.apps').apps.apps.get_models() for row in model.objects.values_list()]"
)


@dataclass
class Lived:
    """What a person did, and what came of it."""

    stack: Stack
    secrets: dict[str, str]
    person: Person
    session_id: str
    run_id: str
    lines: list[dict[str, Any]]


def _log_text(stack: Stack) -> dict[str, str]:
    ours = [*stack.webs, *stack.workers, stack.redis]
    return {part.name: part.text(since_start=False) for part in ours}


@pytest.fixture(scope="module")
def lived(stack: Stack) -> Lived:
    return asyncio.run(_live(stack))


async def _live(stack: Stack) -> Lived:
    """Sign in by every way, talk, search, fail, and leave."""
    person = stack.person("ada", PASSWORD)
    async with httpx2.AsyncClient(base_url=stack.webs[0].url, trust_env=False) as http:
        signed = {"username": person.username, "password": PASSWORD}
        tokens = (await http.post("/api/auth/token/", json=signed)).json()
        await http.post("/api/auth/token/", json=signed | {"password": PASSWORD + "-wrong"})
        fresh = (await http.post("/api/auth/token/refresh/", json={"refresh": tokens["refresh"]})).json()
        bearer = {"Authorization": f"Bearer {fresh['access']}"}
        ticket = (await http.post("/api/ws-tickets/", headers=bearer)).json()["ticket"]
        await http.get("/api/me/", headers={"Authorization": f"Bearer {NOT_A_TOKEN}"})
        await http.get(f"/ws/?ticket={ticket}")
        await http.get(f"/api/sessions/?q={quote(SEARCHED)}", headers=bearer)
        await http.get("/metrics", headers={"Authorization": f"Bearer {METRICS_TOKEN}"})
        await http.get("/healthz")
    for by in ("ticket", "subprotocol"):
        async with stack.client(person, by=by):
            pass
    async with stack.client(person) as ada:
        session_id = await ada.new_session(title=TITLE)
        await ada.subscribe(session_id)
        run_id = await ada.say(session_id, CONTENT, llm="openai:echo")
        [answer] = await ada.answered(session_id, run_id)
        assert answer["content"] == CONTENT
        for broken in ("500", "error-in-stream", "garbage"):
            failed = await ada.say(session_id, f"{CONTENT} {broken}", llm=f"openai:{broken}")
            [row] = await ada.ended(session_id, failed)
            assert row["status"] == "failed"
        for deed in ("repeat", "choke", "choke exception"):
            acted = await ada.say(session_id, f'Please {deed.partition(" ")[0]} "{CONTENT} {deed}"', agent=AGENT)
            [row] = await ada.ended(session_id, acted)
            assert row["status"] == "succeeded"
        statuses = {
            one["data"]["tool_call"]["status"]
            for one in ada.folds[session_id].messages.values()
            if one["role"] == "tool"
        }
        assert statuses == {"returned", "failed"}
    secrets = {
        "the password": PASSWORD,
        "an access token": tokens["access"],
        "a refresh token": tokens["refresh"],
        "the next access token": fresh["access"],
        "the next refresh token": fresh["refresh"],
        "the person's token": person.token,
        "a ticket": ticket,
        "the LLM's key": LLM_KEY,
        "the token of the metrics": METRICS_TOKEN,
        "the key that signs": stack.ask("__import__('django.conf').conf.settings.SECRET_KEY"),
    }
    texts = _log_text(stack)
    lines = [json.loads(line) for part in ("web1", "worker1") for line in texts[part].splitlines()]
    return Lived(stack, secrets, person, session_id, run_id, lines)


def test_no_log_holds_a_secret_or_what_anybody_wrote(lived: Lived) -> None:
    wrote = [CONTENT, TITLE, SEARCHED, INSTRUCTIONS, NOT_A_TOKEN, *PROVIDERS_WORDS]
    for part, text in _log_text(lived.stack).items():
        assert text, part
        for what, canary in [*lived.secrets.items(), *((one, one) for one in wrote)]:
            where = next((line for line in text.splitlines() if canary in line), None)
            assert where is None, f"{part} logs {what}: {where}"


def test_no_row_and_no_key_in_redis_holds_a_secret(lived: Lived) -> None:
    rows: list[str] = lived.stack.ask(EVERY_ROW)
    assert any(CONTENT in row for row in rows), "the search finds what is there"
    with redis.Redis.from_url(lived.stack.redis.url) as client:
        rows += list(_in_redis(client))
    for what, canary in lived.secrets.items():
        assert not [row for row in rows if canary in row], f"{what} is stored"


def _in_redis(client: redis.Redis) -> Iterator[str]:
    reads: dict[Any, Any] = {
        b"string": client.get,
        b"hash": client.hgetall,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"set": client.smembers,
        b"zset": lambda key: client.zrange(key, 0, -1),
    }
    for key in client.scan_iter():
        yield f"{key} {reads[client.type(key)](key)}"  # type: ignore[index]


def test_each_line_says_when_where_and_of_what_part(lived: Lived) -> None:
    for line in lived.lines:
        assert {"event", "level", "logger", "at", "part", "pid"} <= set(line), line
    assert {line["part"] for line in lived.lines} == {"web", "worker"}


def test_a_runs_lines_have_its_ids_and_those_of_its_request_the_same_trace(lived: Lived) -> None:
    of_run = [line for line in lived.lines if line.get("run_id") == lived.run_id]
    assert {line["part"] for line in of_run} == {"worker"}
    for line in of_run:
        assert line["session_id"] == lived.session_id
        assert line["user_id"] == lived.person.user_id
    [trace_id] = {line["trace_id"] for line in of_run}
    stored = lived.stack.ask("Run.objects.get(pk=run_id).traceparent", run_id=lived.run_id)
    assert stored.split("-")[1] == trace_id


def test_a_request_is_one_line_without_its_query_and_a_probe_is_quiet(lived: Lived) -> None:
    asked = [line for line in lived.lines if line["event"] == "request"]
    of_ada = [one for one in asked if one.get("user_id") == lived.person.user_id]
    searched = [one for one in of_ada if one["path"] == "/api/sessions/" and one["method"] == "GET"]
    assert searched and searched[0]["status"] == 200 and searched[0]["ms"] > 0
    assert len(searched[0]["trace_id"]) == 32
    assert {one["level"] for one in asked if one["path"] == "/healthz"} == {"debug"}
    assert not [line for line in lived.lines if line["logger"] == "django.channels.server"]


async def test_a_client_that_is_new_here_finds_its_lines_apart(stack: Stack) -> None:
    """What works for all who watch is not logged in the name of the first."""
    ada, ben = stack.person("ada"), stack.person("ben")
    async with Client([stack.webs[0].url], ada) as one, Client([stack.webs[0].url], ben) as other:
        first, second = await one.new_session(), await other.new_session()
        for client, session_id in ((one, first), (other, second)):
            await client.subscribe(session_id)
            await client.answered(session_id, await client.say(session_id, "hello"))
    texts = _log_text(stack)
    for line in (json.loads(line) for part in ("web1", "worker1") for line in texts[part].splitlines()):
        if line.get("session_id") in {first, second} and "user_id" in line:
            assert line["user_id"] == (ada.user_id if line["session_id"] == first else ben.user_id)
