"""What is said in a session, and saying something."""

import asyncio
import logging
from typing import Annotated, Any
from uuid import UUID

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from pydantic import Field

from chat.actions import members, messages
from chat.api.doors import Door, Query, reply
from chat.api.pages import PageQuery, page
from chat.api.waiting import until_over
from chat.database import read_snapshot, reading, writing
from chat.errors import InvalidInput, NotFound, Unavailable
from chat.models import Message, Run, User
from chat.protocol import read_body
from chat.protocol.commands import NewMessage, clean_text

log = logging.getLogger(__name__)

WAIT_MAX_S = 60


class PostQuery(Query):
    wait: Annotated[float, Field(ge=0, le=WAIT_MAX_S, allow_inf_nan=False)] | None = None


class Messages(Door):
    async def get(self, session_id: UUID, query: PageQuery) -> HttpResponse:
        return reply(await reading(_list, self.request, self.user, session_id, query))

    async def post(self, session_id: UUID, query: PostQuery, body: NewMessage) -> HttpResponse:
        body = _with_key_of_header(self.request, body)
        posted = await writing(messages.post_message, self.user, session_id, body)
        answer = posted.as_data()
        if query.wait is not None and await _over_within(query.wait, self.user, session_id, posted.run_id):
            return reply(answer | await reading(_read_answer, self.user, posted.run_id))
        return reply(answer, 202)


def _with_key_of_header(request: HttpRequest, body: NewMessage) -> NewMessage:
    header = request.headers.get("Idempotency-Key")
    if header is None:
        return body
    if body.key is not None and body.key != header:
        raise InvalidInput("key and Idempotency-Key differ.", fields={"key": "differs from Idempotency-Key"})
    return read_body(NewMessage, {**body.model_dump(exclude_unset=True), "key": clean_text(header)})


async def _over_within(seconds: float, user: User, session_id: UUID, run_id: UUID) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await until_over(user, session_id, run_id)
    except TimeoutError:
        return False
    except (Unavailable, DatabaseError) as problem:
        # The message is in: an error here would make its author send it again.
        log.warning("waiting for a run failed: %s", type(problem).__name__)
        return False
    return True


def _read_answer(user: User, run_id: UUID) -> dict[str, Any]:
    """A run and, where it succeeded, what it said. Raises `NotFound`."""
    with read_snapshot():
        run = Run.objects.visible_to(user).filter(pk=run_id).first()
        if run is None:
            raise NotFound
        said = None
        if run.status == Run.Status.SUCCEEDED and run.answer_id is not None:
            said = Message.objects.filter(pk=run.answer_id).first()
    return {"run": run.as_data(), "reply": said and said.as_data(show_key=False)}


def _list(request: HttpRequest, user: User, session_id: UUID, query: PageQuery) -> dict[str, Any]:
    members.membership(user, session_id)
    rows = Message.objects.filter(session_id=session_id)
    return page(request, query, rows, ("-seq",), lambda row: row.as_data(show_key=row.user_id == user.pk))
