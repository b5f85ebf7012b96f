"""Answers in progress and past ones: look at them, stop them, ask again, move them in the queue."""

from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse

from chat.actions import members, runs
from chat.api.doors import Door, reply
from chat.api.pages import PageQuery, page
from chat.database import reading, writing
from chat.errors import NotFound
from chat.hub import hubs
from chat.models import Run, User
from chat.protocol.commands import RunMove


class Runs(Door):
    async def get(self, session_id: UUID, query: PageQuery) -> HttpResponse:
        return reply(await reading(_list, self.request, self.user, session_id, query))


class OneRun(Door):
    async def get(self, run_id: UUID) -> HttpResponse:
        return reply(await reading(_show, self.user, run_id))

    async def patch(self, run_id: UUID, body: RunMove) -> HttpResponse:
        outcome = await writing(runs.move_run, self.user, run_id, body.before)
        return reply(outcome.run.as_data())


class Cancel(Door):
    async def post(self, run_id: UUID) -> HttpResponse:
        outcome = await writing(runs.cancel_run, self.user, run_id)
        await hubs.apply(outcome.run.session_id, outcome.frames)  # no socket of this process shows more of it now
        return reply(outcome.as_data())


class Retry(Door):
    async def post(self, run_id: UUID) -> HttpResponse:
        outcome = await writing(runs.retry_run, self.user, run_id)
        return reply(outcome.as_data())


def _show(user: User, run_id: UUID) -> dict[str, Any]:
    run = Run.objects.visible_to(user).filter(pk=run_id).first()
    if run is None:
        raise NotFound
    return dict(run.as_data())


def _list(request: HttpRequest, user: User, session_id: UUID, query: PageQuery) -> dict[str, Any]:
    members.membership(user, session_id)
    return page(request, query, Run.objects.filter(session_id=session_id), ("-position", "-pk"), Run.as_data)
