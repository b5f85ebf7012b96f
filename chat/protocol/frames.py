"""Frames out: durable events, live deltas and the answers to commands.

Every frame has type, session_id, run_id, seq, at and data, null where one does not apply; ok, error and pong have ref.
A durable frame is serialised once, for all its readers. Two values differ by reader and are null in that text:
`my_role` in session.* and `key` in message.*; `Frame.text_for` fills them in for the few who may see them.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Self

from chat.errors import ChatError
from chat.protocol.shapes import time


class Reader(NamedTuple):
    """Who reads: a user and that user's role in the session."""

    user_id: str
    role: str


dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(slots=True)
class Frame:
    """One durable event: the head that the server reads, and the text that goes out."""

    type: str
    session_id: str
    run_id: str | None
    seq: int
    attempt: int | None  # of run.* events
    message_id: str | None  # of message.* and run.* events
    author_id: str | None
    key: str | None
    text: str
    _texts: dict[str, str] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def make(
        cls,
        *,
        type: str,
        session_id: str,
        run_id: str | None,
        seq: int,
        at: datetime,
        author_id: str | None,
        data: dict[str, Any],
    ) -> Self:
        key = data.get("key")
        public = {**data, "key": None} if key is not None else data
        head = {"type": type, "session_id": session_id, "run_id": run_id, "seq": seq, "at": time(at)}
        return cls(
            type=type,
            session_id=session_id,
            run_id=run_id,
            seq=seq,
            attempt=data.get("attempt"),
            message_id=data.get("message_id"),
            author_id=author_id,
            key=key,
            text=dumps({**head, "data": public}),
        )

    def text_for(self, reader: Reader) -> str:
        if self.type.startswith("session."):
            return self._filled(reader.role, "my_role", reader.role)
        if self.key is not None and self.author_id == reader.user_id:
            return self._filled("its author", "key", self.key)
        return self.text

    def _filled(self, variant: str, name: str, value: str) -> str:
        if variant not in self._texts:
            frame = json.loads(self.text)
            frame["data"][name] = value
            self._texts[variant] = dumps(frame)
        return self._texts[variant]

    def pack(self) -> list[Any]:
        """As it travels between processes: a list that `unpack` takes."""
        return [
            self.type,
            self.session_id,
            self.run_id,
            self.seq,
            self.attempt,
            self.message_id,
            self.author_id,
            self.key,
            self.text,
        ]

    @classmethod
    def unpack(cls, packed: list[Any]) -> Self:
        return cls(*packed)


@dataclass(slots=True)
class Delta:
    """A piece of a message on its way. Offset and length in code points; offset 0 replaces, anything else appends."""

    type: str  # message.delta or reasoning.delta
    session_id: str
    run_id: str
    message_id: str
    attempt: int
    offset: int
    text: str
    opening: dict[str, Any] | None = None  # role, author and kind: told at offset 0
    clearing: int = 0  # how often the text was begun anew in this attempt; for hubs alone, no client is told
    _texts: dict[int, str] = field(default_factory=dict, compare=False, repr=False)

    def as_text(self, followed_by: Sequence[str] = ()) -> str:
        """The frame, with the texts of deltas that followed this one joined to its own.

        Serialised once for all sockets that join as many: after a delta come the same ones for all. Not to be changed
        afterwards.
        """
        text = self._texts.get(len(followed_by))
        if text is None:
            text = self._texts[len(followed_by)] = self._serialised("".join((self.text, *followed_by)))
        return text

    def _serialised(self, text: str) -> str:
        data: dict[str, Any] = {
            "message_id": self.message_id,
            "attempt": self.attempt,
            "offset": self.offset,
            "text": text,
        }
        if self.offset == 0 and self.opening:
            data.update(self.opening)
        return live(self.type, self.session_id, self.run_id, data)

    def pack(self) -> list[Any]:
        return [
            self.type,
            self.session_id,
            self.run_id,
            self.message_id,
            self.attempt,
            self.offset,
            self.text,
            self.opening,
            self.clearing,
        ]

    @classmethod
    def unpack(cls, packed: list[Any]) -> Self:
        return cls(*packed)


def live(
    type: str, session_id: str | None, run_id: str | None, data: dict[str, Any], at: datetime | None = None
) -> str:
    """A frame outside of the log."""
    return dumps(
        {
            "type": type,
            "session_id": session_id,
            "run_id": run_id,
            "seq": None,
            "at": None if at is None else time(at),
            "data": data,
        }
    )


_HEAD = re.compile(r'\{"type":"([^"]+)",.*?"seq":(\d+|null),')


def server_sent(text: str) -> str:
    """A frame as an event of an EventSource. What is in the log has an id: it is what one resumes from."""
    head = _HEAD.match(text)
    assert head is not None, "a frame begins with its head"
    kind, seq = head.groups()
    name = "" if seq == "null" else f"id: {seq}\n"
    return f"{name}event: {kind}\ndata: {text}\n\n"


def ready(user: object, heartbeat_s: float, limits: dict[str, Any], at: datetime) -> str:
    return live("connection.ready", None, None, {"user": user, "heartbeat_s": heartbeat_s, "limits": limits}, at)


def typing(session_id: str, user: object, active: bool) -> str:
    return live("typing", session_id, None, {"user": user, "active": active})


def _reply(type: str, ref: str | None, data: object, session_id: str | None = None) -> str:
    return dumps(
        {"type": type, "ref": ref, "session_id": session_id, "run_id": None, "seq": None, "at": None, "data": data},
    )


def ok(ref: str | None, data: object) -> str:
    return _reply("ok", ref, data)


def error(ref: str | None, problem: ChatError, session_id: str | None = None) -> str:
    """`session_id`: of an error that no command caused, the session that it is about."""
    return _reply("error", ref, problem.as_data(), session_id)


def pong(ref: str | None) -> str:
    return _reply("pong", ref, {})
