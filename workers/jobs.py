"""Background work on sessions: what makes the next answer better, and may be late."""

import asyncio
import logging
from uuid import UUID

from django.conf import settings

from chat.actions import summaries
from chat.database import reading, writing
from chat.models import ChatSession
from workers.context import to_summarise
from workers.llm.base import LLMError
from workers.modes.summary import summarise
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
