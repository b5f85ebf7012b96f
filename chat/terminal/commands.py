"""What a line that begins with a slash does."""

import asyncio
from datetime import UTC, datetime
from functools import partial
from typing import Protocol

from chat.terminal.client import Client
from chat.terminal.errors import Trouble
from chat.terminal.page import Line, name
from chat.terminal.state import Row

HELP = (
    ("/sessions", "list your sessions"),
    ("/open N", "open one of the list, or one by its id"),
    ("/new", "leave this session; the next message starts another"),
    ("/retry", "ask for the newest answer again"),
    ("/stop", "stop the answer; so does Ctrl-C"),
    ("/quit", "leave; so does Ctrl-D"),
    ("//text", "send a text that begins with a slash"),
)


class Desk(Protocol):
    """The screen, as far as a command needs it."""

    listed: list[Row]

    def show(self, lines: list[Line]) -> None: ...
    def tell(self, text: str, *, error: bool = False) -> None: ...
    def quit(self) -> None: ...


async def obey(line: str, client: Client, desk: Desk) -> None:
    """Send a message, or do what the command says. Every trouble is told, none is raised."""
    if not line.startswith("/") or line.startswith("//"):
        client.send(line.removeprefix("/")).confirmed.add_done_callback(partial(_tell_if_refused, desk))
        return
    command, _, rest = line.partition(" ")
    try:
        match command, rest.strip():
            case "/help", _:
                desk.show([[("me", f"  {what:<10}"), ("note", does)] for what, does in HELP] + [[]])
            case "/quit", _:
                desk.quit()
            case "/stop", _:
                if not client.stop():
                    desk.tell("there is nothing to stop")
            case "/retry", _:
                if not client.retry():
                    desk.tell("there is no answer yet to ask for again")
            case "/new", _:
                await client.leave()
                desk.tell("the next message starts a new session")
            case "/sessions", _:
                await show_sessions(client, desk)
            case "/open", which if which:
                await client.open(_chosen(which, desk.listed))
            case "/open", _:
                desk.tell("which one? /sessions lists them, /open 2 opens the second")
            case _:
                desk.tell(f"there is no command {command}; /help lists them")
    except Trouble as error:
        desk.tell(str(error), error=True)


async def show_sessions(client: Client, desk: Desk, limit: int = 15) -> None:
    """Print the newest sessions, numbered. Raises Trouble."""
    desk.listed = await client.api.sessions(limit)
    now = datetime.now(UTC)
    lines: list[Line] = []
    for number, session in enumerate(desk.listed, 1):
        title = name(session["title"], session["session_id"])
        title = title if len(title) <= 44 else title[:43] + "…"
        when = age((now - datetime.fromisoformat(session["updated_at"])).total_seconds())
        lines.append([("me", f"  {number:>2}  "), ("text", f"{title:<45}"), ("note", f"{session['status']}, {when}")])
    desk.show([*lines, []] if lines else [[("note", "  · no sessions yet")], []])


def age(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "just now"


def _tell_if_refused(desk: Desk, confirmed: "asyncio.Future[Row]") -> None:
    if not confirmed.cancelled() and (error := confirmed.exception()):
        desk.tell(f"not sent: {error}", error=True)


def _chosen(which: str, listed: list[Row]) -> str:
    if not which.isdigit():
        return which
    if not 1 <= int(which) <= len(listed):
        raise Trouble(f"the list has no number {which}; /sessions shows it")
    session_id: str = listed[int(which) - 1]["session_id"]
    return session_id
