"""Without a terminal: a line in is a message, an answer is what comes out. For pipes and scripts.

A question that the agent asks goes to the other output, and the next line answers it. Where there is none, or it is no
answer, the program ends with an error: it never says yes by itself, and never waits for a person that is not there.
"""

import asyncio
import codecs
import os
import threading
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, TextIO

from chat.terminal.calls import NoAnswer, Row, how_to_answer, question_line, read_answer
from chat.terminal.client import OVER, Client
from chat.terminal.errors import Offline, Refused, Trouble
from chat.terminal.plain import plain
from chat.terminal.state import OPEN, Item, Talk

PATIENCE_S = 60.0  # without a connection, or with a message that is not taken; a script then fails
PIECE = 64 * 1024  # bytes that are read at once
PIECES = 16  # that wait at most: who writes endlessly waits for the answers, as in any pipe


class Lines:
    """Sends a line, waits for its answer, takes the next. Only whole and valid answers are written."""

    def __init__(self, out: TextIO, asked: TextIO) -> None:
        self._out = out
        self._asked = asked  # where questions go
        self._next: asyncio.Task[str | None] | None = None  # the line that is being read
        self._changed = asyncio.Event()
        self._failed: Trouble | None = None

    async def run(self, client: Client, session_id: str | None, lines: AsyncIterator[str]) -> None:
        """Work through the lines. Raises Trouble: nothing after it was sent."""
        await client.open(session_id or (await client.api.create_session(client.agent))["session_id"])
        tasks: list[asyncio.Task[Any]] = [
            asyncio.create_task(client.run()),
            asyncio.create_task(self._be_patient(client)),
            asyncio.create_task(self._talk(client, lines)),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                await task
        finally:
            if self._next:
                tasks.append(self._next)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _talk(self, client: Client, lines: AsyncIterator[str]) -> None:
        while (line := await self._reading(lines)) is not None:
            self._next = None
            confirmed = await client.send(line).confirmed
            if confirmed["run_id"] is None:
                continue  # nobody was asked to answer
            for answer in await self._answers(client, confirmed, lines):
                self._out.write(plain(answer.text).rstrip("\n") + "\n")
                self._out.flush()
                if answer.remark:
                    self._asked.write(plain(f"({answer.remark})\n"))
                    self._asked.flush()

    def _reading(self, lines: AsyncIterator[str]) -> "asyncio.Task[str | None]":
        """The next line that says something, or None at the end; the same one until it is taken."""
        if self._next is None:
            self._next = asyncio.create_task(_next_of(lines))
        return self._next

    async def _answers(self, client: Client, confirmed: Row, lines: AsyncIterator[str]) -> list[Item]:
        shown = ""
        while True:
            self._changed.clear()
            said = client.talk.item(confirmed["message_id"]) if client.talk else None
            # What joins a run is not its own before it has read it: where that one ends first, another answers.
            run_id = (said.run_id if said else confirmed["run_id"]) or ""
            run = client.talk.runs.get(run_id) if client.talk else None
            if client.talk and run and run["status"] == "succeeded":
                return client.talk.answers_of(run_id)
            if run and run["status"] not in OPEN:
                raise Trouble(run["error"]["message"] if run["error"] else "the answer was stopped")
            if self._failed:
                raise self._failed
            question = client.question
            if question is None:
                await self._changed.wait()
                continue
            if shown != question["interrupt_id"]:
                shown = question["interrupt_id"]
                self._ask(question)
            await self._answer(client, question, lines)

    def _ask(self, question: Row) -> None:
        self._asked.write(plain(f"{question_line(question)}\n  ({how_to_answer(question)})\n"))
        self._asked.flush()

    async def _answer(self, client: Client, question: Row, lines: AsyncIterator[str]) -> None:
        """Answer with the next line, unless something else becomes of the question first."""
        reading, changing = self._reading(lines), asyncio.create_task(self._changed.wait())
        try:
            await asyncio.wait({reading, changing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            changing.cancel()
        if not reading.done() or client.question is not question:
            return
        self._next, line = None, reading.result()
        if line is None:
            raise Trouble("the agent asks a question, and there is no line left to answer it")
        try:
            answer = read_answer(question, line)
        except NoAnswer as problem:
            raise Trouble(f"the line after a question is no answer to it: {problem}") from None
        try:
            await client.answer(question, answer)
        except Refused as error:
            if error.code not in OVER:
                raise

    async def _be_patient(self, client: Client) -> None:
        well_at = time.monotonic()
        while time.monotonic() - well_at < PATIENCE_S:
            if client.connection.ready.is_set() and not client.outbox.holdup:
                well_at = time.monotonic()
            await asyncio.sleep(1.0)
        raise Offline(client.outbox.holdup or client.connection.problem or "no connection")

    def changed(self) -> None:
        self._changed.set()

    def opened(self, talk: Talk) -> None:
        self._changed.set()

    def left(self) -> None:
        self._changed.set()

    def read_again(self, talk: Talk) -> None:
        self._changed.set()

    def tell(self, text: str, *, error: bool = False) -> None:
        if error:
            self._failed = Trouble(text)
        self._changed.set()


async def _next_of(lines: AsyncIterator[str]) -> str | None:
    async for line in lines:
        if line.strip():
            return line
    return None


async def read_lines(descriptor: int) -> AsyncIterator[str]:
    """Each line of a file, pipe or socket.

    A thread reads it, as a plain file cannot be polled; it is never waited for, so an error ends the program though no
    line comes. It stays away from sys.stdin, whose lock it would hold at exit.
    """
    loop, queue, room = asyncio.get_running_loop(), asyncio.Queue[bytes](), threading.Semaphore(PIECES)

    def read() -> None:
        data = b"-"
        while data:
            room.acquire()
            try:
                data = os.read(descriptor, PIECE)
            except OSError:
                data = b""
            with suppress(RuntimeError):  # the loop is closed: nobody listens any more
                loop.call_soon_threadsafe(queue.put_nowait, data)

    threading.Thread(target=read, name="stdin", daemon=True).start()
    decoder, rest = codecs.getincrementaldecoder("utf-8")(errors="replace"), ""
    while data := await queue.get():
        room.release()
        *lines, rest = (rest + decoder.decode(data)).split("\n")
        for line in lines:
            yield line.rstrip("\r")
    if rest := rest + decoder.decode(b"", final=True):
        yield rest
