"""Rows and frames of the wire, written by hand: the client is tested against the contract, not the server's code."""

from typing import Any

Row = dict[str, Any]
AT = "2026-01-01T00:00:00.000000Z"
SESSION = "5e551011-0000-4000-8000-000000000001"


def frame(type: str, seq: int | None, data: Row, session_id: str = SESSION, run_id: str | None = None) -> Row:
    at = AT if seq else None
    return {"type": type, "session_id": session_id, "run_id": run_id, "seq": seq, "at": at, "data": data}


def session(session_id: str = SESSION, **changed: Any) -> Row:
    row: Row = {
        "session_id": session_id,
        "title": "Disk full",
        "status": "waiting",
        "agent": "assistant",
        "incident_id": None,
        "parent_id": None,
        "metadata": {},
        "my_role": "owner",
        "last_seq": 0,
        "created_at": AT,
        "updated_at": AT,
    }
    return row | changed


def message(message_id: str, content: str, role: str = "assistant", **changed: Any) -> Row:
    kind, name = ("agent", "AI") if role == "assistant" else ("user", "Ada") if role == "user" else ("system", "")
    row: Row = {
        "message_id": message_id,
        "session_id": SESSION,
        "run_id": "run-1",
        "parent_id": None,
        "key": "k" if role == "user" else None,
        "role": role,
        "author": {"kind": kind, "name": name, "title": "", "avatar": "", "color": ""},
        "kind": "text",
        "category": "chat",
        "content": content,
        "data": {},
        "attachments": [],
        "created_at": AT,
        "updated_at": AT,
        "deleted_at": None,
    }
    return row | changed


def run(status: str, run_id: str = "run-1", **changed: Any) -> Row:
    row: Row = {
        "run_id": run_id,
        "session_id": SESSION,
        "message_id": None,
        "status": status,
        "position": 1,
        "attempt": 1,
        "crashes": 0,
        "agent": "assistant",
        "llm": "demo",
        "fallback_status": None,
        "usage": {"input_tokens": 0, "output_tokens": 0, "cost_usd": 0.0},
        "error": None,
        "queued_at": AT,
        "started_at": None,
        "interrupted_at": None,
        "succeeded_at": None,
        "failed_at": None,
        "cancelled_at": None,
    }
    return row | changed


def tool_call(status: str, tool_call_id: str = "c1", run_id: str = "run-1", **changed: Any) -> Row:
    """The message that shows a call of a tool."""
    args = {"order_id": "1001"}
    call = {"tool_call_id": tool_call_id, "tool": "cancel_order", "args": args, "status": status, "access": "write"}
    row = message(tool_call_id, "", "tool", run_id=run_id, category="agent")
    return row | {"data": {"tool_call": call | changed}}


def interrupt(prompt: str, reason: str = "question", interrupt_id: str = "i1", **changed: Any) -> Row:
    row: Row = {
        "interrupt_id": interrupt_id,
        "session_id": SESSION,
        "run_id": "run-1",
        "reason": reason,
        "prompt": prompt,
        "payload": {},
        "answer_schema": {},
        "status": "open",
        "answer": None,
        "resolved_by": None,
        "expires_at": None,
        "created_at": AT,
    }
    return row | changed


def delta(message_id: str, offset: int, text: str, run_id: str = "run-1", session_id: str = SESSION) -> Row:
    data: Row = {"message_id": message_id, "attempt": 1, "offset": offset, "text": text}
    if offset == 0:
        author = {"kind": "agent", "name": "AI", "title": "", "avatar": "", "color": ""}
        data |= {"role": "assistant", "author": author, "kind": "text"}
    return frame("message.delta", None, data, session_id, run_id)
