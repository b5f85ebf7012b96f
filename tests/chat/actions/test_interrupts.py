"""Questions to people: who may answer which how, the first answer counts, and its run goes on when none is left."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from chat.actions import attempts, claims
from chat.actions.questions import Question
from chat.actions.usage import Spending
from chat.models import ChatSession, Interrupt, Run
from chat.protocol.commands import Answer
from tests.inside import Talk

SCHEMA = {
    "type": "object",
    "properties": {"order_id": {"type": "integer"}, "amount": {"type": "number", "maximum": 100}},
    "required": ["order_id"],
    "additionalProperties": False,
}
REFUND = Question(
    "approval",
    "Refund order 7?",
    {"tool": "refund", "args": {"order_id": 7, "amount": 20}, "args_schema": SCHEMA},
)
WHICH = Question("question", "Which order?")
COLOUR = Question("choice", "Red or blue?", {"choices": ["red", "blue"]})


def read(**answer: Any) -> Answer:
    made: Answer = TypeAdapter(Answer).validate_python(answer)
    return made


def asks(talk: Talk, *questions: Question) -> tuple[Run, list[Interrupt]]:
    """Start a run that asks people."""
    run = attempts.interrupt_run(talk.start(), questions or (REFUND,), Spending("demo", 3, 2))
    return run, list(Interrupt.objects.open().filter(run_id=run.pk).in_order())


def test_a_run_that_asks_ends_its_attempt_and_waits(talk: Talk) -> None:
    run = talk.start()
    before = talk.last_seq
    attempts.interrupt_run(run, [REFUND, WHICH], Spending("demo", 3, 2))
    now = Run.objects.get(pk=run.pk)
    assert (now.status, now.attempt, now.worker_id, now.slot, now.answer_id) == ("interrupted", 1, None, None, None)
    assert (now.drafts, now.input_tokens, now.output_tokens) == ([], 3, 2)
    assert now.interrupted_at is not None
    assert talk.types(before) == ["interrupt.opened", "interrupt.opened", "session.updated", "run.interrupted"]
    assert ChatSession.objects.get(pk=talk.pk).status == "interrupted"
    assert claims.claim_run(talk.worker_id, talk.pk) is None
