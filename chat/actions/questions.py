"""What a run asks people, and takes back where it ends first."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from chat.actions.events import Log
from chat.models import Interrupt, Run
from chat.protocol.commands import CHOICE_MAX

Reason = Interrupt.Reason


@dataclass(frozen=True, slots=True)
class Question:
    """What a run asks people.

    Of an approval `payload` holds the `tool` and the `args` that people are shown, which is what they decide about, and
    `args_schema` where they may edit those; of a choice the `choices`. `answer_schema` is of the whole answer.
    """

    reason: str  # of Interrupt.Reason
    prompt: str
    payload: dict[str, Any] = field(default_factory=dict)
    answer_schema: dict[str, Any] = field(default_factory=dict)
    tool_call_id: UUID | None = None

    def __post_init__(self) -> None:
        if self.reason == Reason.APPROVAL:
            assert isinstance(self.payload["tool"], str) and isinstance(self.payload["args"], dict)
        elif self.reason == Reason.CHOICE:
            choices = self.payload["choices"]
            fits = all(isinstance(one, str) and 0 < len(one) <= CHOICE_MAX for one in choices)
            assert choices and fits and len(set(choices)) == len(choices), "a choice that nobody can make"


def args_hash(tool: str, args: dict[str, Any]) -> str:
    """What an approval is bound to: this tool with exactly these args."""
    text = json.dumps({"tool": tool, "args": _plain(args)}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    """With one way to write each number: Postgres gives 1e22 back as an integer, and -0.0 as 0.0."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


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
            args_hash=args_hash(one.payload["tool"], one.payload["args"]) if one.reason == Reason.APPROVAL else "",
            expires_at=log.now + timedelta(seconds=expires_s) if expires_s else None,
            # Lists are in the order of asking, which ids do not tell: so no two have the same time.
            created_at=log.now + timedelta(microseconds=index),
        )
        for index, one in enumerate(questions)
    ]
    log.add_row(*rows)
    for row in rows:
        log.append_event("interrupt.opened", row.as_data(), run_id=run.pk)
    return rows


def withdraw(log: Log, run: Run) -> None:
    """Take back what a run still asks. Part of the action that ends it, before the event that tells of the end."""
    for row in Interrupt.objects.open().filter(run_id=run.pk).in_order():
        row.status, row.resolved_at = Interrupt.Status.WITHDRAWN, log.now
        row.save(update_fields=["status", "resolved_at"])
        log.append_event("interrupt.resolved", row.as_data(), run_id=run.pk)
