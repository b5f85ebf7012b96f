"""The life of a session: made, renamed, marked done, closed, reopened, deleted while an answer is on its way."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from chat import stream
from chat.actions import attempts, claims, members, sessions
from chat.errors import Conflict, InvalidInput, NotAllowed, NotFound, SessionClosed
from chat.models import ChatSession, Event, Member, Message, Run, Usage, User
from chat.protocol import Frame
from chat.protocol.commands import NewMember, NewSession, SessionChange
from tests.chat.actions.steering import show
from tests.chat.published import heard
from tests.inside import WAIT_S, Talk, told
from tests.threads import Threads, stopped_at, wait_until_blocked

# --- made -------------------------------------------------------------------------------------------------------------


def test_whoever_makes_a_session_owns_it_and_its_log_begins(ada: User, redis: Any) -> None:
    session = sessions.create_session(ada, NewSession(title="Incident", metadata={"severity": 2}))
    assert (session.status, session.agent_id, session.last_seq) == ("new", "assistant", 1)
    assert Member.objects.get(session=session).role == "owner"
    [event] = Event.objects.filter(session=session)
    assert (event.type, event.seq, event.data["metadata"]) == ("session.created", 1, {"severity": 2})


@pytest.mark.parametrize(
    "new", [NewSession(agent="nobody"), NewSession(parent_id=uuid4()), NewSession(incident_id=uuid4())]
)
def test_a_session_is_not_made_with_what_does_not_exist(ada: User, new: NewSession) -> None:
    with pytest.raises(InvalidInput):
        sessions.create_session(ada, new)
    assert not ChatSession.objects.exists()


def test_another_ones_session_cannot_be_a_parent_any_more_than_one_that_does_not_exist(talk: Talk, eve: User) -> None:
    with pytest.raises(InvalidInput) as hers:
        sessions.create_session(eve, NewSession(parent_id=talk.pk))
    with pytest.raises(InvalidInput) as nobodys:
        sessions.create_session(eve, NewSession(parent_id=uuid4()))
    assert hers.value.as_data() == nobodys.value.as_data()
    assert sessions.create_session(talk.ben, NewSession(parent_id=talk.pk)).parent_id == talk.pk


# --- who may ----------------------------------------------------------------------------------------------------------

CHANGES: dict[str, Callable[[User, Talk], Any]] = {
    "rename": lambda user, talk: sessions.update_session(user, talk.pk, SessionChange(title="Mine")),
    "close": lambda user, talk: sessions.close_session(user, talk.pk),
    "reopen": lambda user, talk: sessions.reopen_session(user, talk.pk),
    "delete": lambda user, talk: sessions.delete_session(user, talk.pk),
}


@pytest.mark.parametrize("name", CHANGES)
def test_eve_finds_no_session_and_a_viewer_may_not_change_it(talk: Talk, eve: User, name: str) -> None:
    members.add_member(talk.ada, talk.pk, NewMember(username="ben", role="viewer"))
    before = talk.last_seq
    with pytest.raises(NotFound):
        CHANGES[name](eve, talk)
    with pytest.raises(NotAllowed):
        CHANGES[name](talk.ben, talk)
    assert talk.last_seq == before


def test_only_an_owner_deletes(talk: Talk) -> None:
    with pytest.raises(NotAllowed):
        sessions.delete_session(talk.ben, talk.pk)
    assert ChatSession.objects.filter(pk=talk.pk).exists()


# --- its status -------------------------------------------------------------------------------------------------------


def test_a_change_names_only_what_it_changes(talk: Talk) -> None:
    sessions.update_session(talk.ada, talk.pk, SessionChange(metadata={"a": 1}))
    sessions.update_session(talk.ben, talk.pk, SessionChange(title="Ours"))
    session = ChatSession.objects.get(pk=talk.pk)
    assert (session.title, session.metadata) == ("Ours", {"a": 1})
    before = talk.last_seq
    sessions.update_session(talk.ben, talk.pk, SessionChange())
    assert talk.last_seq == before, "nothing happened"


def test_a_session_is_active_while_it_is_answered_and_then_waits_for_the_user(talk: Talk) -> None:
    talk.post()
    assert ChatSession.objects.get(pk=talk.pk).status == "active"
    run = talk.claim()
    assert ChatSession.objects.get(pk=talk.pk).status == "active"
    attempts.finish_run(run, "Hello!", attempts.Spending())
    assert ChatSession.objects.get(pk=talk.pk).status == "waiting"
    changed = [event.data["status"] for event in talk.log() if event.type == "session.updated"]
    assert changed == ["active", "waiting"]


def test_what_is_marked_done_becomes_active_again_by_a_message(talk: Talk) -> None:
    talk.answer()
    assert sessions.update_session(talk.ada, talk.pk, SessionChange(status="completed")).status == "completed"
    talk.post("One more thing")
    assert ChatSession.objects.get(pk=talk.pk).status == "active"


def test_what_is_still_being_answered_cannot_be_marked_done(talk: Talk) -> None:
    talk.post()
    with pytest.raises(Conflict):
        sessions.update_session(talk.ada, talk.pk, SessionChange(status="completed"))
    assert ChatSession.objects.get(pk=talk.pk).status == "active"


def test_a_closed_session_takes_no_message_and_its_last_answer_still_comes(talk: Talk) -> None:
    run = talk.start()
    sessions.close_session(talk.ada, talk.pk)
    sessions.close_session(talk.ada, talk.pk)
    with pytest.raises(SessionClosed):
        talk.post()
    attempts.finish_run(run, "Hello!", attempts.Spending())
    assert ChatSession.objects.get(pk=talk.pk).status == "closed", "an answer does not open it again"
    assert talk.types().count("session.closed") == 1
    assert sessions.reopen_session(talk.ben, talk.pk).status == "waiting"
    talk.post()


def test_a_session_reopened_before_its_answer_came_is_active(talk: Talk) -> None:
    talk.start()
    sessions.close_session(talk.ada, talk.pk)
    assert sessions.reopen_session(talk.ada, talk.pk).status == "active"
    before = talk.last_seq
    sessions.reopen_session(talk.ada, talk.pk)
    assert talk.last_seq == before


def test_a_closed_session_cannot_be_marked_done(talk: Talk) -> None:
    sessions.close_session(talk.ada, talk.pk)
    with pytest.raises(Conflict):
        sessions.update_session(talk.ada, talk.pk, SessionChange(status="completed"))


# --- deleted ----------------------------------------------------------------------------------------------------------


def test_a_deleted_session_leaves_no_row_behind(talk: Talk) -> None:
    talk.answer()
    talk.queue("Another")
    sessions.delete_session(talk.ada, talk.pk)
    for model in (ChatSession, Member, Message, Run, Event):
        assert not model.objects.exists(), model
    [spent] = Usage.objects.all()
    assert (spent.run_id, spent.llm, spent.output_tokens) == (None, "demo", 2), "what it cost is owed all the same"


def test_whoever_watches_a_session_is_told_that_it_was_deleted(talk: Talk, redis: Any) -> None:
    told()
    seq = talk.last_seq
    with heard(redis, stream.session_group(talk.pk)) as hear:
        sessions.delete_session(talk.ada, talk.pk)
        told()
        message = hear()
    assert message is not None, "nobody was told"
    frame = Frame.unpack(message["frame"])
    assert (frame.type, frame.seq, frame.session_id) == ("session.deleted", seq + 1, str(talk.pk))


def test_a_run_that_was_going_on_is_refused_by_its_fence_when_the_session_is_deleted(talk: Talk, redis: Any) -> None:
    run = talk.start()
    show(redis, run, "so far")
    sessions.delete_session(talk.ada, talk.pk)
    told()
    assert int(redis.hget(stream.fence_key(talk.pk, run.pk), "a")) == run.attempt + 1
    assert redis.get(stream.draft_key(talk.pk, run.answer_id)) is None


def test_the_worker_of_a_deleted_session_is_nudged(talk: Talk, redis: Any) -> None:
    run = talk.start()
    told()
    with heard(redis, stream.worker_group(talk.worker_id)) as hear:
        sessions.delete_session(talk.ada, talk.pk)
        told()
        message = hear()
    assert message is not None and message["run_id"] == str(run.pk)


@pytest.mark.postgres
@pytest.mark.parametrize("what", ["finish", "cancel", "claim", "post"])
def test_what_waited_for_a_session_while_it_was_deleted_finds_it_gone(talk: Talk, threads: Threads, what: str) -> None:
    run = talk.queue() if what == "claim" else talk.start()
    calls: dict[str, Callable[[], Any]] = {
        "finish": lambda: attempts.finish_run(run, "Hello!", attempts.Spending()),
        "cancel": lambda: talk.cancel(run.pk),
        "claim": lambda: claims.claim_run(talk.worker_id, talk.pk),
        "post": talk.post,
    }
    with stopped_at("delete.commit") as stop:
        deleting = threads.start(sessions.delete_session, talk.ada, talk.pk)
        stop.wait()
        acting = threads.start(calls[what])
        wait_until_blocked()
        stop.go_on()
        deleting.result(WAIT_S)
        if what == "claim":
            assert acting.result(WAIT_S) is None
        else:
            with pytest.raises(attempts.Fenced if what == "finish" else NotFound):
                acting.result(WAIT_S)
    assert not Message.objects.exists()
