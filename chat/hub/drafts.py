"""What is being written in a session: its running runs, and their messages as far as they were shown.

Deltas travel outside of the log and are checked against it here: whatever Redis repeats, delays, loses or hands over
too late, what is let through is contiguous, and belongs to the present attempt of a running run.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, NamedTuple

from chat import stream
from chat.protocol import Delta, Frame

REMEMBERED = 1000  # ended runs and written messages that late deltas are checked against

ENDS = {"run.succeeded", "run.failed", "run.cancelled"}
PAUSES = {"run.restarted", "run.interrupted"}

Key = tuple[str, str]  # message_id and the type of its deltas


@dataclass(slots=True)
class Draft:
    """A message being written."""

    run_id: str
    attempt: int
    opening: dict[str, Any] | None
    clearing: int | None = None  # which of the attempt's texts this is; None: as Redis had it, which does not say
    length: int = 0  # in code points
    _pieces: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        self._pieces.append(text)
        self.length += len(text)

    @property
    def text(self) -> str:
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""


@dataclass(frozen=True, slots=True)
class RunningRun:
    """A running run as the table has it, with the messages that it has promised and not written yet."""

    run_id: str
    attempt: int
    message_ids: list[str]
    author: dict[str, Any]


class Over(NamedTuple):
    """A run or a message whose deltas must go no further."""

    run_id: str | None
    message_id: str | None


class Verdict(Enum):
    SHOW = auto()
    DROP = auto()
    ASK = auto()  # something is missing: the table and Redis know


class Drafts:
    """Folds the log as far as it is about runs, and judges deltas by it."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self._attempts: dict[str, int] = {}  # of runs that are not over
        self._running: set[str] = set()
        self._promised: dict[str, set[str]] = {}  # the messages that events of each running run have named
        self._ended: dict[str, None] = {}
        self._written: dict[str, None] = {}
        self._drafts: dict[Key, Draft] = {}

    # --- the log ------------------------------------------------------------------------------------------------------
    def know(self, runs: Iterable[RunningRun]) -> None:
        """Begin where the table is."""
        for run in runs:
            self._attempts[run.run_id] = run.attempt
            self._running.add(run.run_id)
            self._promised[run.run_id] = set(run.message_ids)

    def fold(self, frame: Frame) -> Over | None:
        """Take the next durable frame. Returns what it ends: a message that is written, a run that stops."""
        if frame.type == "message.created" and frame.message_id:
            _remember(self._written, frame.message_id)
            return self._forget(Over(None, frame.message_id))
        if frame.run_id is None or not frame.type.startswith(("run.", "step.")):
            return None
        if frame.type == "run.started":
            self._attempts[frame.run_id] = frame.attempt or 0
            self._running.add(frame.run_id)
            self._promised[frame.run_id] = set()
        elif frame.type in ENDS:
            _remember(self._ended, frame.run_id)
            self._attempts.pop(frame.run_id, None)
        elif frame.type in PAUSES:
            # A run that was put back waits for its next attempt; one that asks people gets it when it is queued again.
            self._attempts[frame.run_id] = (frame.attempt or 0) + (frame.type == "run.interrupted")
        if frame.type not in ENDS | PAUSES:
            if frame.message_id and frame.run_id in self._promised:
                self._promised[frame.run_id].add(frame.message_id)
            return None
        self._running.discard(frame.run_id)
        self._promised.pop(frame.run_id, None)
        return self._forget(Over(frame.run_id, None))

    def _forget(self, over: Over) -> Over:
        for key, draft in list(self._drafts.items()):
            if key[0] == over.message_id or draft.run_id == over.run_id:
                del self._drafts[key]
        return over

    # --- deltas -------------------------------------------------------------------------------------------------------
    def take(self, delta: Delta) -> Verdict:
        """Judge a delta, cut off it what was shown already, and keep what is new."""
        attempt = self._attempts.get(delta.run_id, 0)
        if delta.attempt < attempt or delta.run_id in self._ended or delta.message_id in self._written:
            return Verdict.DROP
        if delta.attempt > attempt or delta.run_id not in self._running:
            return Verdict.ASK  # it overtook its run.started
        if delta.message_id not in self._promised[delta.run_id]:
            return Verdict.ASK  # it overtook the event that names its message
        key = (delta.message_id, delta.type)
        draft = self._drafts.get(key)
        if draft is not None and draft.clearing is not None and delta.clearing < draft.clearing:
            return Verdict.DROP  # of a text that was given up
        if delta.offset == 0:
            draft = self._drafts[key] = Draft(delta.run_id, delta.attempt, delta.opening, delta.clearing)
        elif draft is not None and draft.clearing is not None and delta.clearing > draft.clearing:
            # The beginning of another text was missed. To append or to cut here would glue two texts together, and
            # what Redis has must not be measured against the one that is void: two tries often begin alike.
            del self._drafts[key]
            return Verdict.ASK
        elif draft is None or delta.offset > draft.length:
            return Verdict.ASK  # pieces are missing
        elif delta.offset < draft.length:
            delta.text = delta.text[draft.length - delta.offset :]
            delta.offset = draft.length
            if not delta.text:
                return Verdict.DROP
        draft.clearing = delta.clearing
        draft.add(delta.text)
        return Verdict.SHOW

    def whole(self) -> list[Delta]:
        """Every draft as one delta from its start."""
        return [self._whole(key, draft) for key, draft in self._drafts.items()]

    def _whole(self, key: Key, draft: Draft) -> Delta:
        message_id, kind = key
        return Delta(kind, self.session_id, draft.run_id, message_id, draft.attempt, 0, draft.text, draft.opening)

    # --- what Redis has -----------------------------------------------------------------------------------------------
    def standing(self) -> dict[Key, Draft]:
        """The drafts of this moment, for `merge`."""
        return dict(self._drafts)

    def merge(self, found: Iterable[tuple[Key, Draft]], before: dict[Key, Draft]) -> list[Delta]:
        """Take over drafts as Redis had them; `before` is what stood when it was asked. Returns those that changed."""
        changed = []
        for key, theirs in found:
            if theirs.run_id not in self._running or theirs.attempt != self._attempts[theirs.run_id]:
                continue
            if key[0] in self._written or key[0] not in self._promised[theirs.run_id]:
                continue
            ours = self._drafts.get(key)
            if ours is not before.get(key):
                continue  # it was begun anew meanwhile: ours is later
            if ours is not None and ours.text.startswith(theirs.text):
                continue  # we have heard more than Redis could say then
            self._drafts[key] = theirs
            changed.append(self._whole(key, theirs))
        return changed


def promised(runs: Iterable[RunningRun]) -> list[tuple[Key, Draft]]:
    """Empty drafts for every message that running runs have promised, with the openings of their first deltas."""
    return [
        (
            (message_id, kind),
            Draft(run.run_id, run.attempt, {"role": "assistant", "author": run.author, "kind": "text"}),
        )
        for run in runs
        for message_id in run.message_ids
        for kind in stream.DELTAS
    ]


def _remember(known: dict[str, None], one: str) -> None:
    known[one] = None
    if len(known) > REMEMBERED:
        del known[next(iter(known))]
