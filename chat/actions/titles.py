"""A session's name, where nobody gave it one: found once, after its first answer."""

from chat.actions.events import action, locked
from chat.actions.usage import Spending, keep_beside
from chat.models import Run


@action
def store_title(run: Run, title: str, *spent: Spending) -> bool:
    """Name the session of a run and account for what that cost. False where a person was faster, with whatever name.

    Raises `NotFound`.
    """
    with locked(run.session_id) as log:
        keep_beside(run, spent)
        if log.session.is_titled or not title:
            return False
        log.change_session(title=title, is_titled=True)
    return True
