"""The page: from the fold to lines of a terminal, which can only be added to. Text and styles, nothing is printed here.

Whole lines are handed out once; the line still being written is `tail`, which the screen may draw over and over. One
message is written at a time: what is said meanwhile waits for its end, in `pending`.
"""

from chat.terminal.plain import plain, plain_line
from chat.terminal.state import Item, Talk

Line = list[tuple[str, str]]  # (style, text): me, user, agent, text, tool, question, note, error

MARKS = {"error": ("error", "  ! "), "tool": ("tool", "  "), "question": ("question", "  ? ")}
BACKLOG = 20  # messages of an opened session that are shown


class Page:
    """What of a talk has been handed out."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk
        self.tail: Line = []
        self.pending: list[Item] = []
        self._told: set[str] = set()
        self._at = 0
        self._writing = ""  # the id of the message being written
        self._handed_out = ""  # its whole lines
        self._headed = False
        self._is_in_calls = False  # lines about calls stand together

    def start(self) -> list[Line]:
        """The first lines of an opened session: its newest messages."""
        skipped = max(0, len(self.talk.items) - BACKLOG)
        self._at = skipped
        return ([[("note", f"  · {skipped} earlier left out")], []] if skipped else []) + self.take()

    def replace(self, talk: Talk) -> None:
        """Go on from a fresh reading of the same session; what was handed out is not repeated."""
        self.talk, self._at = talk, 0

    def take(self) -> list[Line]:
        """The lines that have become whole since the last call."""
        lines: list[Line] = []
        self.tail = []
        items = self.talk.items
        while self._at < len(items):
            item = items[self._at]
            if item.id not in self._told:
                written = self._write(item)
                if written and self._is_in_calls and item.kind != "tool":
                    lines.append([])
                if written:
                    self._is_in_calls = item.kind == "tool"
                lines += written
                if not item.done:
                    break
                self._told.add(item.id)
            self._at += 1
        self.pending = [item for item in items[self._at + 1 :] if item.kind == "user" and not item.discarded]
        return lines

    def _write(self, item: Item) -> list[Line]:
        if self._writing != item.id:
            self._writing, self._handed_out, self._headed = item.id, "", False
        if item.discarded:
            return self._withdraw(item)
        text = plain(item.text)
        lines: list[Line] = []
        if not text.startswith(self._handed_out):
            lines.append([("note", "  · the text above was replaced")])
            self._handed_out, self._headed = "", False
        body = text[len(self._handed_out) :]
        if not body.strip() and not item.done:
            return lines
        whole, newline, tail = body.rpartition("\n")
        if item.done:
            whole, newline, tail = body.rstrip("\n"), "", ""
        head = [] if self._headed else _head(item)
        if newline or item.done:
            lines += head
            head, self._headed = [], True
        if newline or (item.done and whole):
            said = whole.split("\n")
            lines += [_body(item, line, first=not self._handed_out and n == 0) for n, line in enumerate(said)]
        self._handed_out += whole + newline
        if tail:
            opening = [*head[0], ("text", "\n")] if head else []  # drawn over: a discard leaves no name behind
            self.tail = opening + _body(item, tail, first=not self._handed_out)
        if item.done:
            lines += [[("note", f"  · {plain_line(item.remark)}")]] if item.remark else []
            if item.kind != "tool":
                lines.append([])
        return lines

    def _withdraw(self, item: Item) -> list[Line]:
        if not item.remark:
            return []  # it was never shown, or a later line tells of it
        said = "the text above is discarded: " if self._handed_out else ""
        return [[("note", f"  · {said}{plain_line(item.remark)}")], []]


def name(title: str, session_id: str) -> str:
    """What a session is called in a list or a heading."""
    return plain_line(title) or f"untitled {session_id[:8]}"


def _head(item: Item) -> list[Line]:
    if item.kind == "answer":
        return [[("agent", plain_line(item.who) or "assistant")]]
    return []


def _body(item: Item, line: str, *, first: bool) -> Line:
    if item.kind == "answer":
        return [("text", line)]
    if item.kind == "user":
        name = "" if item.mine else plain_line(item.who) + " "
        mark = f"{name}› " if first else " " * (len(name) + 2)
        return [("me" if item.mine else "user", mark), ("text", line)]
    style, mark = MARKS.get(item.kind, ("note", "  · "))
    return [(style, (mark if first else "    ") + line)]
