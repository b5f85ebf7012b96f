"""Sessions: the list of mine, and each with what a page needs to show it."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from pydantic import AfterValidator, AwareDatetime, StringConstraints

from chat.actions import members, sessions
from chat.api.doors import Door, done, reply
from chat.api.pages import PageQuery, page
from chat.database import read_snapshot, reading, writing
from chat.hub import read_membership
from chat.models import ChatSession, Member, User
from chat.protocol.commands import NewSession, SessionChange

MESSAGES_SHOWN = 50


def _in_utc(at: datetime) -> datetime:
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise ValueError("is outside of all calendars") from None


class SessionsQuery(PageQuery):
    status: ChatSession.Status | None = None
    agent: Annotated[str, StringConstraints(max_length=64)] | None = None
    q: Annotated[str, StringConstraints(max_length=200)] | None = None
    updated_after: Annotated[AwareDatetime, AfterValidator(_in_utc)] | None = None


class Sessions(Door):
    async def get(self, query: SessionsQuery) -> HttpResponse:
        return reply(await reading(_list, self.request, self.user, query))

    async def post(self, body: NewSession) -> HttpResponse:
        session = await writing(sessions.create_session, self.user, body)
        return reply(session.as_data(Member.Role.OWNER), 201)


class Session(Door):
    async def get(self, session_id: UUID) -> HttpResponse:
        return reply(await reading(_show, self.user, session_id))

    async def patch(self, session_id: UUID, body: SessionChange) -> HttpResponse:
        return reply(await writing(_changed, sessions.update_session, self.user, session_id, body))

    async def delete(self, session_id: UUID) -> HttpResponse:
        await writing(sessions.delete_session, self.user, session_id)
        return done()


class Close(Door):
    async def post(self, session_id: UUID) -> HttpResponse:
        return reply(await writing(_changed, sessions.close_session, self.user, session_id))


class Reopen(Door):
    async def post(self, session_id: UUID) -> HttpResponse:
        return reply(await writing(_changed, sessions.reopen_session, self.user, session_id))


def _list(request: HttpRequest, user: User, query: SessionsQuery) -> dict[str, Any]:
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


def _show(user: User, session_id: UUID) -> dict[str, Any]:
    """Raises `NotFound`."""
    with read_snapshot():
        session, reader = read_membership(user, session_id)
        newest = list(session.messages.newest_first()[:MESSAGES_SHOWN])
        runs = list(session.runs.open().order_by("position"))
    return {
        **session.as_data(reader.role),
        "messages": [message.as_data(show_key=message.user_id == user.pk) for message in reversed(newest)],
        "runs": [run.as_data() for run in runs],
        "interrupts": [],
    }


def _changed(change: Callable[..., ChatSession], user: User, session_id: UUID, *how: SessionChange) -> dict[str, Any]:
    session = change(user, session_id, *how)
    return dict(session.as_data(members.membership(user, session_id).role))
