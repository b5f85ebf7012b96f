"""What is said in a session, and saying something."""

import asyncio
import logging
import time
from typing import Annotated
from uuid import UUID

from django.db import Error as AnyDatabaseError
from django.http import HttpRequest
from pydantic import Field

from chat import auth, metrics
from chat.actions import members, messages
from chat.api.answers import Accepted, Answer, raises
from chat.api.doors import Door, Headers, Query
from chat.api.pages import PageQuery, page
from chat.api.waiting import Wait, held, until_over
from chat.database import read_snapshot, reading, writing
from chat.errors import (
    Busy,
    Conflict,
    InvalidInput,
    NotAuthenticated,
    NotFound,
    RateLimited,
    SessionClosed,
    TooManyConnections,
    TooManyWaiting,
    Unavailable,
)
from chat.models import Message, Run, User
from chat.protocol import MessageData, RunData, read_body
from chat.protocol.commands import Key, MessageChange, NewMessage
from chat.protocol.shapes import AnsweredData, PageData, PostedData

log = logging.getLogger(__name__)


class PostQuery(Query):
    wait: Wait | None = None


class PostHeaders(Headers):
    idempotency_key: Annotated[Key | None, Field(alias="Idempotency-Key")] = None


class Messages(Door):
    async def get(self, session_id: UUID, query: PageQuery) -> Answer[PageData[MessageData]]:
        """List what was said, the newest first."""
        return Answer(await reading(_list, self.request, self.user, session_id, query))

    @raises(Busy, Conflict, SessionClosed, RateLimited, TooManyWaiting)
    async def post(
        self, session_id: UUID, query: PostQuery, headers: PostHeaders, body: NewMessage
    ) -> Answer[AnsweredData] | Accepted[PostedData]:
        """Say something, and wait for the answer if asked to: 202 where it is not there in time, or no room to wait."""
        asked_at = time.monotonic()
        body = _with_key_of_header(headers.idempotency_key, body)
        posted = await messages.post_message(self.user, session_id, body)
        if not (posted.duplicate or posted.joined):
            metrics.display.start(posted.run_id, asked_at)
        if query.wait:
            found = await _answer_within(query.wait, self.user, session_id, posted)
            if not await reading(auth.is_still_good, self.credential):
                raise NotAuthenticated
            if found is not None:
                return Answer({**posted.as_data(), "run": found[0], "reply": found[1]})
        return Accepted(posted.as_data())


class OneMessage(Door):
    async def get(self, message_id: UUID) -> Answer[MessageData]:
        """Show a message."""
        return Answer(await reading(_show, self.user, message_id))

    @raises(Conflict)
    async def patch(self, message_id: UUID, body: MessageChange) -> Answer[MessageData]:
        """Change what one said, while its answer has not begun."""
        message = await writing(messages.update_message, self.user, message_id, body.content)
        return Answer(message.as_data())


def _with_key_of_header(key: str | None, body: NewMessage) -> NewMessage:
    if key is None:
        return body
    if body.key is not None and body.key != key:
        raise InvalidInput("key and Idempotency-Key differ.", fields={"key": "differs from Idempotency-Key"})
    return read_body(NewMessage, {**body.model_dump(exclude_unset=True), "key": key})


Found = tuple[RunData, MessageData | None]


async def _answer_within(seconds: float, user: User, session_id: UUID, posted: messages.Posted) -> Found | None:
    try:
        async with held(user), asyncio.timeout(seconds):
            run_id = await _until_its_run_is_over(user, session_id, posted)
        return await reading(_read_answer, user, run_id)
    except (TimeoutError, TooManyConnections):  # the message is in: what is not to be had is the waiting
        return None
    except (Unavailable, AnyDatabaseError) as problem:
        # An error here would make its author send it again.
        log.warning("waiting for a run failed: %s", type(problem).__name__)
        return None


async def _until_its_run_is_over(user: User, session_id: UUID, posted: messages.Posted) -> UUID:
    """Wait for the run that answers a message: another than its first one, where it joined that and was not read by it.

    It was given the other one in the transaction that ended the first.
    """
    over, its_run = None, posted.run_id
    while over != its_run:
        over = its_run
        await until_over(user, session_id, its_run)
        if posted.joined or posted.duplicate:
            its_run = await reading(_run_of, posted)
    return its_run


def _run_of(posted: messages.Posted) -> UUID:
    return Message.objects.filter(pk=posted.message_id).values_list("run_id", flat=True).first() or posted.run_id


def _read_answer(user: User, run_id: UUID) -> Found | None:
    """A run and, where it succeeded, what it said; None while it is not over. Raises `NotFound`."""
    with read_snapshot():
        run = Run.objects.visible_to(user).filter(pk=run_id).first()
        if run is None:
            raise NotFound
        if run.status in (Run.Status.QUEUED, Run.Status.RUNNING):
            return None
        said = None
        if run.status == Run.Status.SUCCEEDED and run.answer_id is not None:
            said = Message.objects.filter(pk=run.answer_id).first()
    return run.as_data(), None if said is None else said.as_data(show_key=False)


def _show(user: User, message_id: UUID) -> MessageData:
    message = Message.objects.shown().filter(session__members__user=user, pk=message_id).first()
    if message is None:
        raise NotFound
    return message.as_data(show_key=message.user_id == user.pk)


def _list(request: HttpRequest, user: User, session_id: UUID, query: PageQuery) -> PageData[MessageData]:
    members.membership(user, session_id)
    rows = Message.objects.shown().filter(session_id=session_id)
    return page(request, query, rows, ("-seq",), lambda row: row.as_data(show_key=row.user_id == user.pk))
