"""What the in-process tests share: committed rows, threads with connections of their own, places to stop at, one talk.

The tests of `chat/` and `workers/` commit for real: locks, fences and what follows a commit show nowhere else. So their
`db` is not pytest-django's one transaction a test; it removes what a test has left.
"""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
import redis as redis_py
from django.db import connection, transaction
from pytest_django import DjangoDbBlocker

from chat import failpoints, limits
from chat.actions import attempts, claims, members, messages, runs, sessions, workers
from chat.models import Agent, ChatSession, Event, Interrupt, Message, Run, User
from chat.outbox import outbox
from chat.protocol import Reader
from chat.protocol.commands import NewMember, NewMessage, NewSession
from tests.fold import Fold, differences
from tests.processes import PATIENCE

TABLES = ["event", "usage", "interrupt", "toolcall", "member", "ticket", "apikey"]
TABLES += ["message", "run", "chatsession", "worker", "user"]
SEEDED = ("assistant", "support")  # the agents that migrations make
WAIT_S = 10 * PATIENCE


# --- rows -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def db(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Rows that are really committed, and removed afterwards."""
    with django_db_blocker.unblock():
        seeded = list(Agent.objects.filter(name__in=SEEDED))
        try:
            yield
        finally:
            failpoints.armed.clear()
            _wipe()
            for agent in seeded:
                agent.save()


def _wipe() -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        for table in ("token_blacklist_blacklistedtoken", "token_blacklist_outstandingtoken", "django_session"):
            cursor.execute(f"DELETE FROM {table}")
        for table in TABLES:
            cursor.execute(f"DELETE FROM chat_{table}")
        cursor.execute("DELETE FROM chat_tool")
        cursor.execute(f"DELETE FROM chat_agent WHERE name NOT IN {SEEDED}")


@pytest.fixture
def redis(redis_url: str) -> Iterator[redis_py.Redis]:
    """An empty Redis, and nothing in this process that remembers an earlier one."""
    client = redis_py.Redis.from_url(redis_url, socket_timeout=2)
    outbox.flush(WAIT_S)
    client.flushall()
    _forget_redis()
    yield client
    outbox.flush(WAIT_S)
    _forget_redis()
    client.close()


def _forget_redis() -> None:
    outbox.recover()
    outbox._missed.clear()
    limits._windows.clear()
    limits._sockets.clear()


def told() -> None:
    """Wait until all that was committed so far is published and rung."""
    assert outbox.flush(WAIT_S)


def rung(redis: redis_py.Redis) -> list[UUID]:
    """The runs that were rung for since the last look, in order."""
    told()
    runs = []
    for raw in reversed(redis.lrange("runs", 0, -1)):
        body = base64.b64decode(json.loads(raw)["body"])
        runs.append(UUID(json.loads(body)[0][0]))
    redis.delete("runs")
    return runs


# --- a talk -----------------------------------------------------------------------------------------------------------


def post(user: User, session_id: UUID, content: str, **more: Any) -> messages.Posted:
    new = NewMessage(content=content, **more)
    done = messages._post(user, session_id, new, None)
    while isinstance(done, Run):
        done = messages._post(user, session_id, new, messages.Shown(done, runs.shown_by(done)))
    return done


@dataclass
class Talk:
    """A session that Ada owns and Ben is a member of, and a worker that may answer in it."""

    session: ChatSession
    ada: User
    ben: User
    worker_id: UUID

    @property
    def pk(self) -> UUID:
        return self.session.pk

    def post(self, content: str = "Hello?", by: User | None = None, **more: Any) -> messages.Posted:
        """Write what `post_message` writes: in the thread of the test, and without its limit."""
        return post(by or self.ada, self.pk, content, **more)

    async def say(self, content: str = "Hello?", by: User | None = None, **more: Any) -> messages.Posted:
        """Say something as over every door."""
        return await messages.post_message(by or self.ada, self.pk, NewMessage(content=content, **more))

    def cancel(self, run_id: UUID, by: User | None = None) -> runs.Outcome:
        user = by or self.ada
        while not (outcome := runs._cancel(user, *runs._see(user, run_id))):
            pass
        return outcome

    def retry(self, run_id: UUID, by: User | None = None) -> runs.Outcome:
        user = by or self.ada
        return runs._retry(user, runs.run_for(user, run_id).session_id, run_id)

    def queue(self, content: str = "Hello?", by: User | None = None, **more: Any) -> Run:
        """Say something, and give the run that waits to answer it."""
        return Run.objects.select_related("agent").get(pk=self.post(content, by, **more).run_id)

    def claim(self, worker_id: UUID | None = None) -> Run:
        run = claims.claim_run(worker_id or self.worker_id, self.pk)
        assert run is not None, "nothing could be claimed"
        return run

    def start(self, content: str = "Hello?", by: User | None = None, **more: Any) -> Run:
        """Say something, and claim the run that answers it."""
        self.post(content, by, **more)
        return self.claim()

    def answer(self, content: str = "Hello?", text: str = "Hello!", by: User | None = None) -> Run:
        """Say something, and have it answered."""
        return attempts.finish_run(self.start(content, by), text, attempts.Spending("demo", 3, 2))

    def log(self, after: int = 0) -> list[Event]:
        return list(Event.objects.filter(session_id=self.pk).after(after))

    def types(self, after: int = 0) -> list[str]:
        return [event.type for event in self.log(after)]

    @property
    def last_seq(self) -> int:
        return ChatSession.objects.get(pk=self.pk).last_seq


def new_talk(ada: User, ben: User, worker_id: UUID) -> Talk:
    session = sessions.create_session(ada, NewSession(title="Incident"))
    members.add_member(ada, session.pk, NewMember(username=ben.username))
    return Talk(session, ada, ben, worker_id)


@pytest.fixture
def worker_id(db: None) -> UUID:
    """A worker that is alive for as long as any test runs."""
    return workers.register_worker("host:1")


@pytest.fixture
def talk(ada: User, ben: User, worker_id: UUID, redis: redis_py.Redis, settings: Any) -> Iterator[Talk]:
    """A talk whose log must agree with its rows when the test is over."""
    settings.CHAT_MESSAGES_PER_10S = 0
    settings.CHAT_LEASE_S = 600
    workers.renew_lease(worker_id)
    made = new_talk(ada, ben, worker_id)
    yield made
    failpoints.armed.clear()
    agrees(made)


def _no_more(told: Any, row: Any) -> bool:
    return all(told[key] <= row[key] for key in told)


def agrees(talk: Talk) -> None:
    """Fold the log as Ada reads it: it is gapless, breaks no rule of the wire, and gives the rows as they are."""
    session = ChatSession.objects.filter(pk=talk.pk).first()
    if session is None:
        assert not Event.objects.filter(session_id=talk.pk).exists()
        return
    reader = Reader(str(talk.ada.pk), "owner")
    fold = Fold(str(talk.pk))
    for event in talk.log():
        fold.feed(json.loads(event.as_frame().text_for(reader)))
    rows = Message.objects.shown().filter(session_id=talk.pk).order_by("seq")
    rows_of_runs = {str(run.pk): run.as_data() for run in Run.objects.filter(session_id=talk.pk)}
    shown = {
        **session.as_data("owner"),
        "messages": [{**row.as_data(show_key=row.user_id == talk.ada.pk)} for row in rows],
        "runs": rows_of_runs,
        "interrupts": [row.as_data() for row in Interrupt.objects.filter(session_id=talk.pk).in_order()],
    }
    folded = {**fold.session, "messages": list(fold.messages.values()), "runs": fold.runs}
    folded["interrupts"] = list(fold.interrupts.values())
    for run_id, row in rows_of_runs.items():
        told: Any = folded["runs"][run_id]["usage"]
        # What a cancelled or lost attempt cost may be known only after the run's last event, and no event tells it.
        if (row["status"] == "cancelled" or row["attempt"] > 1) and _no_more(told, row["usage"]):
            folded["runs"][run_id]["usage"] = row["usage"]
    assert not list(differences(folded, json.loads(json.dumps(shown)))), "the log and the rows disagree"
