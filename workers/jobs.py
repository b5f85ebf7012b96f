"""Background work on sessions: what makes the next answer better, and may be late."""

import logging
from functools import partial
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet

from chat.actions import summaries, titles
from chat.database import reading, writing
from chat.errors import NotFound
from chat.models import Message, Run
from chat.prepared import Given, Prepared
from workers.bill import Bill
from workers.context import SUMMARY, start_of, to_summarise, tokens_for
from workers.llm.base import LLMError
from workers.llm.chain import Chain
from workers.modes.summary import summarise
from workers.modes.title import find_title
from workers.runner import llm_named

log = logging.getLogger(__name__)

_at_work: set[UUID] = set()


async def summarise_session(session_id: str, run_id: str | None = None) -> None:
    """Fold the oldest talk of a session into its rolling summary, for the run that found that it was time."""
    one = UUID(session_id)
    if one in _at_work:
        return
    _at_work.add(one)
    try:
        while await _sum_up(one, run_id):
            pass
    except NotFound:
        log.info("session %s was deleted before it had a summary", session_id)
    finally:
        _at_work.discard(one)


async def _sum_up(session_id: UUID, run_id: str | None) -> bool:
    """Fold as much into the summary as its LLM reads at once. Whether there is more."""
    run = await reading(_answered, session_id, run_id)
    if run is None:
        return False
    session, bill, summary = run.session, Bill(), ""
    past = await reading(to_summarise, session, run.agent)
    if not past.said:
        return False
    llm = session.agent.llm or settings.CHAT_LLM
    before = start_of(session.summary, int(tokens_for(session.agent) * SUMMARY))
    try:
        summary = await summarise(Chain([llm], llm_named, on_call=bill.add), before, past.said)
    except LLMError as problem:
        log.warning("no summary of %s: %s", session_id, problem.code)  # the next answer asks again
    store = partial(summaries.store_summary, payer=run)
    spent = await bill.lines(llm)
    stored = await writing(store, session_id, session.summary_seq, summary, past.up_to, *spent)
    return stored and past.has_more


def _answered(session_id: UUID, run_id: str | None) -> Run | None:
    """The run that asked for a summary; the last one where a process of an older version rang, which named none."""
    if run_id is not None:
        return _THAT_ASKED.first(session_id=session_id, run_id=UUID(run_id))
    return _LAST_ANSWERED.first(session_id=session_id)


def _of_a_session() -> "QuerySet[Run]":
    return Run.objects.select_related("agent", "session__agent").filter(session_id=Given("session_id"))


_THAT_ASKED = Prepared(lambda: _of_a_session().filter(pk=Given("run_id")))
_LAST_ANSWERED = Prepared(lambda: _of_a_session().filter(status=Run.Status.SUCCEEDED).order_by("-position")[:1])


async def title_session(run_id: str) -> None:
    """Name the session of a run that was answered, where nobody has named it."""
    found = await reading(_untitled, UUID(run_id))
    if found is None or found[0].session_id in _at_work:
        return
    run, answer = found
    _at_work.add(run.session_id)
    try:
        bill, title = Bill(), ""
        llm = settings.CHAT_TITLE_LLM or run.agent.llm or settings.CHAT_LLM
        try:
            title = await find_title(Chain([llm], llm_named, on_call=bill.add), run.message.content, answer)
        except LLMError as problem:
            log.warning("no title for %s: %s", run.session_id, problem.code)  # the next answer asks again
        await writing(titles.store_title, run, title, *await bill.lines(llm))
    except NotFound:
        log.info("session %s was deleted before it had a name", run.session_id)
    finally:
        _at_work.discard(run.session_id)


def _untitled(run_id: UUID) -> tuple[Run, str] | None:
    """A run whose session has no name, and its answer."""
    runs = Run.objects.select_related("agent", "message").filter(pk=run_id, session__is_titled=False)
    run = runs.first()
    if run is None or run.answer_id is None:
        return None
    answer = Message.objects.filter(pk=run.answer_id).values_list("content", flat=True).first()
    return run, answer or ""
