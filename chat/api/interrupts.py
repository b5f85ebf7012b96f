"""Questions that only a person can settle: those of all one's sessions, and answering one."""

from uuid import UUID

from django.http import HttpRequest

from chat.actions import interrupts
from chat.api.answers import Answer, raises
from chat.api.doors import Door
from chat.api.pages import PageQuery, page
from chat.database import reading
from chat.errors import AlreadyResolved, Expired
from chat.models import Interrupt, User
from chat.protocol.commands import Resolution
from chat.protocol.shapes import InterruptData, PageData, ResolvedData


class InterruptsQuery(PageQuery):
    status: Interrupt.Status = Interrupt.Status.OPEN


class Interrupts(Door):
    async def get(self, query: InterruptsQuery) -> Answer[PageData[InterruptData]]:
        """List what people are asked in one's sessions, the newest first: what is open, or was settled in some way."""
        return Answer(await reading(_list, self.request, self.user, query))


class Resolve(Door):
    @raises(AlreadyResolved, Expired)
    async def post(self, interrupt_id: UUID, body: Resolution) -> Answer[ResolvedData]:
        """Answer a question. The first answer counts; its run goes on when nothing that it asked is open any more."""
        settled = await interrupts.resolve_interrupt(self.user, interrupt_id, body.answer)
        return Answer(settled.as_resolved())


def _list(request: HttpRequest, user: User, query: InterruptsQuery) -> PageData[InterruptData]:
    mine = Interrupt.objects.visible_to(user).filter(status=query.status)
    return page(request, query, mine, ("-created_at", "-id"), Interrupt.as_data)
