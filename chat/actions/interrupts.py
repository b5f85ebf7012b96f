"""Questions to people: asked by a run, and settled by whoever answers first."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from chat.actions.events import Log
from chat.models import Interrupt, Run


@dataclass(frozen=True, slots=True)
class Question:
    """What a run asks people."""

    reason: str  # of Interrupt.Reason
    prompt: str
    payload: dict[str, Any] = field(default_factory=dict)
    answer_schema: dict[str, Any] = field(default_factory=dict)
    tool_call_id: UUID | None = None
    args_hash: str = ""  # of an approval


def ask(log: Log, run: Run, questions: Sequence[Question]) -> list[Interrupt]:
    """Open questions of a run. Part of the action that takes it out of its worker's hands."""
    expires_s = run.agent.interrupt_expires_s
    rows = [
        Interrupt(
            session_id=run.session_id,
            run_id=run.pk,
            tool_call_id=one.tool_call_id,
            reason=one.reason,
            prompt=one.prompt,
            payload=one.payload,
            answer_schema=one.answer_schema,
            args_hash=one.args_hash,
            expires_at=log.now + timedelta(seconds=expires_s) if expires_s else None,
            created_at=log.now,
        )
        for one in questions
    ]
    log.add_row(*rows)
    for row in rows:
        log.append_event("interrupt.opened", row.as_data(), run_id=run.pk)
    return rows
