"""What the logs of a whole server hold after a full run, and what they do not."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
import redis

from tests.deeds import AGENT
from tests.processes import Process
from tests.stack import Stack
from tests.watching.conftest import INSTRUCTIONS, LLM_KEY, METRICS_TOKEN, PROVIDERS_WORDS
from tests.wire import Client, Person

PASSWORD = "canary-of-the-password-3d19"
COOKIE = "a cookie that signs in"
CONTENT = "canary-of-what-was-said-e5d0"
TITLE = "canary-of-a-title-0b1f"
SEARCHED = "canary-of-a-search-66aa"
NOT_A_TOKEN = "canary-of-a-wrong-token-90ff"
NOT_A_CSRF_TOKEN = "canary-of-a-wrong-csrf-token-2b7e"

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
    beat: Process


def _log_text(stack: Stack, *others: Process) -> dict[str, str]:
    ours = [*stack.webs, *stack.workers, stack.redis, *others]
    return {part.name: part.text(since_start=False) for part in ours}


@pytest.fixture(scope="module")
def lived(stack: Stack, beat: Process) -> Lived:
    return asyncio.run(_live(stack, beat))


async def _live(stack: Stack, beat: Process) -> Lived:
    """Sign in by every way, on both servers, talk, search, fail, and leave."""
    person = stack.person("ada", PASSWORD)
    secrets: dict[str, str] = {}
    for web in stack.webs:
        secrets |= {f"{what}, {web.name}": secret for what, secret in (await _sign_in(web.url, person)).items()}
    for number in range(len(stack.webs)):
        for by in ("ticket", "subprotocol"):
            async with stack.client(person, by=by, web=number):
                pass
    for web, key in zip(stack.webs, [one for what, one in secrets.items() if "API key" in what], strict=True):
        async with Client([web.url], replace(person, token=key)) as by_key:
            await by_key.get("/api/me/")
    session_id, run_id = await _talk(stack, person)
    secrets |= {
        "the password": PASSWORD,
        "the person's token": person.token,
        "the LLM's key": LLM_KEY,
        "the token of the metrics": METRICS_TOKEN,
        "the key that signs": stack.ask("__import__('django.conf').conf.settings.SECRET_KEY"),
    }
    texts = _log_text(stack)
    lines = [json.loads(line) for part in ("web1", "worker1") for line in texts[part].splitlines()]
    return Lived(stack, secrets, person, session_id, run_id, lines, beat)


async def _sign_in(url: str, person: Person) -> dict[str, str]:
    """By every way, rightly and wrongly. Gives what nobody else may know."""
    async with httpx2.AsyncClient(base_url=url, trust_env=False) as http:
        signed = {"username": person.username, "password": PASSWORD}
        tokens = (await http.post("/api/auth/token/", json=signed)).json()
        await http.post("/api/auth/token/", json=signed | {"password": PASSWORD + "-wrong"})
        fresh = (await http.post("/api/auth/token/refresh/", json={"refresh": tokens["refresh"]})).json()
        bearer = {"Authorization": f"Bearer {fresh['access']}"}
        ticket = (await http.post("/api/ws-tickets/", headers=bearer)).json()["ticket"]
        key = (await http.post("/api/api-keys/", json={"name": "a program"}, headers=bearer)).json()["key"]
        for by_key in ({"Authorization": f"Bearer {key}"}, {"Authorization": f"Bearer {key}wrong"}):
            await http.get("/api/me/", headers=by_key)
            await http.get(f"/api/me/?token={key}", headers=by_key)
        await http.get("/api/me/", headers={"Authorization": f"Bearer {NOT_A_TOKEN}"})
        await http.get(f"/ws/?ticket={ticket}")
        await http.get(f"/api/sessions/?q={quote(SEARCHED)}", headers=bearer)
        await http.get("/metrics", headers={"Authorization": f"Bearer {METRICS_TOKEN}"})
        await http.get("/healthz")
    async with httpx2.AsyncClient(base_url=url, trust_env=False) as page:
        await page.get("/login/")
        form = {"csrfmiddlewaretoken": page.cookies["csrftoken"], **signed}
        wrong = await page.post("/login/", data=form | {"password": PASSWORD + "-wrong"})
        right = await page.post("/login/", data=form, headers={"Referer": url})
        assert (wrong.status_code, right.status_code) == (200, 302)
        cookies = {name: page.cookies[name] for name in ("sessionid", "csrftoken")}
        assert (await page.get("/api/me/")).json()["username"] == person.username
        await page.post("/api/sessions/", json={}, headers={"X-CSRFToken": NOT_A_CSRF_TOKEN})
    return {
        "an access token": tokens["access"],
        "a refresh token": tokens["refresh"],
        "the next access token": fresh["access"],
        "the next refresh token": fresh["refresh"],
        "a ticket": ticket,
        "an API key": key,
        COOKIE: cookies["sessionid"],
        "a CSRF token": cookies["csrftoken"],
    }


async def _talk(stack: Stack, person: Person) -> tuple[str, str]:
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
        return session_id, run_id


def test_no_log_holds_a_secret_or_what_anybody_wrote(lived: Lived) -> None:
    wrote = [CONTENT, TITLE, SEARCHED, INSTRUCTIONS, NOT_A_TOKEN, NOT_A_CSRF_TOKEN, *PROVIDERS_WORDS]
    for part, text in _log_text(lived.stack, lived.beat).items():
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
        if what.startswith(COOKIE):
            continue  # the key of its row in Django's own table
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
