"""The life of a session."""

import json
from collections.abc import Collection
from functools import partial
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Lower

from chat import mentions, metrics, stream
from chat.actions.events import Log, action, on_commit
from chat.actions.members import as_owner, locked_by, writer
from chat.errors import Conflict, InvalidInput
from chat.failpoints import failpoint
from chat.models import Agent, ChatSession, Member, Message, Run, User
from chat.prepared import Asked, Given, Prepared, together
from chat.protocol.commands import NewSession, SessionChange

Status = ChatSession.Status


_AGENT = Prepared(lambda: Agent.objects.filter(name=Given("name"), enabled=True))
_AGENT_OF_SESSION = Prepared(lambda: Agent.objects.filter(sessions=Given("session_id"), enabled=True).order_by())


def agent_asked(session_id: UUID, name: str | None) -> Asked[Agent]:
    """Ask for the agent of that name, else for the session's own."""
    return _AGENT.ask(name=name) if name else _AGENT_OF_SESSION.ask(session_id=session_id)


def agent_of(asked: Asked[Agent], user: User | None) -> Agent:
    """Raises `InvalidInput` where there is no such agent to talk to; with a user, none that they may see."""
    agent = asked.first
    if agent is None or not (user is None or agent.is_visible_to(user)):
        raise InvalidInput("There is no such agent.", fields={"agent": "unknown"})
    return agent


def agent_named(user: User, name: str) -> Agent:
    """Likewise, by its name alone."""
    asked = _AGENT.ask(name=name)
    together(asked)
    return agent_of(asked, user)


def agent_mentioned(user: User, content: str) -> str | None:
    """The name of the first agent that a text mentions; a name that is none, or not for this user, is plain text."""
    written = mentions.names_in(content)
    if not written:
        return None
    lowered = {name.lower() for name in written}
    agents = Agent.objects.filter(enabled=True).alias(lowered=Lower("name")).filter(lowered__in=lowered)
    names = sorted(agent.name for agent in agents if agent.is_visible_to(user))
    for one in written:  # where names differ only by case, the one spelled exactly so counts
        same = [name for name in names if name.lower() == one.lower()]
        if same:
            return one if one in same else same[0]
    return None


@action
def create_session(user: User, new: NewSession) -> ChatSession:
    agent = agent_named(user, new.agent or Agent.DEFAULT)
    if new.parent_id and not ChatSession.objects.visible_to(user).filter(pk=new.parent_id).exists():
        raise InvalidInput("There is no such parent session.", fields={"parent_id": "unknown"})
    if new.incident_id:
        raise InvalidInput("There is no such incident.", fields={"incident_id": "unknown"})
    with transaction.atomic():
        session = ChatSession.objects.create(
            title=new.title,
            is_titled=bool(new.title),
            agent=agent,
            metadata=new.metadata,
            on_busy=new.on_busy,
            parent_id=new.parent_id,
        )
        Member.objects.create(session=session, user=user, role=Member.Role.OWNER)
        log = Log(session)
        log.append_event("session.created")
        log.write()
    return session


@action
def update_session(user: User, session_id: UUID, change: SessionChange) -> ChatSession:
    writer(user, session_id)
    asked = change.model_dump(exclude_unset=True)
    if "agent" in asked:
        asked["agent_id"] = agent_named(user, asked.pop("agent")).pk
    if "title" in asked:
        asked["is_titled"] = True  # also where they want none
    with locked_by(user, session_id) as log:
        columns = {name: value for name, value in asked.items() if _text(value) != _text(getattr(log.session, name))}
        if columns.get("status") == Status.COMPLETED:
            if log.session.status == Status.CLOSED:
                raise Conflict("The session is closed: reopen it first.")
            if Run.objects.open().filter(session_id=session_id).exists():
                raise Conflict("An answer is still in progress.")
            columns |= {"completed_at": log.now, "active_at": log.now}
            _measure(session_id)
        if columns:
            log.change_session(**columns)
    return log.session


def _text(value: object) -> str:
    """To compare by: to Python 1 == True, and in somebody's metadata they differ."""
    return json.dumps(value, sort_keys=True, default=str)


@action
def close_session(user: User, session_id: UUID, *, by_operator: bool = False) -> ChatSession:
    """Take no more messages. What is in progress goes on to its end."""
    with locked_by(user, session_id, by_operator=by_operator) as log:
        if log.session.status != Status.CLOSED:
            close(log, "operator" if by_operator else "member")
    return log.session


def close(log: Log, reason: str) -> None:
    """Close a session, and say why."""
    if log.session.status != Status.COMPLETED:
        _measure(log.session_id)
    columns = {"status": Status.CLOSED, "closed_at": log.now, "active_at": log.now}
    log.change_session("session.closed", extra={"reason": reason}, **columns)


@action
def reopen_session(user: User, session_id: UUID, *, by_operator: bool = False) -> ChatSession:
    with locked_by(user, session_id, by_operator=by_operator) as log:
        if log.session.status in {Status.CLOSED, Status.COMPLETED}:
            statuses = set(Run.objects.open().filter(session_id=session_id).values_list("status", flat=True))
            log.change_session(
                "session.reopened",
                status=status_by_runs(statuses),
                closed_at=None,
                completed_at=None,
                active_at=log.now,
            )
    return log.session


@action
def delete_session(user: User, session_id: UUID) -> None:
    """Remove a session and all that was said in it. Everybody who watches it is told."""
    with locked_by(user, session_id, who=as_owner) as log:
        if log.session.status not in {Status.CLOSED, Status.COMPLETED}:
            _measure(session_id)
        remove(log)


def remove(log: Log) -> None:
    """Delete a session with everything in it. What its answers cost stays on the bill, without saying whose it was."""
    session_id = log.session_id
    running = list(Run.objects.open().filter(session_id=session_id))
    log.append_event("session.deleted")
    log.write()
    # The rows refer to each other: the runs go before the messages that they answer.
    log.session.runs.all().delete()
    log.session.delete()
    log.forget()
    for run in running:
        on_commit(partial(stream.raise_fence, session_id, run.pk, run.attempt + 1, run.drafts))
        if run.worker_id:
            on_commit(partial(stream.nudge, run.worker_id, run.pk))
    failpoint("delete.commit")


def _measure(session_id: UUID) -> None:
    """Note how long a session was that ends now."""
    said = Message.objects.filter(session_id=session_id, role=Message.Role.USER).count()
    on_commit(partial(metrics.SESSION_MESSAGES.observe, said))


def status_by_runs(statuses: Collection[str]) -> str:
    """What a session is by the statuses of its open runs: active, interrupted, or waiting for the user."""
    if not statuses:
        return Status.WAITING
    return Status.INTERRUPTED if Run.Status.INTERRUPTED in statuses else Status.ACTIVE


def settle(log: Log, statuses: Collection[str]) -> None:
    """Bring the session's status up to its open runs."""
    if log.session.status not in {Status.CLOSED, Status.COMPLETED}:
        log.set_status(status_by_runs(statuses))
