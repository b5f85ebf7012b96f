"""From the arguments to a conversation: who signs in, and on which kind of terminal."""

import argparse
import asyncio
import getpass
import io
import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress

from chat.terminal.api import Api
from chat.terminal.client import Client
from chat.terminal.errors import SignInRefused, Trouble
from chat.terminal.lines import Lines, read_lines
from chat.terminal.plain import plain_line

URL = "http://127.0.0.1:8000"


def add_arguments(parser: argparse.ArgumentParser, url: str = URL) -> None:
    parser.add_argument("session", nargs="?", metavar="SESSION", help="the id of a session to go on with")
    parser.add_argument("--url", default=url, help=f"the server (default: {url})")
    parser.add_argument("--agent", metavar="NAME", help="whom a new session is with (default: the server's choice)")
    parser.add_argument("--user", metavar="NAME", help="who you are; the password is CHAT_PASSWORD's, or asked for")


def chat(url: str, user: str | None, session_id: str | None, agent: str | None = None, *, color: bool) -> int:
    """Talk until the person, or the input, comes to an end: the exit code."""
    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    for library in ("websockets", "httpx2"):  # a line of a log would tear the picture; what matters is told anyway
        logging.getLogger(library).setLevel(logging.CRITICAL)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # an answer may hold letters that this terminal has not
    try:
        if not user and interactive:
            user = input("User: ").strip()
        if not user:
            raise Trouble("--user says who you are")
        if interactive:
            return asyncio.run(_on_screen(url, user, session_id, agent, color=color))
        return asyncio.run(_in_lines(url, user, session_id, agent))
    except (Trouble, ValueError) as error:
        print(f"chat: {plain_line(str(error))}", file=sys.stderr)
    except BrokenPipeError:
        # Nobody reads the answers any more. What is left in the buffer must not fail once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (KeyboardInterrupt, EOFError):
        return 130
    return 1


async def _in_lines(url: str, user: str, session_id: str | None, agent: str | None) -> int:
    api = Api(url, user, _ask_password)
    try:
        await api.token()
        lines = Lines(sys.stdout, sys.stderr)
        await lines.run(Client(api, lines, agent), session_id, read_lines(sys.stdin.fileno()))
    finally:
        await api.close()
    return 0


async def _on_screen(url: str, user: str, session_id: str | None, agent: str | None, *, color: bool) -> int:
    from chat.terminal.commands import show_sessions
    from chat.terminal.screen import Screen  # a pipe needs none of what it loads

    screen = Screen(color=color)
    api = Api(url, user, lambda: screen.suspended(_ask_password))
    client = Client(api, screen, agent)
    try:
        await _sign_in(api)
        screen.tell(f"{user} at {api.url}")
        if session_id:
            await client.open(session_id)
        else:
            await show_sessions(client, screen, limit=5)
            screen.tell("a message starts a new session; /open 1 goes on with one of these; /help tells more")
        with suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, screen.quit)
        return await screen.run(client)
    finally:
        await api.close()


async def _sign_in(api: Api, tries: int = 3) -> None:
    for attempt in range(1, tries + 1):
        try:
            await api.token()
            return
        except SignInRefused as error:
            if attempt == tries or "CHAT_PASSWORD" in os.environ:
                raise
            print(plain_line(str(error)), file=sys.stderr)


async def _ask_password() -> str:
    given = os.environ.get("CHAT_PASSWORD")
    if given is not None:
        return given
    # getpass would read the password from the messages where there is no terminal to ask on.
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        raise SignInRefused("CHAT_PASSWORD must hold the password where there is no terminal to ask on") from None
    return await asyncio.to_thread(getpass.getpass, "Password: ")


def main(arguments: Sequence[str] | None = None) -> int:
    """The client by itself, for a machine that has no server: `python -m chat.terminal`."""
    parser = argparse.ArgumentParser(prog="chat", description="Talk to a chat server from the terminal.")
    add_arguments(parser)
    parser.add_argument("--no-color", action="store_true", help="no colours")
    given = parser.parse_args(arguments)
    color = not given.no_color and not os.environ.get("NO_COLOR")
    return chat(given.url, given.user, given.session, given.agent, color=color)
