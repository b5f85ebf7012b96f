"""Who takes part in a session."""

from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse

from chat.actions import members
from chat.api.doors import Door, done, reply
from chat.api.pages import PageQuery, page
from chat.database import reading, writing
from chat.models import Member, User
from chat.protocol.commands import NewMember


class Members(Door):
    async def get(self, session_id: UUID, query: PageQuery) -> HttpResponse:
        return reply(await reading(_list, self.request, self.user, session_id, query))

    async def post(self, session_id: UUID, body: NewMember) -> HttpResponse:
        member = await writing(members.add_member, self.user, session_id, body)
        return reply(member.as_data(), 201)


class OneMember(Door):
    async def delete(self, session_id: UUID, user_id: UUID) -> HttpResponse:
        await writing(members.remove_member, self.user, session_id, user_id)
        return done()


def _list(request: HttpRequest, user: User, session_id: UUID, query: PageQuery) -> dict[str, Any]:
    members.membership(user, session_id)
    rows = Member.objects.filter(session_id=session_id).select_related("user")
    return page(request, query, rows, ("pk",), Member.as_data)
