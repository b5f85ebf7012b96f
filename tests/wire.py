"""A client of the public wire as a person uses it: opens sessions, says things, waits for answers, compares pages."""

import asyncio
import random
from typing import Any

from tests.connection import Connection, Gone, Person, Refused
from tests.fold import Fold, Frame, Row, differences

ENDED = {"succeeded", "failed", "cancelled"}


class Client(Connection):
    """One person, and what a test wants of them."""

    async def new_session(self, **data: Any) -> str:
        session_id: str = (await self.post("/api/sessions/", data))["session_id"]
        return session_id

    async def subscribe(self, session_id: str, after: int | None = 0) -> Fold:
        """Follow a session on this socket from a seq (None: from now on), with a fold of its own."""
        data: Row = {"session_id": session_id} | ({} if after is None else {"after": after})
        fold = None if after is None else Fold(session_id, after=after)
        asked = await self._ask("session.subscribe", data, fold=fold, session_id=session_id)
        await self._answer(asked, "session.subscribe")
        return self.folds[session_id]

    async def open_page(self, session_id: str) -> Fold:
        """Follow a session as a page does: its state first, then the events after it."""
        page = await self.get(f"/api/sessions/{session_id}/")
        fold = Fold(session_id, snapshot=page)
        data = {"session_id": session_id, "after": page["last_seq"]}
        await self._answer(
            await self._ask("session.subscribe", data, fold=fold, session_id=session_id), "subscribe", 15
        )
        return fold

    async def say(self, session_id: str, content: str, **more: Any) -> str:
        """Send a message, and give the id of the run that answers it. One that stays sends until it is heard."""
        if self.stays:
            more.setdefault("key", f"{random.getrandbits(64):x}")
        while True:
            try:
                said = await self.command("message.send", session_id=session_id, content=content, **more)
            except Gone:
                if not self.stays:
                    raise
                await asyncio.sleep(0.05)
            else:
                run_id: str = said["run_id"]
                return run_id

    async def ended(self, session_id: str, *run_ids: str, within_s: float = 30) -> list[Row]:
        """Wait until runs are over, and give their rows."""
        fold = self.folds[session_id]
        over = lambda: all(fold.status(run_id) in ENDED for run_id in run_ids)  # noqa: E731
        await self.until(over, f"{len(run_ids)} runs end", within_s)
        return [fold.runs[run_id] for run_id in run_ids]

    async def answered(self, session_id: str, *run_ids: str, within_s: float = 30) -> list[Row]:
        """Wait until runs succeed, and give their answers, each of which is there once."""
        rows = await self.ended(session_id, *run_ids, within_s=within_s)
        assert [row["status"] for row in rows] == ["succeeded"] * len(rows), [row["error"] for row in rows]
        messages = self.folds[session_id].messages.values()
        answers = []
        for row in rows:
            said = [one for one in messages if one["run_id"] == row["run_id"] and one["role"] != "user"]
            assert [one["message_id"] for one in said] == [row["message_id"]], f"not one answer: {said}"
            answers += said
        return answers

    async def shown(self, session_id: str, run_id: str, characters: int = 1, within_s: float = 30) -> str:
        """Wait until some of an unfinished answer is shown, and give it."""
        fold = self.folds[session_id]
        await self.until(lambda: len(fold.draft(run_id)) >= characters, f"{characters} characters are shown", within_s)
        return fold.draft(run_id)

    async def agrees(self, *session_ids: str) -> None:
        """Check that each fold is what the session's page shows. Raises AssertionError."""
        for session_id in session_ids or tuple(self.folds):
            fold = self.folds[session_id]
            for _ in range(100):
                page = await self.get(f"/api/sessions/{session_id}/")
                reached = page["last_seq"]
                await self.until(lambda: fold.last_seq >= reached, f"seq {reached} arrives", 10)  # noqa: B023
                if fold.last_seq == reached:
                    break
            found = list(differences(fold.state(), page))
            assert not found, "the fold is not the page:\n" + "\n".join(found[:20])

    def log(self, session_id: str) -> list[Frame]:
        """Give the durable frames of a session that this client received."""
        return [f for _, f in self.received if f["session_id"] == session_id and f["seq"] is not None]


__all__ = ["Client", "Gone", "Person", "Refused"]
