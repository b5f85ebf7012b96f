"""Passes for WebSockets, for clients that cannot set headers there."""

from chat.actions import tickets
from chat.api.answers import Created
from chat.api.doors import Door
from chat.database import writing
from chat.protocol import time
from chat.protocol.shapes import TicketData


class Tickets(Door):
    async def post(self) -> Created[TicketData]:
        """Buy a pass that opens one WebSocket, within a minute."""
        ticket, expires_at = await writing(tickets.issue_ticket, self.user, self.credential.as_proof())
        return Created({"ticket": ticket, "expires_at": time(expires_at)})
