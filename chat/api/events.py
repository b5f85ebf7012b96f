"""The log of a session, as its reader's socket would tell it."""

from typing import Annotated
from uuid import UUID

from django.http import HttpResponse
from pydantic import Field

from chat.api.doors import Door, Query, reply
from chat.api.pages import LIMIT, Limit
from chat.database import read_snapshot, reading
from chat.errors import InvalidInput, TooOld
from chat.hub import read_membership
from chat.models import User
from chat.models.events import frames


class EventsQuery(Query):
    after: Annotated[int, Field(ge=0, lt=2**63)] = 0
    limit: Limit = LIMIT


class Events(Door):
    async def get(self, session_id: UUID, query: EventsQuery) -> HttpResponse:
        return reply(await reading(_list, self.user, session_id, query))


def _list(user: User, session_id: UUID, query: EventsQuery) -> str:
    """The answer as JSON text: the frames are text already. Raises `NotFound`, `InvalidInput`, `TooOld`."""
    with read_snapshot():
        session, reader = read_membership(user, session_id)
        if query.after > session.last_seq:
            raise InvalidInput("That is beyond the end of the log.", fields={"after": "too large"})
        if query.after + 1 < session.kept_from:
            raise TooOld
        found = frames(session.events.after(query.after)[: query.limit])
    results = ",".join(frame.text_for(reader) for frame in found)
    return f'{{"results":[{results}],"last_seq":{session.last_seq}}}'
