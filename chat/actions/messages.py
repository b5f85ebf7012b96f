"""What people say, and the run that each message starts, joins or replaces."""

from typing import NamedTuple
from uuid import UUID, uuid4

from django.db.models import Q

from chat import jobs, limits, tracing
from chat.actions import joined, runs
from chat.actions.endings import OPEN_RUNS, Following
from chat.actions.events import Log, action, on_commit
from chat.actions.members import locked_by, membership, writer
from chat.actions.sessions import agent_asked, agent_mentioned, agent_of
from chat.database import reading, writing_briefly
from chat.errors import Busy, Conflict, InvalidInput, NotAllowed, NotFound, RateLimited, SessionClosed
from chat.failpoints import failpoint
from chat.models import ChatSession, Message, Run, User
from chat.prepared import Asked, Given, Prepared
from chat.protocol.commands import NewMessage
from chat.protocol.shapes import PostedData

OnBusy = ChatSession.OnBusy


class Posted(NamedTuple):
    message_id: UUID
    run_id: UUID
    duplicate: bool
    joined: bool = False  # a run that was open already

    def as_data(self) -> PostedData:
        return {"message_id": str(self.message_id), "run_id": str(self.run_id), "duplicate": self.duplicate}


class Shown(NamedTuple):
    """A run that a message is to stop, and what it had shown when it was looked at."""

    run: Run
    texts: dict[str, str]


async def post_message(user: User, session_id: UUID, new: NewMessage) -> Posted:
    """Say something, and queue the run that answers it, or do with the open one what `on_busy` says.

    A key that is known is answered with the first ids, and spends nothing in the end. Raises `NotFound`, `NotAllowed`,
    `Conflict` (the key with another content), `RateLimited`, `SessionClosed`, `Busy`, `TooManyWaiting`, `InvalidInput`.
    """
    try:
        spent = await limits.spend_message(user.pk, session_id, uuid4().hex)
    except RateLimited:
        if known := await reading(_answered_before, user, session_id, new):
            return known
        raise
    try:
        done = await writing_briefly(_post, user, session_id, new, None)
        while isinstance(done, Run):
            shown = Shown(done, await reading(runs.shown_by, done))
            done = await writing_briefly(_post, user, session_id, new, shown)
    except Exception:  # but not where its socket is gone: then it may be said all the same
        await limits.giving_back(spent)
        raise
    if done.duplicate:
        await limits.giving_back(spent)
    return done


def _answered_before(user: User, session_id: UUID, new: NewMessage) -> Posted | None:
    """What a repeat is answered, which needs no limit. Raises `NotFound`, `NotAllowed`, `Conflict`."""
    same_key = _with_key(user, session_id, new)
    writer(user, session_id, same_key)
    return _known(same_key, new)


_WITH_KEY = Prepared(
    lambda: Message.objects.filter(session_id=Given("session_id"), user_id=Given("user_id"), key=Given("key"))
)


def _with_key(user: User, session_id: UUID, new: NewMessage) -> Asked[Message]:
    return _WITH_KEY.ask(session_id=session_id, user_id=user.pk, key=new.key)


def _known(same_key: Asked[Message], new: NewMessage) -> Posted | None:
    message = same_key.first
    if message is None:
        return None
    if message.data.get("sent_as", message.content) != new.content:
        raise Conflict("This key was used for another message.", fields={"key": "already used"})
    run_id = message.data.get("sent_to") or message.run_id
    assert run_id is not None
    return Posted(message.pk, UUID(str(run_id)), duplicate=True)


@tracing.spanned("post_message")
@action
def _post(user: User, session_id: UUID, new: NewMessage, shown: Shown | None) -> Posted | Run:
    """Say it. Gives a run instead where that one is to be stopped, and what it shows has to be taken before."""
    named = new.agent or agent_mentioned(user, new.content)
    same_key = _with_key(user, session_id, new)
    open_runs = OPEN_RUNS.ask(session_id=session_id)
    agents = agent_asked(session_id, named)
    with locked_by(user, session_id, same_key, open_runs, agents) as log:
        session = log.session
        if posted := _known(same_key, new):
            return posted
        if session.status == ChatSession.Status.CLOSED:
            raise SessionClosed
        agent = agent_of(agents, user if named else None)
        runs.check_llm(new.llm, agent)
        if new.parent_id and not session.messages.shown().filter(pk=new.parent_id).exists():
            raise InvalidInput("There is no such message to answer.", fields={"parent_id": "unknown"})

        way = (new.on_busy or session.on_busy) if open_runs.rows else OnBusy.QUEUE
        present = None  # the run that is answering, or is next to
        if way == OnBusy.REJECT:
            raise Busy
        if way != OnBusy.QUEUE:
            present = runs.NOW.first(pk=open_runs.rows[0][0])
            assert present is not None
        if way == OnBusy.JOIN and present is not None and _is_meant_for(present, named, new.llm):
            message = _said(log, user, new)
            joined.join(log, message, present)
            _tell(log, message)
            log.add_row(message)
            failpoint("steer.joined")
            return Posted(message.pk, present.pk, duplicate=False, joined=True)
        following = None
        if way in {OnBusy.INTERRUPT, OnBusy.ROLLBACK} and present is not None:
            if way == OnBusy.INTERRUPT and present.drafts and not _is_still(present, shown):
                return present
            texts = shown.texts if shown is not None else {}
            following = _stop(log, present, user, texts if way == OnBusy.INTERRUPT else None)
        else:
            present = None
            runs.refuse_to_wait([status for _, status in open_runs.rows])

        message = _said(log, user, new)
        run = Run(session=session, message=message, user=user, agent=agent, queued_at=log.now)
        run.llm = run.chosen_llm = new.llm or ""
        message.run_id = run.pk
        _tell(log, message)
        if present is None and session.status != ChatSession.Status.INTERRUPTED:
            log.set_status(ChatSession.Status.ACTIVE)
        run.position = message.position = log.next_seq if present is None else present.position
        log.add_row(message)
        log.add_row(run)
        log.append_event("run.queued", run.as_data(), run_id=run.pk)
        if following is not None:
            following.ring(log, instead=run)
        elif not open_runs.rows:  # else whatever ends before it rings for it
            on_commit(lambda: _ring(run))
    return Posted(message.pk, run.pk, duplicate=False)


def _said(log: Log, user: User, new: NewMessage) -> Message:
    return Message(
        session=log.session,
        seq=log.next_seq,
        parent_id=new.parent_id,
        user=user,
        key=new.key,
        role=Message.Role.USER,
        author=user.as_author(),
        content=new.content,
        data={"context": new.context} if new.context else {},
        created_at=log.now,
        updated_at=log.now,
    )


def _tell(log: Log, message: Message) -> None:
    log.append_event("message.created", message.as_data(), run_id=message.run_id, author_id=message.user_id)
    log.touch()


def _is_meant_for(run: Run, agent: str | None, llm: str | None) -> bool:
    """Whether a run can read a message: one that asks for another agent or LLM is not answered by this one."""
    return agent in {None, run.agent_id} and llm in {None, run.first_llm}


def _is_still(run: Run, shown: Shown | None) -> bool:
    """Whether a run still shows what was taken of it."""
    return shown is not None and (shown.run.pk, shown.run.drafts) == (run.pk, run.drafts)


def _stop(log: Log, run: Run, user: User, texts: dict[str, str] | None) -> Following:
    """Stop a run for a message that takes its place; without the texts of its drafts, take back what it was about."""
    drafts = run.drafts
    following = runs.stop(log, run, texts)
    runs.tell_stopped(log, run, [*_taken_back(log, run, user), *drafts] if texts is None else ())
    failpoint("steer.stopped")
    return following


def _taken_back(log: Log, run: Run, user: User) -> list[str]:
    """Remove what a run said, and what it was asked by the one who takes it back: nobody removes others' words."""
    of_run = Message.objects.shown().filter(Q(run=run) | Q(pk=run.message_id), session_id=log.session_id)
    own = Q(user=user) & (Q(pk=run.message_id) | Q(joined=True, read_step__isnull=False))
    found = of_run.filter(~Q(role=Message.Role.USER) | own)
    ids = list(found.order_by("seq").values_list("pk", flat=True))
    Message.objects.filter(pk__in=ids).update(deleted_at=log.now, updated_at=log.now)
    return [str(pk) for pk in ids]


def _ring(run: Run) -> None:
    failpoint("commit.ring")
    jobs.run_agent(run.pk, run.session_id)


@action
def update_message(user: User, message_id: UUID, content: str) -> Message:
    """Change what one said while its run still waits. Raises `NotFound`, `NotAllowed`, `Conflict`."""
    found = Message.objects.filter(pk=message_id).values_list("session_id", "user_id").first()
    if found is None:
        raise NotFound
    session_id, user_id = found
    member = membership(user, session_id)
    if user_id != user.pk or not member.may_write:
        raise NotAllowed("Only its author may change a message.")
    with locked_by(user, session_id) as log:
        message = Message.objects.shown().select_related("run").filter(pk=message_id).first()
        if message is None:
            raise NotFound
        if not _still_waits(message):
            raise Conflict("Its answer has begun: it can no longer be changed.")
        if message.content != content:
            # What the key was first used with, so that a repeated send is still known as the same.
            message.data = {**message.data, "sent_as": message.data.get("sent_as", message.content)}
            message.content, message.updated_at = content, log.now
            message.save(update_fields=["content", "data", "updated_at"])
            log.append_event("message.updated", message.as_data(), run_id=message.run_id, author_id=user.pk)
    return message


def _still_waits(message: Message) -> bool:
    if message.joined:
        return message.read_step is None
    return message.run is not None and message.run.status == Run.Status.QUEUED and not message.run.attempt
