"""Messages that join a run which is open: read by it at its next step, or else by a run of their own."""

from collections.abc import Sequence

from django.conf import settings

from chat.actions.events import Log, action, locked
from chat.errors import Fenced, NotFound, TooManyWaiting
from chat.models import Message, Run
from chat.prepared import Given, Prepared

# Of a whole session: an end, or a claim, knows only under the lock which run it is about.
UNREAD = Prepared(lambda: Message.objects.unread().filter(session_id=Given("session_id")).order_by("seq"))


def join(log: Log, message: Message, run: Run) -> None:
    """Let an open run read a message that is about to be stored. Raises `TooManyWaiting`."""
    limit = settings.CHAT_WAITING_PER_SESSION
    if limit and len(UNREAD.rows(session_id=log.session_id)) >= limit:
        raise TooManyWaiting
    message.run_id, message.joined = run.pk, True


def tell_read(log: Log, messages: Sequence[Message], step: int) -> None:
    """Say that a run has read what joined it."""
    for message in messages:
        message.read_step, message.updated_at = step, log.now
    Message.objects.filter(pk__in=[message.pk for message in messages]).update(read_step=step, updated_at=log.now)
    _tell(log, messages)


def read_joined(run: Run, step: int) -> list[Message]:
    """What has joined a running run since its last step; it counts as read by this one. Raises `Fenced`."""
    if not any(message.run_id == run.pk for message in UNREAD.rows(session_id=run.session_id)):
        return []
    try:
        return _read_joined(run, step)
    except NotFound:
        raise Fenced from None


@action
def _read_joined(run: Run, step: int) -> list[Message]:
    assert run.worker_id is not None
    unread = UNREAD.ask(session_id=run.session_id)
    with locked(run.session_id, unread) as log:
        held = Run.objects.held_by(run.worker_id, run.attempt).filter(pk=run.pk)
        if held.update(attempt=run.attempt) != 1:  # changes nothing: it is the fence
            raise Fenced
        found = [message for message in unread.rows if message.run_id == run.pk]
        if found:
            tell_read(log, found, step)
    return found


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
        llm=ended.llm,
        queued_at=log.now,
    )
    for message in messages:
        # What its sender was answered, so that a repeated send is answered the same.
        message.data = {"sent_to": str(ended.pk), **message.data}
        message.run_id, message.joined, message.updated_at = run.pk, message is not question, log.now
    _tell(log, messages)
    run.position = log.next_seq
    run.save(force_insert=True)
    Message.objects.bulk_update(messages, ["run_id", "joined", "data", "updated_at"])
    log.append_event("run.queued", run.as_data(), run_id=run.pk)
    return run


def _tell(log: Log, messages: Sequence[Message]) -> None:
    for message in messages:
        log.append_event("message.updated", message.as_data(), run_id=message.run_id, author_id=message.user_id)
