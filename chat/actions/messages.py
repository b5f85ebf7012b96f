"""What people say, and the run that each message starts."""

from typing import NamedTuple
from uuid import UUID, uuid4

from django.conf import settings

from chat import jobs, limits, tracing
from chat.actions.events import action, locked, on_commit
from chat.actions.members import membership, writer
from chat.actions.runs import OPEN_RUNS, refuse_to_wait
from chat.actions.sessions import agent_asked, agent_of
from chat.errors import Busy, Conflict, InvalidInput, NotAllowed, NotFound, SessionClosed
from chat.failpoints import failpoint
from chat.models import Agent, ChatSession, Message, Run, User
from chat.prepared import Asked, Given, Prepared
from chat.protocol.commands import NewMessage
from chat.protocol.shapes import PostedData


class Posted(NamedTuple):
    message_id: UUID
    run_id: UUID
    duplicate: bool

    def as_data(self) -> PostedData:
        return {"message_id": str(self.message_id), "run_id": str(self.run_id), "duplicate": self.duplicate}


@tracing.spanned("post_message")
def post_message(user: User, session_id: UUID, new: NewMessage) -> Posted:
    """Say something, and queue the run that answers it.

    A key that is known is answered with the first ids, before anything is spent. Raises `NotFound`, `NotAllowed`,
    `Conflict` (the key with another content), `RateLimited`, `SessionClosed`, `Busy`, `TooManyWaiting`, `InvalidInput`.
    """
    same_key = _with_key(user, session_id, new)
    writer(user, session_id, same_key)
    if posted := _known(same_key, new):
        return posted
    spent = limits.spend_message(user.pk, session_id, uuid4().hex)
    try:
        posted = _post(user, session_id, new)
    except BaseException:
        limits.give_back(spent)
        raise
    if posted.duplicate:
        limits.give_back(spent)
    return posted


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
    assert message.run_id is not None
    return Posted(message.pk, message.run_id, duplicate=True)


@action
def _post(user: User, session_id: UUID, new: NewMessage) -> Posted:
    same_key = _with_key(user, session_id, new)
    open_runs = OPEN_RUNS.ask(session_id=session_id)
    agents = agent_asked(session_id, new.agent)
    with locked(session_id, same_key, open_runs, agents) as log:
        session = log.session
        if posted := _known(same_key, new):
            return posted  # the same key came by two ways at once, and the other was faster
        if session.status == ChatSession.Status.CLOSED:
            raise SessionClosed
        if open_runs.rows and new.on_busy == "reject":
            raise Busy
        refuse_to_wait([status for _, status in open_runs.rows])
        agent = agent_of(agents)
        _check_llm(new.llm, agent)
        if new.parent_id and not Message.objects.filter(session_id=session_id, pk=new.parent_id).exists():
            raise InvalidInput("There is no such message to answer.", fields={"parent_id": "unknown"})

        run_id = uuid4()
        message = Message(
            session=session,
            seq=log.next_seq,
            run_id=run_id,
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
        log.add_row(message)
        log.append_event("message.created", message.as_data(), run_id=run_id, author_id=user.pk)
        log.touch()
        if session.status != ChatSession.Status.INTERRUPTED:
            log.set_status(ChatSession.Status.ACTIVE)
        run = Run(
            id=run_id,
            session=session,
            message=message,
            user=user,
            agent=agent,
            llm=new.llm or "",
            position=log.next_seq,
            queued_at=log.now,
        )
        log.add_row(run)
        log.append_event("run.queued", run.as_data(), run_id=run_id)
        if not open_runs.rows:  # else whatever ends before it rings for it
            on_commit(lambda: _ring(run_id))
    return Posted(message.pk, run_id, duplicate=False)


def _ring(run_id: UUID) -> None:
    failpoint("commit.ring")
    jobs.run_agent(run_id)


def _check_llm(name: str | None, agent: Agent) -> None:
    """Only what the operator offers: an LLM costs money, and its name may hold an address."""
    if name is not None and name not in {settings.CHAT_LLM, agent.llm, *settings.CHAT_LLMS}:
        raise InvalidInput("This LLM is not offered here.", fields={"llm": "unknown"})


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
    with locked(session_id) as log:
        message = Message.objects.select_related("run").filter(pk=message_id).first()
        if message is None:
            raise NotFound
        if message.run is None or message.run.status != Run.Status.QUEUED or message.run.attempt:
            raise Conflict("Its answer has begun: it can no longer be changed.")
        if message.content != content:
            # What the key was first used with, so that a repeated send is still known as the same.
            message.data = {**message.data, "sent_as": message.data.get("sent_as", message.content)}
            message.content, message.updated_at = content, log.now
            message.save(update_fields=["content", "data", "updated_at"])
            log.append_event("message.updated", message.as_data(), run_id=message.run_id, author_id=user.pk)
    return message
