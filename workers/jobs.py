"""Background work on sessions: what makes the next answer better, and may be late."""

import asyncio
import logging
from uuid import UUID

from django.conf import settings

from chat.actions import summaries, titles
from chat.database import reading, writing
from chat.errors import NotFound
from chat.models import ChatSession, Message, Run
from workers.bill import Bill
from workers.context import to_summarise
from workers.llm.base import LLMError
from workers.llm.chain import Chain
from workers.modes.summary import summarise
from workers.modes.title import find_title
from workers.runner import llm_named

log = logging.getLogger(__name__)

_at_work: set[UUID] = set()


async def summarise_session(session_id: str) -> None:
    """Fold the oldest talk of a session into its rolling summary."""
    one = UUID(session_id)
    if one in _at_work:
        return
    _at_work.add(one)
    try:
        session = await reading(ChatSession.objects.select_related("agent").filter(pk=one).first)
        if session is None:
            return
        said, up_to = await reading(to_summarise, session)
        if not said:
            return
        llm = await asyncio.to_thread(llm_named, session.agent.llm or settings.CHAT_LLM)
        summary = await summarise(llm, session.summary, said)
        await writing(summaries.store_summary, one, session.summary_seq, summary, up_to)
    except LLMError as problem:
        log.warning("no summary of %s: %s", session_id, problem.code)  # the next answer asks again
    finally:
        _at_work.discard(one)


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
