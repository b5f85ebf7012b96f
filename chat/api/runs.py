"""Answers in progress and past ones: look at them, stop them, ask again, move them in the queue."""

from uuid import UUID

from django.http import HttpRequest

from chat.actions import members, runs
from chat.api.answers import Answer, raises
from chat.api.doors import Door
from chat.api.pages import PageQuery, page
from chat.database import reading, writing
from chat.errors import Conflict, NotFound, RateLimited, SessionClosed, TooManyWaiting
from chat.hub import hubs
from chat.models import Run, User
from chat.protocol import RunData
from chat.protocol.commands import RunMove
from chat.protocol.shapes import PageData, RunChangeData


class RunsQuery(PageQuery):
    status: Run.Status | None = None


class Runs(Door):
    async def get(self, session_id: UUID, query: RunsQuery) -> Answer[PageData[RunData]]:
        """List a session's answers, past ones and those in progress, the newest first."""
        return Answer(await reading(_list, self.request, self.user, session_id, query))


class OneRun(Door):
    async def get(self, run_id: UUID) -> Answer[RunData]:
        """Show an answer in progress or a past one."""
        return Answer(await reading(_show, self.user, run_id))

    @raises(Conflict)
    async def patch(self, run_id: UUID, body: RunMove) -> Answer[RunData]:
        """Move a waiting run before another one, or to the end."""
        outcome = await writing(runs.move_run, self.user, run_id, body.before)
        return Answer(outcome.run.as_data())


class Cancel(Door):
    @raises(Conflict)
    async def post(self, run_id: UUID) -> Answer[RunChangeData]:
        """Stop a run. Of one that is over its status is told."""
        outcome = await runs.cancel_run(self.user, run_id)
        await hubs.apply(outcome.run.session_id, outcome.frames)  # no socket of this process shows more of it now
        return Answer(outcome.as_data())


class Retry(Door):
    @raises(Conflict, SessionClosed, RateLimited, TooManyWaiting)
    async def post(self, run_id: UUID) -> Answer[RunChangeData]:
        """Ask again for an answer that failed or was cancelled."""
        outcome = await runs.retry_run(self.user, run_id)
        return Answer(outcome.as_data())


def _show(user: User, run_id: UUID) -> RunData:
    run = Run.objects.visible_to(user).filter(pk=run_id).first()
    if run is None:
        raise NotFound
    return run.as_data()


def _list(request: HttpRequest, user: User, session_id: UUID, query: RunsQuery) -> PageData[RunData]:
    members.membership(user, session_id)
    rows = Run.objects.filter(session_id=session_id)
    if query.status:
        rows = rows.filter(status=query.status)
    return page(request, query, rows, ("-position", "-pk"), Run.as_data)
