"""Questions to people: who may answer which and how; the run goes on when the last is settled, by whomever."""

import json
from typing import Any
from uuid import uuid4

import pytest
from pydantic import TypeAdapter

from chat.actions import attempts, claims, interrupts, members, sessions
from chat.actions.questions import Question, args_hash
from chat.actions.usage import Spending
from chat.errors import AlreadyResolved, Conflict, InvalidInput, NotAllowed, NotFound
from chat.models import ChatSession, Interrupt, Run, User
from chat.protocol.commands import Answer, NewMember
from tests.inside import Talk, rung

SCHEMA = {
    "type": "object",
    "properties": {"order_id": {"type": "integer"}, "amount": {"type": "number", "maximum": 100}},
    "required": ["order_id"],
    "additionalProperties": False,
}
ARGS = {"order_id": 7, "amount": 20}
REFUND = Question("approval", "Refund order 7?", {"tool": "refund", "args": ARGS, "args_schema": SCHEMA})
CLOSE = Question("approval", "Close order 7?", {"tool": "close", "args": {"order_id": 7}})
WHICH = Question("question", "Which order?")
COLOUR = Question("choice", "Red or blue?", {"choices": ["red", "blue"]})

YES: dict[str, Any] = {"approved": True}
NO: dict[str, Any] = {"approved": False}


def asks(talk: Talk, *questions: Question, content: str = "Hello?", in_time: bool = True) -> list[Interrupt]:
    """Start a run that asks people; if not `in_time`, what nobody has answered in time."""
    run = talk.start(content)
    if not in_time:
        run.agent.interrupt_expires_s = -1
    attempts.interrupt_run(run, questions or (REFUND,), Spending("demo", 3, 2))
    return list(Interrupt.objects.open().filter(run_id=run.pk).in_order())


def resolve(user: User, asked: Interrupt, answer: dict[str, Any], *, by_operator: bool = False) -> Interrupt:
    made: Answer = TypeAdapter(Answer).validate_python(answer)
    seen = interrupts._see(user, asked.pk, made, by_operator=by_operator)
    return interrupts._resolve(user, *seen, by_operator=by_operator)


def state(talk: Talk) -> tuple[str, list[str]]:
    statuses = Run.objects.filter(session_id=talk.pk).order_by("position").values_list("status", flat=True)
    return ChatSession.objects.get(pk=talk.pk).status, list(statuses)


# --- answering --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (REFUND, YES),
        (REFUND, {"approved": True, "args": {"order_id": 8}}),
        (REFUND, NO),
        (REFUND, {"approved": False, "reason": "Too much"}),
        (WHICH, {"text": "The last one"}),
        (COLOUR, {"choice": "blue"}),
    ],
)
def test_an_answer_settles_the_question_and_the_run_goes_on(
    talk: Talk, redis: Any, question: Question, answer: dict[str, Any]
) -> None:
    [asked] = asks(talk, question)
    rung(redis)
    before = talk.last_seq
    settled = resolve(talk.ben, asked, answer)
    assert (settled.status, settled.answer, settled.resolved_by_id) == ("resolved", answer, talk.ben.pk)
    assert settled.resolved_at is not None
    assert talk.types(before) == ["interrupt.resolved", "session.updated", "run.queued"]
    assert rung(redis) == [asked.run_id]
    assert state(talk) == ("active", ["queued"])
    assert claims.claimable_sessions(0) == [talk.pk], "the sweep finds it too, whoever dies before the ring"
    again = talk.claim()
    assert (again.pk, again.attempt) == (asked.run_id, 2)


def test_a_run_goes_on_when_its_last_question_is_settled_and_not_before(talk: Talk, redis: Any) -> None:
    first, second, third = asks(talk, REFUND, WHICH, COLOUR)
    rung(redis)
    for asked, answer in ((second, {"text": "7"}), (first, NO)):
        before = talk.last_seq
        resolve(talk.ada, asked, answer)
        assert talk.types(before) == ["interrupt.resolved"]
        assert state(talk) == ("interrupted", ["interrupted"]) and not rung(redis)
    resolve(talk.ada, third, {"choice": "red"})
    assert rung(redis) == [first.run_id]


def test_a_run_keeps_its_place_and_its_wait_begins_anew(talk: Talk) -> None:
    [asked] = asks(talk)
    behind = talk.queue("behind it")
    before = Run.objects.get(pk=asked.run_id)
    resolve(talk.ada, asked, YES)
    now = Run.objects.get(pk=asked.run_id)
    assert now.position == before.position and now.queued_at > before.queued_at
    attempts.finish_run(talk.claim(), "Done.")
    assert talk.claim().pk == behind.pk


def test_a_second_and_a_third_question_of_a_run_work_like_the_first(talk: Talk) -> None:
    run = talk.start()
    for attempt, (question, answer) in enumerate(
        ((REFUND, YES), (WHICH, {"text": "7"}), (COLOUR, {"choice": "red"})), 1
    ):
        assert run.attempt == attempt
        attempts.interrupt_run(run, [question])
        resolve(talk.ada, Interrupt.objects.open().get(), answer)
        run = talk.claim()
    attempts.finish_run(run, "Done.")
    assert state(talk) == ("waiting", ["succeeded"])


def test_the_second_answer_is_told_that_there_is_one(talk: Talk) -> None:
    [asked] = asks(talk)
    resolve(talk.ben, asked, NO)
    before = talk.last_seq
    for user, answer in ((talk.ada, YES), (talk.ben, NO)):
        with pytest.raises(AlreadyResolved):
            resolve(user, asked, answer)
    assert talk.last_seq == before
    assert Interrupt.objects.get(pk=asked.pk).answer == NO


def test_owners_and_members_answer_and_viewers_and_strangers_do_not(talk: Talk, eve: User) -> None:
    [asked] = asks(talk)
    with pytest.raises(NotFound):
        resolve(eve, asked, YES)
    members.add_member(talk.ada, talk.pk, NewMember(username=eve.username, role="viewer"))
    with pytest.raises(NotAllowed):
        resolve(eve, asked, YES)
    eve.is_staff = eve.is_superuser = True
    eve.save()
    with pytest.raises(NotAllowed):
        resolve(eve, asked, YES)
    assert Interrupt.objects.get(pk=asked.pk).status == "open"
    assert resolve(eve, asked, YES, by_operator=True).resolved_by_id == eve.pk


def test_there_is_nothing_to_answer_where_nothing_is(talk: Talk) -> None:
    with pytest.raises(NotFound):
        resolve(talk.ada, Interrupt(pk=uuid4()), YES)


@pytest.mark.parametrize("question", [REFUND, WHICH, COLOUR])
@pytest.mark.parametrize("answer", [YES, NO, {"text": "yes"}, {"choice": "red"}])
def test_an_answer_of_another_kind_is_none(talk: Talk, question: Question, answer: dict[str, Any]) -> None:
    if ("approved" in answer, "text" in answer) == (question is REFUND, question is WHICH):
        return
    [asked] = asks(talk, question)
    with pytest.raises(InvalidInput) as told:
        resolve(talk.ada, asked, answer)
    assert told.value.fields is not None and list(told.value.fields) == ["answer"]
    assert state(talk) == ("interrupted", ["interrupted"])


@pytest.mark.parametrize(
    ("question", "answer", "fields"),
    [
        (COLOUR, {"choice": "green"}, {"answer.choice": "is not offered"}),
        (COLOUR, {"choice": "Red"}, {"answer.choice": "is not offered"}),
        (REFUND, {"approved": True, "args": {}}, {"answer.args.order_id": "is missing"}),
        (
            REFUND,
            {"approved": True, "args": {"order_id": "7", "amount": 1000, "to": "me"}},
            {
                "answer.args.to": "unknown",
                "answer.args.order_id": "'7' is not of type 'integer'",
                "answer.args.amount": "1000 is greater than the maximum of 100",
            },
        ),
        (CLOSE, {"approved": True, "args": {"order_id": 8}}, {"answer.args": "cannot be edited"}),
        (
            Question("question", "When?", answer_schema={"properties": {"text": {"pattern": r"^\d\d:\d\d$"}}}),
            {"text": "soon"},
            {"answer.text": r"'soon' does not match '^\\d\\d:\\d\\d$'"},
        ),
    ],
)
def test_an_answer_that_does_not_fit_is_told_where(
    talk: Talk, question: Question, answer: dict[str, Any], fields: dict[str, str]
) -> None:
    [asked] = asks(talk, question)
    with pytest.raises(InvalidInput) as told:
        resolve(talk.ada, asked, answer)
    assert told.value.fields == fields
    assert Interrupt.objects.get(pk=asked.pk).status == "open"


def test_an_approval_is_bound_to_exactly_what_was_shown(talk: Talk) -> None:
    as_asked, edited = asks(talk, REFUND, REFUND)
    bound = args_hash("refund", ARGS)
    assert as_asked.args_hash == edited.args_hash == bound
    assert resolve(talk.ada, as_asked, YES).args_hash == bound
    other = {"order_id": 7, "amount": 19.5}
    assert resolve(talk.ada, edited, {"approved": True, "args": other}).args_hash == args_hash("refund", other) != bound


def test_a_hash_is_of_what_is_said_and_not_of_how_it_is_written() -> None:
    one: dict[str, Any] = {"a": 1, "b": [{"c": 2.0, "d": None}]}
    same: dict[str, Any] = {"b": [{"d": None, "c": 2}], "a": 1}
    assert args_hash("t", one) == args_hash("t", same)
    different: list[dict[str, Any]] = [
        {"a": 1},
        {"a": "1"},
        {"a": True},
        {"a": 1.5},
        {"a": [1]},
        {"b": 1},
        {},
        {"a": None},
    ]
    assert len({args_hash("t", args) for args in different} | {args_hash("u", {"a": 1})}) == 9


@pytest.mark.postgres
def test_a_hash_is_the_same_of_what_the_database_gives_back(talk: Talk) -> None:
    odd = json.loads(
        '{"a": 1e22, "b": -0.0, "c": 0.1, "d": 1e-7, "e": 12345678901234567890, "f": "é\\u2028", "g": 1.0}'
    )
    [asked] = asks(talk, Question("approval", "Odd?", {"tool": "t", "args": odd}))
    back = Interrupt.objects.get(pk=asked.pk)
    assert args_hash("t", back.payload["args"]) == back.args_hash == args_hash("t", odd)


def test_a_question_is_answered_in_a_closed_session_too(talk: Talk) -> None:
    [asked] = asks(talk)
    sessions.close_session(talk.ada, talk.pk)
    resolve(talk.ada, asked, YES)
    assert state(talk) == ("closed", ["queued"])
    attempts.finish_run(talk.claim(), "Done.")
    assert state(talk) == ("closed", ["succeeded"])


def test_a_session_that_was_closed_and_reopened_still_asks(talk: Talk) -> None:
    asks(talk)
    sessions.close_session(talk.ada, talk.pk)
    sessions.reopen_session(talk.ada, talk.pk)
    assert state(talk)[0] == "interrupted"


def test_a_question_goes_with_its_session(talk: Talk) -> None:
    [asked] = asks(talk)
    sessions.delete_session(talk.ada, talk.pk)
    assert not Interrupt.objects.exists()
    with pytest.raises(NotFound):
        resolve(talk.ada, asked, YES)


def test_a_run_that_asks_is_not_asked_for_again(talk: Talk) -> None:
    [asked] = asks(talk)
    with pytest.raises(Conflict):
        talk.retry(asked.run_id)
