"""A session's name, where nobody gave it one: found once, after its first answer."""

from chat.actions.attempts import Spending
from chat.actions.events import action, locked
from chat.models import Run, Usage
from chat.prepared import insert, together

BESIDE = 0  # the attempt under which is accounted for what was done beside a run


@action
def store_title(run: Run, title: str, *spent: Spending) -> bool:
    """Name the session of a run and account for what that cost. False where a person was faster, with whatever name.

    Raises `NotFound`.
    """
    bill = [
        Usage(
            run_id=run.pk,
            attempt=BESIDE,
            llm=one.llm,
            input_tokens=one.input_tokens,
            output_tokens=one.output_tokens,
            cost_usd=one.cost_usd,
        )
        for one in spent
        if one.input_tokens or one.output_tokens
    ]
    with locked(run.session_id) as log:
        if bill:
            together(insert(*bill, ignore_conflicts=True))
        if log.session.is_titled or not title:
            return False
        log.change_session(title=title, is_titled=True)
    return True
