"""A session's name, where nobody gave it one: found once, after its first answer."""

from chat.actions.events import action, locked
from chat.actions.usage import BESIDE, Spending, bill
from chat.models import Run
from chat.prepared import insert, together


@action
def store_title(run: Run, title: str, *spent: Spending) -> bool:
    """Name the session of a run and account for what that cost. False where a person was faster, with whatever name.

    Raises `NotFound`.
    """
    rows = bill(run, [one for one in spent if one.input_tokens or one.output_tokens])
    for row in rows:
        row.attempt = BESIDE
    with locked(run.session_id) as log:
        if rows:
            together(insert(*rows, ignore_conflicts=True))
        if log.session.is_titled or not title:
            return False
        log.change_session(title=title, is_titled=True)
    return True
