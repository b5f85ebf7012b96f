"""Messages that join a run which is open: read by it at its next step, or else by a run of their own."""

from collections.abc import Sequence

from django.conf import settings
from django.db.models import Q

from chat.actions.events import Log, action
from chat.actions.fence import hold, locked_for
from chat.errors import TooManyWaiting
from chat.failpoints import failpoint
from chat.models import Message, Run
from chat.prepared import Given, Prepared

# Asked for the whole session: only under the lock is it known which run an end or a claim is about.
UNREAD = Prepared(lambda: Message.objects.unread().filter(session_id=Given("session_id")).order_by("seq"))
_OF_STEP = Prepared(
    lambda: (
        Message.objects.filter(run_id=Given("run_id"), joined=True)
        .filter(Q(read_step=None) | Q(read_step=Given("step")))
        .order_by("seq")
    )
)


def join(log: Log, message: Message, run: Run) -> None:
    """Let an open run read a message that is about to be stored. Raises `TooManyWaiting`."""
    limit = settings.CHAT_WAITING_PER_SESSION
    if limit and len(UNREAD.rows(session_id=log.session_id)) >= limit:
        raise TooManyWaiting
    message.run_id, message.position, message.joined = run.pk, run.position, True


def tell_read(log: Log, messages: Sequence[Message], step: int) -> None:
    """Say that a run has read what joined it."""
    for message in messages:
        message.read_step, message.updated_at = step, log.now
    Message.objects.filter(pk__in=[message.pk for message in messages]).update(read_step=step, updated_at=log.now)
    _tell(log, messages)


def read_joined(run: Run, step: int) -> list[Message]:
    """What has joined a running run since its last step; it counts as read by this one. Raises `Fenced`.

    Asked again, because the reply to COMMIT was lost or the worker died, it gives the same, and what came since.
    """
    return _read_joined(run, step) if _OF_STEP.rows(run_id=run.pk, step=step) else []


@action
def _read_joined(run: Run, step: int) -> list[Message]:
    found = _OF_STEP.ask(run_id=run.pk, step=step)
    with locked_for(run, found) as log:
        hold(run, {"attempt": run.attempt})  # changes nothing: it is the fence
        if unread := [message for message in found.rows if message.read_step is None]:
            tell_read(log, unread, step)
    failpoint("joined.committed")
    return found.rows


def carry_on(log: Log, ended: Run, unread: Sequence[Message]) -> Run | None:
    """Give what joined a run, and was not read before it ended, a run of its own: one for all of it."""
    messages = [message for message in unread if message.run_id == ended.pk]
    if not messages:
        return None
    question = messages[0]
    run = Run(
        session_id=ended.session_id,
        message=question,
        user_id=question.user_id or ended.user_id,
        agent_id=ended.agent_id,
        llm=ended.first_llm,
        chosen_llm=ended.first_llm,
        queued_at=log.now,
    )
    for message in messages:
        # Keep what its sender was told, so that a repeated send gets the same answer.
        message.data = {"sent_to": str(ended.pk), **message.data}
        message.run_id, message.joined, message.updated_at = run.pk, message is not question, log.now
    _tell(log, messages)
    run.position = log.next_seq
    run.save(force_insert=True)
    for message in messages:
        message.position = run.position
    Message.objects.bulk_update(messages, ["run_id", "position", "joined", "data", "updated_at"])
    log.append_event("run.queued", run.as_data(), run_id=run.pk)
    return run


def _tell(log: Log, messages: Sequence[Message]) -> None:
    for message in messages:
        log.append_event("message.updated", message.as_data(), run_id=message.run_id, author_id=message.user_id)
