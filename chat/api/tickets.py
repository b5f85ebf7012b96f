"""Passes for WebSockets, for clients that cannot set headers there."""

from django.http import HttpResponse

from chat.actions import tickets
from chat.api.doors import Door, reply
from chat.database import writing
from chat.protocol import time


class Tickets(Door):
    async def post(self) -> HttpResponse:
        ticket, expires_at = await writing(tickets.issue_ticket, self.user)
        return reply({"ticket": ticket, "expires_at": time(expires_at)}, 201)
