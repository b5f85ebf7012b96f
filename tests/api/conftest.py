"""In-process callers of the HTTP doors: Ada owns, Ben takes part, Eve is a stranger."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import SyncToAsync
from django.db import connections
from django.http import HttpResponse
from django.test import AsyncClient, Client
from pytest_django import Settings
from rest_framework_simplejwt.tokens import AccessToken

from chat.actions import attempts, claims, workers
from chat.actions.questions import Question
from chat.actions.usage import Spending
from chat.api import home
from chat.api.built import Built
from chat.database import writing
from chat.models import Agent, Run, User
from chat.outbox import outbox

Row = dict[str, Any]
BUILT = Built("app/assets/main-12345678.js", ("app/assets/main-87654321.css",), ("app/assets/more-12345678.js",))


@dataclass
class Caller:
    """One person with an access token, or nobody."""

    user: User | None = None
    client: AsyncClient = field(default_factory=AsyncClient)

    @property
    def id(self) -> str:
        assert self.user is not None
        return str(self.user.pk)

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> HttpResponse:
        """Make a request. A `body` of bytes goes out as it is."""
        if self.user is not None:
            headers.setdefault("Authorization", f"Bearer {AccessToken.for_user(self.user)}")
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        kind = named.pop("Content-Type", "application/json")
        response: Any = await self.client.generic(method, path, content, content_type=kind, headers=named)
        return response

    async def call(self, method: str, path: str, body: Any = None, status: int = 200, **headers: str) -> Any:
        """Make a request that has to be answered with a status, and give its JSON."""
        response = await self.ask(method, path, body, **headers)
        text = response.content.decode()
        assert response.status_code == status, f"{method} {path}: {response.status_code} {text[:500]}"
        return json.loads(text) if text else None

    async def get(self, path: str, status: int = 200, **headers: str) -> Any:
        return await self.call("GET", path, None, status, **headers)

    async def post(self, path: str, body: Any = None, status: int = 200, **headers: str) -> Any:
        return await self.call("POST", path, {} if body is None else body, status, **headers)

    async def refused(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, str]:
        """Make a request that has to be refused, and give its status and code."""
        response = await self.ask(method, path, body, **headers)
        error = json.loads(response.content)["error"]
        assert (
            {"code", "message", "temporary"}
            <= set(error)
            <= {
                "code",
                "message",
                "temporary",
                "retry_after_s",
                "fields",
            }
        )
        assert ("retry_after_s" in error) == ("Retry-After" in response.headers)
        return response.status_code, error["code"]

    async def new_session(self, **data: Any) -> str:
        session_id: str = (await self.post("/api/sessions/", data, 201))["session_id"]
        return session_id

    async def let_in(self, session_id: str, who: "Caller", role: str = "member") -> None:
        assert who.user is not None
        await self.post(f"/api/sessions/{session_id}/members/", {"username": who.user.username, "role": role}, 201)

    async def say(self, session_id: str, content: str = "hello", **more: Any) -> Row:
        said: Row = await self.post(f"/api/sessions/{session_id}/messages/", {"content": content, **more}, 202)
        return said


class WorkerOfATest:
    """Does by hand what a worker does with runs."""

    async def start(self, session_id: str) -> Run:
        worker_id = await writing(workers.register_worker, "by hand")
        run = await writing(claims.claim_run, worker_id, UUID(session_id))
        assert run is not None
        return run

    async def finish(self, run: Run, text: str) -> Run:
        return await writing(attempts.finish_run, run, text, Spending("demo", 1, 2))

    async def answer(self, session_id: str, text: str = "An answer.") -> Run:
        return await self.finish(await self.start(session_id), text)

    async def ask(self, run: Run, *questions: Question) -> Run:
        return await writing(attempts.interrupt_run, run, questions, Spending("demo", 1, 2))

    async def fail(self, run: Run) -> Run:
        error = {"code": "llm_timeout", "message": "It took too long.", "temporary": True}
        return await writing(attempts.fail_run, run, error, "part of", Spending("demo"))


@pytest.fixture
def worker() -> WorkerOfATest:
    return WorkerOfATest()


@pytest.fixture
def _agent(transactional_db: None) -> Iterator[None]:
    # A test with real transactions leaves empty tables behind, without what migrations had put there.
    Agent.objects.exclude(name=Agent.DEFAULT).delete()  # before the first such test they are still there
    Agent.objects.get_or_create(name=Agent.DEFAULT, defaults={"title": "Assistant"})
    outbox.recover()  # whatever a test before did to Redis
    yield
    # The thread in which a test's own `await …objects.a…()` ran: a database with a guest cannot be dropped.
    SyncToAsync.single_thread_executor.submit(connections.close_all).result()


def _person(name: str) -> Caller:
    return Caller(User.objects.create(username=name, password="!"))


@pytest.fixture
def ada(_agent: None) -> Caller:
    return _person("ada")


@pytest.fixture
def browser(ada: Caller, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Client:
    """Ada's browser, where she has not signed in yet, and a page that is built."""
    monkeypatch.setattr(home, "built", lambda: BUILT)
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    assert ada.user is not None
    ada.user.set_password("correct horse")
    ada.user.save()
    return Client(enforce_csrf_checks=True)


@pytest.fixture
def ben(_agent: None) -> Caller:
    return _person("ben")


@pytest.fixture
def eve(_agent: None) -> Caller:
    return _person("eve")


@pytest.fixture
def nobody(_agent: None) -> Caller:
    return Caller()
