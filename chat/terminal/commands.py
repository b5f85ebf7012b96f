"""What a line that begins with a slash does."""

import asyncio
from datetime import UTC, datetime
from functools import partial
from typing import Protocol

from chat.terminal.calls import NoAnswer, Row, args_text, read_answer, read_args
from chat.terminal.client import Client
from chat.terminal.errors import Trouble
from chat.terminal.page import Line, name

HELP = (
    ("/sessions", "list your sessions"),
    ("/open N", "open one of the list, or one by its id"),
    ("/new [AGENT]", "leave this session; the next message starts another, with that agent"),
    ("/retry", "ask for the newest answer again"),
    ("/again", "be asked once more what nobody answered in time"),
    ("/stop", "stop the answer; so does Ctrl-C"),
    ("/args {…}", "approve what is asked for, with these arguments instead"),
    ("/quit", "leave; so does Ctrl-D"),
    ("//text", "send a text that begins with a slash"),
)


class Desk(Protocol):
    """The screen, as far as a command needs it."""

    listed: list[Row]

    def show(self, lines: list[Line]) -> None: ...
    def edit(self, text: str) -> None: ...
    def tell(self, text: str, *, error: bool = False) -> None: ...
    def quit(self) -> None: ...


async def obey(line: str, client: Client, desk: Desk, meant_for: str = "") -> None:
    """Send a message, answer the open question, or do what the command says. Every trouble is told, none is raised.

    `meant_for` is the question that was open when the line was begun.
    """
    if await _answers(line, client, desk, meant_for):
        return
    if not line.startswith("/") or line.startswith("//"):
        client.send(line.removeprefix("/")).confirmed.add_done_callback(partial(_tell_if_refused, desk))
        return
    command, _, rest = line.partition(" ")
    try:
        match command, rest.strip():
            case "/help", _:
                desk.show([[("me", f"  {what:<13}"), ("note", does)] for what, does in HELP] + [[]])
            case "/quit", _:
                desk.quit()
            case "/stop", _:
                if not client.stop():
                    desk.tell("there is nothing to stop")
            case "/retry", _:
                if not client.retry():
                    desk.tell("there is no answer yet to ask for again")
            case "/again", _:
                if (unsent := client.ask_again()) is None:
                    desk.tell("nothing has run out of time")
                else:
                    unsent.confirmed.add_done_callback(partial(_tell_if_refused, desk))
            case "/new", agent:
                await client.leave()
                client.agent = agent or client.agent
                desk.tell("the next message starts a new session" + (f" with {agent}" if agent else ""))
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


async def _answers(line: str, client: Client, desk: Desk, meant_for: str) -> bool:
    """Whether the line had to do with a question: then it is answered, or whoever wrote it told what is wrong."""
    question, is_args = client.question, line.startswith("/args ")
    if question is None or (line.startswith("/") and not is_args):
        if is_args:
            desk.tell("nothing is asked that has arguments")
        return is_args
    is_approval = question["reason"] == "approval"
    if is_approval and not is_args and line.strip().lower() in {"e", "edit"}:
        desk.edit(f"/args {args_text(question)}")
        return True
    try:
        answer = read_args(line.removeprefix("/args ")) if is_args and is_approval else read_answer(question, line)
    except NoAnswer as problem:
        if is_approval and not is_args:
            return False  # a message like any other: it waits for its turn
        desk.tell(str(problem), error=True)
        return True
    if meant_for != question["interrupt_id"]:
        desk.tell("this was asked while you wrote: read it, then send your line or change it", error=True)
        desk.edit(line)
        return True
    try:
        await client.answer(question, answer)
    except Trouble as error:
        desk.tell(f"not answered: {error}", error=True)
    return True


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
    if not which.isdecimal():
        return which
    if not 1 <= int(which) <= len(listed):
        raise Trouble(f"the list has no number {which}; /sessions shows it")
    session_id: str = listed[int(which) - 1]["session_id"]
    return session_id
