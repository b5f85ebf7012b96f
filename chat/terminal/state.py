"""The fold: from the frames of one session to what is shown of it. No socket, no screen, no clock."""

from dataclasses import dataclass, field
from typing import Literal

from chat.terminal.calls import Row, answer_line, call_line, is_settled, question_line

Kind = Literal["user", "answer", "tool", "question", "notice", "error"]

OPEN = frozenset({"queued", "running", "interrupted"})
CUT = {
    "length": "the answer ends here because it became too long",
    "refused": "the language model would not go on from here",
}


@dataclass(slots=True)
class Item:
    """One thing on the page, in the order in which it was first seen: a message, or a line about what happened."""

    id: str
    kind: Kind
    who: str
    text: str
    mine: bool = False
    run_id: str | None = None  # that said it; of what a person said, that answers it: known when it is read
    done: bool = True
    remark: str = ""  # what became of it, where that is not plain from the text
    discarded: bool = False


@dataclass(slots=True)
class Talk:
    """One session as its frames tell it. `items` only grows; an item that is done changes no more, save by an edit."""

    session_id: str
    title: str = ""
    status: str = "new"
    last_seq: int = 0
    items: list[Item] = field(default_factory=list)
    runs: dict[str, Row] = field(default_factory=dict)
    newest_run_id: str | None = None
    calls: dict[str, Row] = field(default_factory=dict)  # of tools, under way or waiting: `tool_call` and `run_id`
    questions: dict[str, Row] = field(default_factory=dict)  # that are open, the oldest first
    ask_again: Row | None = None  # what to say to be asked once more what nobody answered in time
    _by_id: dict[str, Item] = field(default_factory=dict)

    @classmethod
    def of(cls, snapshot: Row) -> "Talk":
        """The session as `GET /api/sessions/{id}/` shows it."""
        talk = cls(snapshot["session_id"], snapshot["title"], snapshot["status"], snapshot["last_seq"])
        # Before the messages: a call may be over with its run.
        talk.runs = {run["run_id"]: run for run in snapshot.get("runs", ())}
        for message in snapshot.get("messages", ()):
            talk._message(message)
        for run in snapshot.get("runs", ()):
            talk._run(run)
        for interrupt in snapshot.get("interrupts", ()):
            talk._interrupt(interrupt)
        return talk

    @property
    def active_run(self) -> Row | None:
        """The run that a stop means: the one under way, else the first that waits."""
        waiting = [run for run in self.runs.values() if run["status"] in OPEN]
        return min(waiting, key=lambda run: (run["status"] == "queued", run["position"]), default=None)

    @property
    def runs_waiting(self) -> int:
        return sum(run["status"] == "queued" for run in self.runs.values())

    def item(self, item_id: str) -> Item | None:
        return self._by_id.get(item_id)

    def answers_of(self, run_id: str) -> list[Item]:
        return [i for i in self.items if i.run_id == run_id and i.kind == "answer" and i.done and not i.discarded]

    def fold(self, frame: Row) -> None:
        """Take one frame in. What was taken before, is of another session or of an unknown type changes nothing."""
        if frame["session_id"] != self.session_id:
            return
        seq, data = frame["seq"], frame["data"]
        if seq is not None:
            if seq <= self.last_seq:
                return
            self.last_seq = seq
        noun, _, fact = frame["type"].partition(".")
        if frame["type"] == "message.delta":
            self._delta(frame["run_id"], data)
        elif noun == "message" and "content" in data:
            self._message(data)
        elif noun == "session" and "status" in data:
            self.title, self.status = data["title"], data["status"]
        elif noun == "run" and "status" in data:
            self._run(data)
            if fact in {"restarted", "cancelled", "failed", "succeeded"}:
                self._ended(fact, data)
        elif noun == "interrupt" and "status" in data:
            self._interrupt(data)
        elif noun == "tool" and "tool_call_id" in data:
            self._call(data, frame["run_id"])

    def lose(self) -> None:
        """Nothing more will be told of it: what is open here stays so for ever."""
        self.runs = {run_id: run for run_id, run in self.runs.items() if run["status"] not in OPEN}
        self.calls.clear()
        self.questions.clear()
        for item in self.items:
            if not item.done:
                self._discard(item.id, "not finished")

    def _add(self, item: Item) -> Item:
        self.items.append(item)
        self._by_id[item.id] = item
        return item

    def _note(self, text: str, kind: Kind = "notice", run_id: str | None = None, note_id: str = "") -> None:
        # Named by its fact, so that a page which is read again shows it once.
        self._add(Item(note_id or f"{self.last_seq}:{text}", kind, "", text, run_id=run_id))

    def _delta(self, run_id: str | None, data: Row) -> None:
        item = self._by_id.get(data["message_id"])
        if item is None:
            who = (data.get("author") or {}).get("name", "")
            item = self._add(Item(data["message_id"], "answer", who, "", run_id=run_id, done=False))
        if item.done:
            return  # the message itself, or its withdrawal, is the last word
        item.text = data["text"] if data["offset"] == 0 else item.text + data["text"]

    def _message(self, data: Row) -> None:
        item = self._by_id.get(data["message_id"])
        if "tool_call" in data["data"]:
            self._call(data["data"]["tool_call"], data["run_id"])
            return
        if data["deleted_at"]:
            self._discard(data["message_id"], "removed")
            return
        if item is None:
            item = self._add(Item(data["message_id"], "answer", "", ""))
        elif item.done and item.text != data["content"]:
            self._note(f"{data['author']['name']} changed a message: {data['content']}")
        item.kind = _kind(data)
        item.who = data["author"]["name"]
        item.mine = data["key"] is not None  # a key is shown to its author alone
        joined = data["data"].get("joined")
        item.run_id = joined["run_id"] if joined and joined["read"] else data["run_id"]
        item.text, item.done, item.discarded = data["content"], True, False
        if data["data"].get("interrupted"):
            item.remark = "stopped"
        elif cut := data["data"].get("cut"):
            item.remark = CUT.get(cut, "this answer is not whole")
        if (again := data["data"].get("ask_again")) and not item.remark:
            self.ask_again, item.remark = again, "/again asks for it once more"
        if data["run_id"]:
            self.newest_run_id = data["run_id"]

    def _run(self, data: Row) -> None:
        self.runs[data["run_id"]] = data
        self.newest_run_id = data["run_id"]

    def _ended(self, fact: str, data: Row) -> None:
        run_id = data["run_id"]
        if fact == "restarted":
            why = "the worker was lost" if data["reason"] == "worker_lost" else "the worker is being restarted"
            remark = f"{why}; the answer starts again"
            if not any(self._discard(message_id, remark) for message_id in data["discarded"]):
                self._note(remark)
        elif fact == "cancelled":
            stopped = any(item.run_id == run_id and item.remark == "stopped" for item in self.items)
            taken_back = [self._discard(message_id, "taken back") for message_id in data.get("discarded") or ()]
            if not stopped and not any(taken_back):
                self._note("stopped")
        elif fact == "failed" and not any(i.run_id == run_id and i.kind == "error" for i in self.items):
            error = data["error"] or {"message": "the answer failed"}
            self._note(f"{error['message']} (/retry tries again)", "error", run_id)
        if fact != "restarted":
            for call_id in [one for one, row in self.calls.items() if row["run_id"] == run_id]:
                call = self.calls.pop(call_id)
                if call["status"] == "unknown":
                    self._call(call, run_id)
        # A draft that no message took the place of is void once its run has ended.
        for item in self.items:
            if item.run_id == run_id and not item.done:
                self._discard(item.id, "not finished")

    def _discard(self, message_id: str, remark: str) -> bool:
        item = self._by_id.get(message_id)
        if item is None or item.discarded:
            return False
        if item.done:  # said and shown: the page cannot unsay it, a later line tells
            self._note(f"{remark}: {item.text}")
        else:
            item.done, item.remark = True, remark
        item.discarded = True
        return True

    def _call(self, data: Row, run_id: str | None) -> None:
        """A call is on the page when it has come to something: a line that stands there would tell what was once so."""
        call_id = data["tool_call_id"]
        run = self.runs.get(run_id or "")
        if not is_settled(data, is_run_open=run is not None and run["status"] in OPEN):
            if call_id not in self._by_id:
                self.calls[call_id] = data | {"run_id": run_id}
            return
        self.calls.pop(call_id, None)
        if call_id not in self._by_id:
            self._note(call_line(data), "tool", run_id, call_id)

    def _interrupt(self, data: Row) -> None:
        question_id = data["interrupt_id"]
        if data["status"] == "open":
            self.questions[question_id] = data
            if question_id not in self._by_id:
                self._note(question_line(data), "question", data["run_id"], question_id)
        elif self.questions.pop(question_id, None):
            self._note(answer_line(data), run_id=data["run_id"])


def _kind(message: Row) -> Kind:
    if message["kind"] == "error":
        return "error"
    if message["role"] == "user":
        return "user"
    return "answer" if message["role"] == "assistant" and message["kind"] == "text" else "notice"
