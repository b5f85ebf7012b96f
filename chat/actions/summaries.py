"""The rolling summary of a session's older talk. Nobody sees it, so it makes no event."""

from uuid import UUID

from chat.models import ChatSession


def store_summary(session_id: UUID, since: int, summary: str, up_to: int) -> bool:
    """Replace the summary that ended at `since` by one that ends at `up_to`. False where another was faster."""
    found = ChatSession.objects.filter(pk=session_id, summary_seq=since)
    return bool(found.update(summary=summary, summary_seq=up_to))
