"""Folds the frames that a client received into what a page load would show, and refuses what breaks the wire's rules.

It is written from the wire's contract alone and imports nothing of the server: no mistake of the server can hide in it.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.fold_calls import Calls

Frame = dict[str, Any]
Row = dict[str, Any]

_KEYS = {
    "session": "session_id title status agent incident_id parent_id metadata on_busy my_role last_seq created_at"
    " updated_at",
    "message": "message_id session_id run_id parent_id key role author kind category content data attachments"
    " created_at updated_at deleted_at",
    "run": "run_id session_id message_id question_id status position attempt crashes agent llm fallback_status usage"
    " error queued_at started_at interrupted_at succeeded_at failed_at cancelled_at",
    "interrupt": "interrupt_id session_id run_id reason prompt payload answer_schema status answer resolved_by"
    " expires_at created_at",
}
ROW_KEYS = {noun: tuple(keys.split()) for noun, keys in _KEYS.items()}
FRAME_KEYS = {"type", "session_id", "run_id", "seq", "at", "data"}
OPEN = {"queued", "running", "interrupted"}
DELTAS = {"message.delta", "reasoning.delta"}
SHOWN_MESSAGES = 50

# What a run's event makes of its run, and from which statuses it may come. None: the run was not known before.
_MOVES: dict[str, tuple[str, set[str | None]]] = {
    "queued": ("queued", {None, "interrupted", "failed", "cancelled"}),
    "started": ("running", {"queued"}),
    "interrupted": ("interrupted", {"running"}),
    "restarted": ("queued", {"running"}),
    "succeeded": ("succeeded", {"running"}),
    "failed": ("failed", {"queued", "running"}),
    "cancelled": ("cancelled", {"queued", "running", "interrupted"}),
}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


class Violation(AssertionError):
    """A frame that the wire's contract forbids."""


@dataclass
class Draft:
    """A message on its way: what its deltas say so far."""

    run_id: str
    attempt: int
    text: str
    role: str
    author: Row
    kind: str


class Fold:
    """One session as one client knows it: from its first event, from a snapshot, or (less strictly) from anywhere."""

    def __init__(self, session_id: str, *, after: int = 0, snapshot: Row | None = None) -> None:
        self.session_id = session_id
        self.last_seq = snapshot["last_seq"] if snapshot else after
        self.from_start = after == 0 and snapshot is None
        self.knows_all = self.from_start or snapshot is not None
        self.session: Row = {}
        self.messages: dict[str, Row] = {}
        self.runs: dict[str, Row] = {}
        self.interrupts: dict[str, Row] = {}
        self.drafts: dict[tuple[str, str], Draft] = {}
        self.calls = Calls()
        self.discarded: set[str] = set()
        self._attempts: dict[str, int] = {}  # the attempt that each run last started with
        self._reserved: dict[str, set[str]] = {}  # the message ids that each run's events named
        self._current: set[tuple[str, str]] = set()  # the drafts that this socket was sent from their start
        if snapshot:
            self.session = {key: snapshot[key] for key in ROW_KEYS["session"]}
            self.messages = {row["message_id"]: row for row in snapshot["messages"]}
            self.interrupts = {row["interrupt_id"]: row for row in snapshot["interrupts"]}
            for row in snapshot["runs"]:
                self.runs[row["run_id"]] = row
                if row["status"] == "running":
                    self._attempts[row["run_id"]] = row["attempt"]
                self._reserved[row["run_id"]] = {row["message_id"]}

    # -- what a client shows -------------------------------------------------------------------------------------

    def state(self) -> Row:
        """Give what `GET /api/sessions/{id}/` shows at this seq."""
        open_runs = [run for run in self.runs.values() if run["status"] in OPEN]
        return {
            **self.session,
            "messages": list(self.messages.values())[-SHOWN_MESSAGES:],
            "runs": sorted(open_runs, key=lambda run: int(run["position"])),
            "interrupts": [row for row in self.interrupts.values() if row["status"] == "open"],
        }

    def status(self, run_id: str) -> str | None:
        """Give a run's status, None while no event told of it."""
        return self.runs[run_id]["status"] if run_id in self.runs else None

    def draft(self, run_id: str) -> str:
        """Give what is shown of a run's unfinished answer."""
        return "".join(d.text for (noun, _), d in self.drafts.items() if noun == "message" and d.run_id == run_id)

    def answer(self, run_id: str) -> Row | None:
        """Give the message that a run's row names as its answer."""
        return self.messages.get(self.runs[run_id]["message_id"]) if run_id in self.runs else None

    def answers(self) -> list[Row]:
        """Give all that assistants said, in the order of the log."""
        return [row for row in self.messages.values() if row["role"] == "assistant"]

    # -- what comes in -------------------------------------------------------------------------------------------

    def resume(self) -> None:
        """Start on a new socket: it owes us every draft from its first character again."""
        self._current.clear()

    def feed(self, frame: Frame) -> None:
        """Take the next frame. Raises Violation."""
        missing = FRAME_KEYS - frame.keys()
        self._need(not missing, f"keys are missing: {missing}", frame)
        self._need(frame["session_id"] == self.session_id, "the frame is of another session", frame)
        if frame["seq"] is not None:
            self._event(frame)
        elif frame["type"] in DELTAS:
            self._delta(frame)

    def _event(self, frame: Frame) -> None:
        self._need(bool(_TIME.fullmatch(frame["at"] or "")), "`at` is no time in UTC", frame)
        self._need(frame["seq"] > self.last_seq, f"seq {frame['seq']} came again after {self.last_seq}", frame)
        self._need(frame["seq"] == self.last_seq + 1, f"seq {frame['seq']} after {self.last_seq}: a gap", frame)
        noun, _, verb = frame["type"].partition(".")
        takers = {"session": self._session, "message": self._message, "run": self._run, "interrupt": self._interrupt}
        if take := takers.get(noun):
            take(verb, {key: frame["data"][key] for key in self._keys(noun, frame)}, frame)
        elif noun in ("step", "tool"):
            self._act(noun, verb, frame)
        if noun not in takers and frame["run_id"] and frame["data"].get("message_id"):
            self._reserved.setdefault(frame["run_id"], set()).add(frame["data"]["message_id"])
        self.last_seq = frame["seq"]
        if self.session:
            self.session["last_seq"], self.session["updated_at"] = frame["seq"], frame["at"]

    def _act(self, noun: str, verb: str, frame: Frame) -> None:
        """Take an event of a step or of a call."""
        run_id, data = frame["run_id"], frame["data"]
        self._need(bool(run_id), f"a {noun} of no run", frame)
        need = self._needing(frame)
        getattr(self.calls, noun)(verb, data, run_id, self.status(run_id), need)
        if noun == "tool":
            self.calls.agrees(self.messages.get(data["tool_call_id"]), data, need)

    def _needing(self, frame: Frame) -> Callable[[bool, str], None]:
        return lambda holds, rule: self._need(holds, rule, frame)

    def _keys(self, noun: str, frame: Frame) -> tuple[str, ...]:
        missing = set(ROW_KEYS[noun]) - frame["data"].keys()
        self._need(not missing, f"the row is not whole, it lacks {sorted(missing)}", frame)
        self._need(frame["data"]["session_id"] == self.session_id, "the row is of another session", frame)
        return ROW_KEYS[noun]

    def _session(self, verb: str, row: Row, frame: Frame) -> None:
        self._need(verb != "created" or frame["seq"] == 1, "session.created is the first event", frame)
        self._need(frame["seq"] != 1 or verb == "created", "the first event is session.created", frame)
        self.session = row

    def _message(self, verb: str, row: Row, frame: Frame) -> None:
        message_id, run_id = row["message_id"], row["run_id"]
        self._need(message_id not in self.discarded, "a discarded message came back", frame)
        known = message_id in self.messages
        if verb == "created":
            self._need(not known, "a message was made twice", frame)
            if row["role"] == "assistant" and run_id and self.knows_all:
                self._need(self.status(run_id) == "running", f"an answer of a run that is {self.status(run_id)}", frame)
            draft = self.drafts.pop(("message", message_id), None)
            self.drafts.pop(("reasoning", message_id), None)
            if draft and row["role"] == "assistant" and not row["data"].get("interrupted"):
                begins = row["content"].startswith(draft.text)
                self._need(begins, f"the message does not begin as it was shown: {draft.text!r}", frame)
        elif self.knows_all and len(self.messages) < SHOWN_MESSAGES:
            self._need(known, "a change of a message that was never made", frame)
        self.calls.message(row, run_id, self._needing(frame))
        self.messages[message_id] = row

    def _run(self, verb: str, row: Row, frame: Frame) -> None:
        run_id = row["run_id"]
        self._need(frame["run_id"] == run_id, "the frame's run_id is not its row's", frame)
        before = self.status(run_id)
        if verb in _MOVES:
            status, sources = _MOVES[verb]
            self._need(row["status"] == status, f"the row's status is {row['status']}", frame)
            self._need(before in sources or (before is None and not self.knows_all), f"the run was {before}", frame)
        else:
            self._need(before in (row["status"], None), f"the status moved from {before} without its event", frame)
        if self.knows_all:
            waits = row["status"] == "interrupted"
            self._need(self._asks(run_id) == waits, f"it is {row['status']}, and asks {self._asks(run_id)}", frame)
        if verb == "queued" and before == "interrupted":
            self._need(row["attempt"] == self.runs[run_id]["attempt"] + 1, "what goes on has no new attempt", frame)
        if verb == "started":
            self._started(row, frame)
        if verb in ("restarted", "cancelled"):
            self._discard(verb, run_id, frame)
        if verb == "succeeded" and self.knows_all:
            self._need(row["message_id"] in self.messages, "the run succeeded without its answer", frame)
        if verb in ("interrupted", "succeeded", "failed", "cancelled"):
            self.calls.pause(run_id, verb, self._needing(frame))
        if row["status"] == "running" and row["message_id"]:
            self._reserved.setdefault(run_id, set()).add(row["message_id"])
        if row["status"] != "running":
            self.drafts = {key: draft for key, draft in self.drafts.items() if draft.run_id != run_id}
        self.runs[run_id] = row

    def _started(self, row: Row, frame: Frame) -> None:
        run_id, message_id = row["run_id"], row["message_id"]
        others = [other for other, run in self.runs.items() if run["status"] == "running" and other != run_id]
        self._need(not others, f"two runs of a session at once: {others}", frame)
        if run_id in self._attempts or self.from_start:
            expected = self._attempts.get(run_id, 0) + 1
            self._need(row["attempt"] == expected, f"attempt {row['attempt']} instead of {expected}", frame)
        self._need(bool(message_id), "run.started reserves no message", frame)
        used = message_id in self.messages or message_id in self.discarded
        self._need(not used, "a new attempt took a message_id that was used", frame)
        self._attempts[run_id] = row["attempt"]
        self._reserved.setdefault(run_id, set()).add(message_id)

    def _discard(self, verb: str, run_id: str, frame: Frame) -> None:
        discarded = set(frame["data"].get("discarded") or ())
        if verb == "restarted":
            self._need("discarded" in frame["data"], "run.restarted tells what it discards", frame)
            reason = frame["data"].get("reason")
            self._need(reason in ("worker_lost", "drained"), f"the reason {reason!r} is unknown", frame)
            shown = {message_id for (_, message_id), draft in self.drafts.items() if draft.run_id == run_id}
            self._need(shown <= discarded, f"shown but not discarded: {shown - discarded}", frame)
        self.discarded |= discarded
        for message_id in discarded:
            self.messages.pop(message_id, None)

    def _interrupt(self, verb: str, row: Row, frame: Frame) -> None:
        interrupt_id, before = row["interrupt_id"], self.interrupts.get(row["interrupt_id"])
        self._need(frame["run_id"] == row["run_id"], "the frame's run_id is not its row's", frame)
        self._need((verb == "opened") == (row["status"] == "open"), f"the row's status is {row['status']}", frame)
        if verb == "opened":
            self._need(before is None, "a question was asked twice", frame)
            self._need(self.status(row["run_id"]) in ("running", None), "a run asks that does not run", frame)
        else:
            self._need(before is not None or not self.knows_all, "an answer to what was never asked", frame)
            self._need(before is None or before["status"] == "open", "a question was settled twice", frame)
        is_answered = row["status"] == "resolved"
        self._need((row["answer"] is not None) == is_answered, f"{row['status']} with {row['answer']}", frame)
        self.interrupts[interrupt_id] = row

    def _asks(self, run_id: str) -> bool:
        return any(row["run_id"] == run_id and row["status"] == "open" for row in self.interrupts.values())

    def _delta(self, frame: Frame) -> None:
        data, run_id = frame["data"], frame["run_id"]
        for key in ("message_id", "attempt", "offset", "text"):
            self._need(key in data, f"a delta without {key}", frame)
        message_id, attempt = data["message_id"], data["attempt"]
        self._need(message_id not in self.messages, "a delta of a finished message", frame)
        self._need(message_id not in self.discarded, "a delta of a discarded message", frame)
        if self.knows_all or run_id in self.runs:
            self._need(self.status(run_id) == "running", f"a delta of a run that is {self.status(run_id)}", frame)
            current = self.runs[run_id]["attempt"]
            self._need(attempt == current, f"a delta of attempt {attempt} while {current} runs", frame)
            self._need(message_id in self._reserved[run_id], "a delta of a message that no event reserved", frame)
        draft_key = (frame["type"].partition(".")[0], message_id)
        if data["offset"] == 0:
            missing = {"role", "author", "kind"} - data.keys()
            self._need(not missing, f"the first delta lacks {sorted(missing)}", frame)
            self.drafts[draft_key] = Draft(run_id, attempt, data["text"], data["role"], data["author"], data["kind"])
            self._current.add(draft_key)
            return
        begun = draft_key in self.drafts and draft_key in self._current
        self._need(begun, "the first delta of a message on a socket does not start at 0", frame)
        draft = self.drafts[draft_key]
        self._need(draft.attempt == attempt, "two attempts in one message", frame)
        shown = len(draft.text)
        self._need(data["offset"] == shown, f"offset {data['offset']} after {shown} code points", frame)
        draft.text += data["text"]

    def _need(self, holds: bool, rule: str, frame: Frame) -> None:
        if not holds:
            raise Violation(f"{rule}\n  in {frame}")


def differences(folded: Any, shown: Any, path: str = "") -> Iterator[str]:
    """Name each place where two JSON values differ, as `path: folded != shown`."""
    if isinstance(folded, dict) and isinstance(shown, dict):
        for key in sorted(folded.keys() | shown.keys()):
            if key not in folded:
                yield f"{path}.{key}: only GET has it: {shown[key]!r}"
            elif key not in shown:
                yield f"{path}.{key}: only the fold has it: {folded[key]!r}"
            else:
                yield from differences(folded[key], shown[key], f"{path}.{key}")
    elif isinstance(folded, list) and isinstance(shown, list):
        if len(folded) != len(shown):
            yield f"{path}: {len(folded)} in the fold, {len(shown)} in GET"
        for index, (one, other) in enumerate(zip(folded, shown, strict=False)):
            yield from differences(one, other, f"{path}[{index}]")
    elif folded != shown or type(folded) is not type(shown):
        yield f"{path}: fold {folded!r} != GET {shown!r}"
