"""One person at one server: the open session, what is unsent, and the few things that can be asked for."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Protocol

from chat.terminal.api import Api
from chat.terminal.calls import Row
from chat.terminal.connection import Connection, delay_s
from chat.terminal.errors import Offline, Refused, Trouble
from chat.terminal.outbox import Outbox, Unsent
from chat.terminal.state import OPEN, Talk

OVER = frozenset({"already_resolved", "expired", "not_found"})  # a question that takes no answer any more
LAST = frozenset({"session.deleted", "session.member_removed", "error"})  # after which no other frame of it may come


class View(Protocol):
    """Who is told. Each call is short and comes on the loop."""

    def changed(self) -> None: ...
    def opened(self, talk: Talk) -> None: ...
    def left(self) -> None: ...
    def read_again(self, talk: Talk) -> None: ...
    def tell(self, text: str, *, error: bool = False) -> None: ...


class Client:
    def __init__(self, api: Api, view: View, agent: str | None = None) -> None:
        self.api, self.view = api, view
        self.agent = agent  # whom a new session is with; None: whom the server gives it to
        self.talk: Talk | None = None
        self.connection = Connection(api, on_frame=self._fold, on_ready=self._resume, on_change=view.changed)
        self.outbox = Outbox(self.connection, self._start_session, view.changed)
        self._answering: set[str] = set()  # questions whose answers are on their way
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve until cancelled. Raises SignInRefused."""
        serving = [asyncio.create_task(self.connection.run()), asyncio.create_task(self.outbox.run())]
        try:
            await asyncio.gather(*serving)
        finally:
            for task in (*serving, *self._tasks):
                task.cancel()

    # --- sessions --------------------------------------------------------------------------------------------------

    async def open(self, session_id: str) -> None:
        """Read a session and follow it from there. Raises Trouble."""
        self._show(Talk.of(await self.api.session(session_id)))
        if self.connection.ready.is_set():
            self._go(self._resume())

    async def leave(self) -> None:
        """Follow no session: the next message starts one."""
        left, self.talk = self.talk, None
        if left and self.connection.ready.is_set():
            self._go(self._ask_once("session.unsubscribe", {"session_id": left.session_id}))
        self.view.left()

    async def _start_session(self) -> str:
        snapshot = await self.api.create_session(self.agent)
        session_id: str = snapshot["session_id"]
        if self.talk is None:
            self._show(Talk.of(snapshot))
            self._go(self._resume())  # not waited for: what fails there would begin a second session
        return session_id

    def _show(self, talk: Talk) -> None:
        left, self.talk = self.talk, talk
        if left and left.session_id != talk.session_id and self.connection.ready.is_set():
            self._go(self._ask_once("session.unsubscribe", {"session_id": left.session_id}))
        self.view.opened(talk)

    # --- frames ----------------------------------------------------------------------------------------------------

    def _fold(self, frame: Row) -> None:
        if self.talk is None or frame["session_id"] != self.talk.session_id:
            return
        self.talk.fold(frame)
        if frame["type"] in LAST:
            self._go(self._resume())  # whether it is still there for this person, the server knows best
        self.view.changed()

    async def _resume(self) -> None:
        """Follow the open session from the last event that was taken in."""
        failures = 0
        while talk := self.talk:
            try:
                asked = {"session_id": talk.session_id, "after": talk.last_seq}
                await self.connection.ask("session.subscribe", asked)
                return
            except Refused as error:
                if error.temporary:
                    failures += 1
                    await asyncio.sleep(delay_s(failures, error, None))
                elif error.code in {"too_old", "invalid_input"} and not failures:
                    failures += 1
                    await self._read_again(talk)
                elif error.code == "not_found":
                    talk.lose()
                    self.view.tell("this session was deleted, or you no longer take part in it", error=True)
                    return
                else:
                    self.view.tell(f"this session cannot be followed: {error}", error=True)
                    return

    async def _read_again(self, old: Talk) -> None:
        """The log no longer reaches back to where this client stopped: take the state as it is and go on from there."""
        fresh = Talk.of(await self.api.session(old.session_id))
        for run_id, run in old.runs.items():
            if run["status"] in OPEN and run_id not in fresh.runs:
                fresh.runs[run_id] = await self.api.run(run_id)
        if self.talk is old:
            self.talk = fresh
            self.view.read_again(fresh)

    # --- what can be asked for -------------------------------------------------------------------------------------

    def send(self, content: str) -> Unsent:
        return self.outbox.add(content, self.talk.session_id if self.talk else None)

    def ask_again(self) -> Unsent | None:
        """Say once more what led to a question that nobody answered in time; None where there is none."""
        again = self.talk.ask_again if self.talk else None
        if self.talk is None or again is None:
            return None
        self.talk.ask_again = None
        return self.outbox.add(again["content"], self.talk.session_id, again["agent"])

    def stop(self) -> bool:
        """Stop the answer under way, now or when there is a connection again; False where there is none."""
        run = self.talk.active_run if self.talk else None
        if run:
            self._go(self._ask_until_answered("run.cancel", {"run_id": run["run_id"]}))
        return run is not None

    def retry(self) -> bool:
        """Ask for the newest answer again; False where there is none."""
        run_id = self.talk.newest_run_id if self.talk else None
        if run_id:
            self._go(self._ask_once("run.retry", {"run_id": run_id}))
        return run_id is not None

    @property
    def question(self) -> Row | None:
        """The oldest open question that was not answered here yet."""
        open_ones = self.talk.questions.values() if self.talk else ()
        return next((one for one in open_ones if one["interrupt_id"] not in self._answering), None)

    async def answer(self, question: Row, answer: Row) -> None:
        """Answer a question, now or when there is a connection again. Raises Refused."""
        asked = {"interrupt_id": question["interrupt_id"], "answer": answer}
        self._answering.add(question["interrupt_id"])
        is_sent_again = False
        try:
            while True:
                await self.connection.ready.wait()
                try:
                    await self.connection.ask("interrupt.resolve", asked)
                    return
                except Offline:
                    is_sent_again = True
                    await asyncio.sleep(delay_s(1, None, None))
        except Refused as error:
            if is_sent_again and error.code == "already_resolved":
                return  # by us, or by somebody who was faster: the frame that comes tells what it was
            if error.code not in OVER:
                self._answering.discard(question["interrupt_id"])  # it may still be answered in another way
            raise

    async def _ask_once(self, command: str, data: Row) -> None:
        try:
            await self.connection.ask(command, data)
        except Trouble as error:
            self.view.tell(str(error), error=True)

    async def _ask_until_answered(self, command: str, data: Row) -> None:
        """For what may be done twice without harm."""
        while True:
            await self.connection.ready.wait()
            try:
                await self.connection.ask(command, data)
                return
            except Offline:
                await asyncio.sleep(delay_s(1, None, None))
            except Refused as error:
                self.view.tell(str(error), error=True)
                return

    def _go(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(_quietly(work))
        self._tasks.add(task)  # the loop itself keeps only a weak reference
        task.add_done_callback(self._tasks.discard)


async def _quietly(work: Coroutine[Any, Any, None]) -> None:
    with suppress(Trouble):  # offline: the next socket takes it up
        await work
