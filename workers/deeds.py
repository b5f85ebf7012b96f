"""What answers that were broken off have done: no text tells of it, and whoever answers next would do it again."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Q, QuerySet
from django.db.models.functions import Left

from chat.actions.questions import args_hash
from chat.models import Run, ToolCall
from chat.prepared import Given, Prepared
from workers.llm.base import Called, Returned, estimate_tokens
from workers.llm.base import ToolCall as Wanted

Status = ToolCall.Status

DEEDS_MAX = 30  # the newest
RESULT_CHARS = 1000
ARGS_CHARS = 2000

REFUSED = "This was refused, and not called."
NOBODY_KNOWS = "This was called, and nobody knows whether it took effect."

Row = tuple[UUID, str, dict[str, Any], str, str, dict[str, Any] | None, int, UUID]


class Deed(NamedTuple):
    """A call with an effect, of a run that failed or was stopped."""

    call_id: UUID
    tool: str
    args: dict[str, Any]
    status: str
    text: str  # what it gave, or why it failed
    error: dict[str, Any] | None
    position: int  # of its run
    message_id: UUID  # that its run was to answer

    @property
    def is_unknown(self) -> bool:
        """Whether it may have happened; also where a person chose to leave it at that."""
        return self.status == Status.UNKNOWN or (self.error or {}).get("code") == "unknown"

    @property
    def hash(self) -> str:
        return args_hash(self.tool, self.args)

    @property
    def lines(self) -> tuple[Called, Returned]:
        """As the LLM reads it: in the wire's own place for calls, where nothing that a tool gave passes for more."""
        name = self.call_id.hex  # not what an LLM named it: that may be the name of another call by now
        args = json.dumps(self.args, ensure_ascii=False)
        if len(args) > ARGS_CHARS:
            args = json.dumps({"cut": args[:ARGS_CHARS]}, ensure_ascii=False)
        told = Returned(name, self.tool, self._told, is_error=self.status != Status.RETURNED)
        return Called("", (Wanted(name, self.tool, args),)), told

    @property
    def _told(self) -> str:
        if self.is_unknown:
            return NOBODY_KNOWS
        if self.status == Status.REFUSED:
            return REFUSED
        return self.text if len(self.text) <= RESULT_CHARS else f"{self.text[:RESULT_CHARS]}… (cut here)"

    @property
    def in_words(self) -> str:
        """For a summary, which is made of texts alone: in one line, whatever the tool gave."""
        called, returned = self.lines
        return f"(called {self.tool} {called.calls[0].args_json}: {json.dumps(returned.text, ensure_ascii=False)})"

    @property
    def tokens(self) -> int:
        called, returned = self.lines
        return estimate_tokens(called.calls[0].args_json) + estimate_tokens(returned.text)


def _of_no_answer() -> "QuerySet[ToolCall]":
    """Calls with an effect that were made, or refused, by runs that gave no answer."""
    # The text for emergencies is an answer to nobody.
    without_answer = Q(run__status__in=[Run.Status.FAILED, Run.Status.CANCELLED]) | Q(
        run__status=Run.Status.SUCCEEDED, run__error__isnull=False
    )
    told = Q(status__in=[Status.RETURNED, Status.REFUSED, Status.UNKNOWN]) | Q(status=Status.FAILED, calls__gt=0)
    return ToolCall.objects.filter(without_answer, told).exclude(effect=ToolCall.Effect.PURE)


_COLUMNS = ("pk", "tool", "args", "status", Left("text", RESULT_CHARS + 1), "error", "run__position", "run__message_id")

BROKEN_OFF: "Prepared[Row]" = Prepared(
    lambda: (
        _of_no_answer()
        # The place of the run: it is found in an index by that, newest first, and its calls by the run.
        .filter(
            run__session_id=Given("session_id"), run__position__gt=Given("after"), run__position__lt=Given("before")
        )
        .order_by("-run__position", "-step", "-index")
        .values_list(*_COLUMNS)[:DEEDS_MAX]
    )
)


def deeds_in(rows: Iterable[Row]) -> list[Deed]:
    return [Deed(*row) for row in rows]


def deeds_of_calls(call_ids: Sequence[UUID]) -> dict[UUID, Deed]:
    """Those of the deeds that these calls are, by the call's id, which is its message's too."""
    found = deeds_in(_of_no_answer().filter(pk__in=call_ids).values_list(*_COLUMNS)) if call_ids else []
    return {deed.call_id: deed for deed in found}
