"""Who takes part in a session."""

from uuid import UUID

from django.http import HttpRequest

from chat.actions import members
from chat.api.answers import Answer, Created, Done, raises
from chat.api.doors import Door
from chat.api.pages import PageQuery, page
from chat.database import reading, writing
from chat.errors import Conflict
from chat.models import Member, User
from chat.protocol import MemberData
from chat.protocol.commands import NewMember
from chat.protocol.shapes import PageData


class Members(Door):
    async def get(self, session_id: UUID, query: PageQuery) -> Answer[PageData[MemberData]]:
        """List who takes part."""
        return Answer(await reading(_list, self.request, self.user, session_id, query))

    @raises(Conflict)
    async def post(self, session_id: UUID, body: NewMember) -> Created[MemberData]:
        """Add somebody, or change the role of one who is there. Owners only."""
        member = await writing(members.add_member, self.user, session_id, body)
        return Created(member.as_data())


class OneMember(Door):
    @raises(Conflict)
    async def delete(self, session_id: UUID, user_id: UUID) -> Done:
        """Take somebody out: owners anybody, everybody themselves."""
        await writing(members.remove_member, self.user, session_id, user_id)
        return Done()


def _list(request: HttpRequest, user: User, session_id: UUID, query: PageQuery) -> PageData[MemberData]:
    members.membership(user, session_id)
    rows = Member.objects.filter(session_id=session_id).select_related("user")
    return page(request, query, rows, ("pk",), Member.as_data)
