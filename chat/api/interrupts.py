"""Questions that only a person can settle. No run asks one yet, so there are none to be found."""

from typing import Literal
from uuid import UUID

from chat.api.answers import Answer, raises
from chat.api.doors import Door
from chat.api.pages import PageQuery
from chat.errors import AlreadyResolved, Expired, NotFound
from chat.protocol.commands import Resolution
from chat.protocol.shapes import InterruptData, PageData, ResolvedData


class InterruptsQuery(PageQuery):
    status: Literal["open", "resolved", "expired", "withdrawn"] | None = None


class Interrupts(Door):
    async def get(self, query: InterruptsQuery) -> Answer[PageData[InterruptData]]:
        """List the questions that people are asked."""
        return Answer({"results": [], "next": None, "previous": None})


class Resolve(Door):
    @raises(AlreadyResolved, Expired)
    async def post(self, interrupt_id: UUID, body: Resolution) -> Answer[ResolvedData]:
        """Answer a question."""
        raise NotFound
