"""Sessions: the list of mine, and each with what a page needs to show it."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from django.http import HttpRequest
from pydantic import AfterValidator, AwareDatetime, BeforeValidator, StringConstraints

from chat.actions import members, sessions
from chat.api.answers import Answer, Created, Done, raises
from chat.api.doors import Door
from chat.api.pages import PageQuery, page
from chat.database import read_snapshot, reading, writing
from chat.errors import Conflict
from chat.hub import read_membership
from chat.models import ChatSession, Interrupt, Member, User
from chat.protocol import SessionData
from chat.protocol.commands import NewSession, SessionChange
from chat.protocol.shapes import PageData, SessionPageData

MESSAGES_SHOWN = 50


def _as_a_date(value: object) -> object:
    if not re.match(r"\d{4}-\d\d-\d\d", str(value)):
        raise ValueError("must be a date and time like 2026-01-31T12:00:00Z")  # a number would be one, too
    return value


def _in_utc(at: datetime) -> datetime:
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise ValueError("is outside of all calendars") from None


class SessionsQuery(PageQuery):
    status: ChatSession.Status | None = None
    agent: Annotated[str, StringConstraints(max_length=64)] | None = None
    q: Annotated[str, StringConstraints(max_length=200)] | None = None
    updated_after: Annotated[AwareDatetime, BeforeValidator(_as_a_date), AfterValidator(_in_utc)] | None = None


class Sessions(Door):
    async def get(self, query: SessionsQuery) -> Answer[PageData[SessionData]]:
        """List one's sessions, the last active first."""
        return Answer(await reading(_list, self.request, self.user, query))

    async def post(self, body: NewSession) -> Created[SessionData]:
        """Begin a session."""
        session = await writing(sessions.create_session, self.user, body)
        return Created(session.as_data(Member.Role.OWNER))


class Session(Door):
    async def get(self, session_id: UUID) -> Answer[SessionPageData]:
        """Show a session, with its newest messages and what is open, all of one moment."""
        return Answer(await reading(_show, self.user, session_id))

    @raises(Conflict)
    async def patch(self, session_id: UUID, body: SessionChange) -> Answer[SessionData]:
        """Change a session, or mark it as completed."""
        return Answer(await writing(_changed, sessions.update_session, self.user, session_id, body))

    async def delete(self, session_id: UUID) -> Done:
        """Remove a session and all that was said in it. Owners only."""
        await writing(sessions.delete_session, self.user, session_id)
        return Done()


class Close(Door):
    async def post(self, session_id: UUID) -> Answer[SessionData]:
        """Take no more messages in a session."""
        return Answer(await writing(_changed, sessions.close_session, self.user, session_id))


class Reopen(Door):
    async def post(self, session_id: UUID) -> Answer[SessionData]:
        """Take messages again in a session that was closed or completed."""
        return Answer(await writing(_changed, sessions.reopen_session, self.user, session_id))


def _list(request: HttpRequest, user: User, query: SessionsQuery) -> PageData[SessionData]:
    mine = Member.objects.filter(user=user).select_related("session").defer("session__summary")
    if query.status:
        mine = mine.filter(session__status=query.status)
    if query.agent:
        mine = mine.filter(session__agent=query.agent)
    if query.q:
        mine = mine.filter(session__title__icontains=query.q)
    if query.updated_after:
        mine = mine.filter(session__updated_at__gt=query.updated_after)
    order = ("-session__active_at", "-session_id")
    return page(request, query, mine, order, lambda member: member.session.as_data(member.role))


def _show(user: User, session_id: UUID) -> SessionPageData:
    """Raises `NotFound`."""
    with read_snapshot():
        session, reader = read_membership(user, session_id)
        newest = list(session.messages.shown().newest_first()[:MESSAGES_SHOWN])
        runs = list(session.runs.open().order_by("position"))
        asked = list(Interrupt.objects.open().filter(session_id=session_id).in_order())
    return {
        **session.as_data(reader.role),
        "messages": [message.as_data(show_key=message.user_id == user.pk) for message in reversed(newest)],
        "runs": [run.as_data() for run in runs],
        "interrupts": [row.as_data() for row in asked],
    }


def _changed(change: Callable[..., ChatSession], user: User, session_id: UUID, *how: SessionChange) -> SessionData:
    session = change(user, session_id, *how)
    return session.as_data(members.membership(user, session_id).role)
