"""Questions that only a person can settle. No run asks one yet, so there are none to be found."""

from typing import Literal
from uuid import UUID

from django.http import HttpResponse

from chat.api.doors import Door, reply
from chat.api.pages import PageQuery
from chat.errors import NotFound
from chat.protocol.commands import Resolution


class InterruptsQuery(PageQuery):
    status: Literal["open", "resolved", "expired", "withdrawn"] | None = None


class Interrupts(Door):
    async def get(self, query: InterruptsQuery) -> HttpResponse:
        return reply({"results": [], "next": None, "previous": None})


class Resolve(Door):
    async def post(self, interrupt_id: UUID, body: Resolution) -> HttpResponse:
        raise NotFound
