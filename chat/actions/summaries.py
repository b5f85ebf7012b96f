"""The rolling summary of a session's older talk. Nobody sees it, so it makes no event."""

from uuid import UUID

from chat.actions.events import action, locked
from chat.actions.usage import Spending, keep_beside
from chat.models import ChatSession, Run


@action
def store_summary(
    session_id: UUID, since: int, summary: str, up_to: int, *spent: Spending, payer: Run | None = None
) -> bool:
    """Replace the summary that ended at `since` by one that ends at `up_to`. False where there is none, or a newer one.

    The run `payer` is billed for it, whatever came of it. Raises `NotFound`.
    """
    with locked(session_id):
        if payer is not None:
            keep_beside(payer, spent)
        if not summary:
            return False
        found = ChatSession.objects.filter(pk=session_id, summary_seq=since)
        return bool(found.update(summary=summary, summary_seq=up_to))
