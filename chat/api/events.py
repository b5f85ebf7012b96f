"""The log of a session, as its reader's socket would tell it: in pieces, with a wait for the next, or as a stream."""

import asyncio
from typing import Annotated
from uuid import UUID

from pydantic import Field

from chat import auth
from chat.api import streams
from chat.api.answers import Answer, Stream, raises
from chat.api.doors import Door, Headers, Query
from chat.api.pages import LIMIT, Limit
from chat.api.waiting import Wait, until_event
from chat.database import read_snapshot, reading
from chat.errors import InvalidInput, NotAuthenticated, TooManyConnections, TooOld
from chat.hub import read_membership
from chat.models import User
from chat.models.events import frames
from chat.protocol.shapes import EventsData, FrameData

Seq = Annotated[int, Field(ge=0, lt=2**63)]


class EventsQuery(Query):
    after: Seq = 0
    limit: Limit = LIMIT
    wait: Wait = 0


class EventsHeaders(Headers):
    last_event_id: Annotated[Seq | None, Field(alias="Last-Event-ID")] = None  # of a stream that comes back


class Events(Door):
    @raises(TooOld, TooManyConnections)
    async def get(
        self, session_id: UUID, query: EventsQuery, headers: EventsHeaders
    ) -> Answer[EventsData] | Stream[FrameData]:
        """List what happened after a number, wait for the next event if there is none, or follow without an end."""
        if streams.is_asked_for(self.request):
            # What an EventSource has seen counts more than where its URL begins.
            seen = headers.last_event_id
            return await self._stream(session_id, query, query.after if seen is None else seen)
        text, is_empty = await reading(_list, self.user, session_id, query)
        if is_empty and query.wait:
            try:
                async with asyncio.timeout(query.wait):
                    await until_event(self.user, session_id, query.after)
            except TimeoutError:
                pass
            if not await reading(auth.is_still_good, self.credential):
                raise NotAuthenticated
            text, _ = await reading(_list, self.user, session_id, query)
        return Answer[EventsData].of_text(text)

    async def _stream(self, session_id: UUID, query: EventsQuery, after: int) -> Stream[FrameData]:
        if meant_for_pages := query.model_fields_set & {"limit", "wait"}:
            raise InvalidInput("A stream has no end.", fields=dict.fromkeys(meant_for_pages, "not of a stream"))
        return Stream(await streams.open_stream(self.request, self.credential, session_id, after))


def _list(user: User, session_id: UUID, query: EventsQuery) -> tuple[str, bool]:
    """The answer as JSON text (the frames are text already), and whether it is empty.

    Raises `NotFound`, `InvalidInput`, `TooOld`.
    """
    with read_snapshot():
        session, reader = read_membership(user, session_id)
        if query.after > session.last_seq:
            raise InvalidInput("That is beyond the end of the log.", fields={"after": "too large"})
        if query.after + 1 < session.kept_from:
            raise TooOld
        found = frames(session.events.after(query.after)[: query.limit])
    results = ",".join(frame.text_for(reader) for frame in found)
    return f'{{"results":[{results}],"last_seq":{session.last_seq}}}', not found
