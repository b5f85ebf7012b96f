"""What becomes of a question to people: it is answered, by whoever is first, or it expires."""

from typing import Any
from uuid import UUID

from django.db.models import Q
from django.db.models.functions import Now

from chat.actions.endings import Following, say
from chat.actions.events import Log, action, locked
from chat.actions.members import locked_by, writer
from chat.actions.questions import args_hash
from chat.database import reading, writing
from chat.errors import AlreadyResolved, ChatError, Expired, InvalidInput, NotFound
from chat.failpoints import failpoint
from chat.models import Interrupt, Message, Run, User
from chat.prepared import together
from chat.protocol.commands import Answer, Approved, Chosen, Refused, Told

Status = Interrupt.Status
Reason = Interrupt.Reason

EXPIRED_AT_ONCE = 100  # runs, in one look of a sweep

_KINDS: dict[str, tuple[type[Any], ...]] = {
    Reason.APPROVAL: (Approved, Refused),
    Reason.QUESTION: (Told,),
    Reason.CHOICE: (Chosen,),
}
_WANTED = {
    Reason.APPROVAL: "an approval is answered by {approved: true or false}",
    Reason.QUESTION: "a question is answered by {text}",
    Reason.CHOICE: "a choice is answered by {choice}",
}


# --- answering --------------------------------------------------------------------------------------------------------
async def resolve_interrupt(user: User, interrupt_id: UUID, answer: Answer) -> Interrupt:
    """Answer a question: the first answer counts, whoever gives it and wherever.

    The run goes on when its last open question is settled. The answer is checked where a slow schema holds up nobody
    who writes. Raises `NotFound`, `NotAllowed`, `InvalidInput`, `AlreadyResolved`, `Expired`.
    """
    seen = await reading(_see, user, interrupt_id, answer)
    return await writing(_resolve, user, *seen)


def resolve_as_operator(user: User, interrupt_id: UUID, answer: Answer) -> Interrupt:
    """`resolve_interrupt` for somebody whom the admin has let in, of any question. In a database thread."""
    return _resolve(user, *_see(user, interrupt_id, answer, by_operator=True), by_operator=True)


def _see(
    user: User, interrupt_id: UUID, answer: Answer, *, by_operator: bool = False
) -> tuple[Interrupt, dict[str, Any]]:
    """A question, and what an answer makes of it: as columns."""
    found = Interrupt.objects if by_operator else Interrupt.objects.visible_to(user)
    asked = found.filter(pk=interrupt_id).first()
    if asked is None:
        raise NotFound
    if not by_operator:
        writer(user, asked.session_id)
    if asked.status != Status.OPEN:
        raise _settled(asked)
    changes = _read(asked, answer)  # what was asked never changes, so this need not hold up the session
    failpoint("resolve.read")
    return asked, changes


def _read(asked: Interrupt, answer: Answer) -> dict[str, Any]:
    """What an answer makes of a question: as columns. Raises `InvalidInput`."""
    from chat.fits import misfits  # here: to load its library costs each process 60 ms and 3 MB, and few are answered

    if not isinstance(answer, _KINDS[asked.reason]):
        raise InvalidInput(fields={"answer": _WANTED[Reason(asked.reason)]})
    given = {name: value for name, value in answer.model_dump().items() if value is not None}
    changes: dict[str, Any] = {"answer": given}
    wrong: dict[str, str] = {}
    if isinstance(answer, Approved):
        if "args" in given:
            if (schema := asked.payload.get("args_schema")) is None:
                wrong = {"answer.args": "cannot be edited"}
            else:
                wrong = misfits(given["args"], schema, "answer.args")
            changes["args_hash"] = args_hash(asked.payload["tool"], given["args"])
    elif isinstance(answer, Chosen) and answer.choice not in asked.payload["choices"]:
        wrong = {"answer.choice": "is not offered"}
    if not wrong and asked.answer_schema:
        wrong = misfits(given, asked.answer_schema, "answer")
    if wrong:
        raise InvalidInput("The answer does not fit the question: " + ", ".join(wrong) + ".", fields=wrong)
    return changes


@action
def _resolve(user: User, asked: Interrupt, changes: dict[str, Any], *, by_operator: bool = False) -> Interrupt:
    with locked_by(user, asked.session_id, by_operator=by_operator) as log:
        in_time = Q(expires_at=None) | Q(expires_at__gt=log.now)
        claim = Interrupt.objects.open().filter(in_time, pk=asked.pk)
        changed = claim.update(status=Status.RESOLVED, resolved_by=user, resolved_at=log.now, **changes)
        now = Interrupt.objects.filter(pk=asked.pk).first()
        if now is None:
            raise NotFound
        if not changed:
            raise _settled(now)
        log.append_event("interrupt.resolved", now.as_data(), run_id=now.run_id)
        _go_on(log, now.run_id)
    failpoint("resolve.committed")
    return now


def _settled(asked: Interrupt) -> ChatError:
    """Why a question takes no answer: an open one does not because its time is over, and no sweep has come by yet."""
    if asked.status in {Status.OPEN, Status.EXPIRED}:
        return Expired("Nobody answered this in time.")
    if asked.status == Status.WITHDRAWN:
        return AlreadyResolved("This is no longer asked.")
    return AlreadyResolved()


def _go_on(log: Log, run_id: UUID) -> None:
    """Queue a run again when nothing that it asked is open any more: counted under the lock of its session."""
    if Interrupt.objects.open().filter(run_id=run_id).exists():
        return
    run = Run.objects.select_related("agent").get(pk=run_id)
    following = Following.after(run)
    # The next attempt begins here, as where a run is put back. Its wait begins here too: a person's thinking is none of
    # the queue's. Its place in the session is what it was.
    columns: dict[str, Any] = {"status": Run.Status.QUEUED, "attempt": run.attempt + 1, "queued_at": log.now}
    waiting = Run.objects.filter(pk=run_id, status=Run.Status.INTERRUPTED, attempt=run.attempt)
    if waiting.update(**columns) != 1:
        return
    together(*following.asked)
    for name, value in columns.items():
        setattr(run, name, value)
    following.ring(log)
    log.append_event("run.queued", run.as_data(), run_id=run_id)


# --- nobody answers ---------------------------------------------------------------------------------------------------
def expire_interrupts() -> int:
    """Settle questions whose time is over, as refused. Returns of how many runs: any number of sweeps may look."""
    late = Interrupt.objects.open().filter(expires_at__lte=Now())
    runs = dict(late.order_by("expires_at").values_list("run_id", "session_id")[:EXPIRED_AT_ONCE])
    return sum(_expire(session_id, run_id) for run_id, session_id in runs.items())


def _expire(session_id: UUID, run_id: UUID) -> bool:
    try:
        return _expire_of(session_id, run_id)
    except NotFound:
        return False  # the session was deleted meanwhile


@action
def _expire_of(session_id: UUID, run_id: UUID) -> bool:
    with locked(session_id) as log:
        late = list(Interrupt.objects.open().filter(run_id=run_id, expires_at__lte=log.now).in_order())
        if not late:
            return False
        for row in late:
            row.status, row.resolved_at = Status.EXPIRED, log.now
            row.save(update_fields=["status", "resolved_at"])
            log.append_event("interrupt.resolved", row.as_data(), run_id=run_id)
        _tell_expired(log, late)
        _go_on(log, run_id)
        failpoint("expire.commit")
    return True


def _tell_expired(log: Log, late: list[Interrupt]) -> None:
    """Say that it was not answered, and what to send to be asked again.

    That is the message which the run answers: to say it again needs no rule and no command of its own, over any door,
    however much later, and whatever has become of the run by then.
    """
    run = Run.objects.select_related("agent", "message").get(pk=late[0].run_id)
    content = "\n".join(["Nobody answered in time, so it counts as refused:", *(row.prompt for row in late)])
    again = {"content": run.message.content, "agent": run.agent_id}
    data = {"interrupt_ids": [str(row.pk) for row in late], "ask_again": again}
    say(log, run, role=Message.Role.SYSTEM, kind="notice", content=content, data=data)
