"""Workers die with calls of tools between effect and record, and while people are asked; what then must hold."""

from collections import Counter
from dataclasses import dataclass, field

import pytest

from tests.connection import Refused
from tests.deeds import AGENT, Deeds
from tests.fold import Row
from tests.processes import eventually
from tests.stack import Stack
from tests.wire import Client

KINDS = ("peek", "stamp", "launch")  # pure, idempotent, once
HAPPENED, AGAIN, LEAVE = "It happened", "It did not happen: call it", "Leave it"


async def ask(client: Client, content: str) -> tuple[str, str]:
    """Ask in a session of its own."""
    session_id = await client.new_session()
    await client.subscribe(session_id)
    return session_id, await client.say(session_id, content, agent=AGENT)


@dataclass
class LostCalls:
    """So many calls, each of which is made and not written down when its worker is killed."""

    stack: Stack
    deeds: Deeds
    client: Client
    count: int
    runs: dict[str, str] = field(default_factory=dict)  # by session
    chosen: dict[str, str] = field(default_factory=dict)  # what people said of each call

    async def lose(self) -> None:
        """Have them made by a worker that stops before it writes, and kill it."""
        doomed = self.stack.add_worker(CHAT_FAILPOINTS="tool.made=rest:600")
        for number in range(self.count):
            session_id, run_id = await ask(self.client, f"Please {KINDS[number % 3]} {number + 1000}")
            self.runs[session_id] = run_id
        eventually(lambda: len(self.deeds.done()) == self.count, "every effect is there, and no record", 60)
        assert {status for _, status in self.ledger().values()} == {"called"}
        doomed.kill()

    @property
    def launched(self) -> int:
        return len(range(KINDS.index("launch"), self.count, len(KINDS)))

    async def recover(self) -> None:
        """Let another worker go on, and count what it did again."""
        rescuer = self.stack.add_worker()
        await self._until(succeeded=self.count - self.launched, interrupted=self.launched)
        assert set(self.deeds.times("peek").values()) == {2}
        assert set(self.deeds.times("stamp").values()) == {2}, "each with its own key, which came again"
        assert set(self.deeds.times("launch").values()) == {1}
        assert Counter(self.ledger().values())["launch", "unknown"] == self.launched
        rescuer.kill()  # nobody is needed while people think

    async def answer(self) -> None:
        """Say what became of each call, and have what was asked for done; an answer that comes again counts once."""
        for question, choice in zip(self._open(), [HAPPENED, AGAIN, LEAVE] * self.count, strict=False):
            answer = {"interrupt_id": question["interrupt_id"], "answer": {"choice": choice}}
            await self.client.command("interrupt.resolve", **answer)
            with pytest.raises(Refused, match="already_resolved"):
                await self.client.command("interrupt.resolve", **answer)
            self.chosen[question["payload"]["tool_call_id"]] = choice
        assert len(self.chosen) == self.launched
        self.stack.add_worker()
        await self._until(succeeded=self.count)
        times, rows = self.deeds.times("launch"), self.ledger()
        expected = {HAPPENED: (1, "returned"), AGAIN: (2, "returned"), LEAVE: (1, "failed")}
        for key, choice in self.chosen.items():
            assert (times[key], rows[key][1]) == expected[choice]
        await self.client.agrees()

    def _open(self) -> list[Row]:
        rows = [row for session_id in self.runs for row in self.client.folds[session_id].interrupts.values()]
        return [row for row in rows if row["status"] == "open"]

    async def _until(self, **expected: int) -> None:
        folds = self.client.folds
        statuses = lambda: Counter(folds[session_id].status(run_id) for session_id, run_id in self.runs.items())  # noqa: E731
        await self.client.until(lambda: statuses() == expected, f"the runs are {expected}", 60)

    def ledger(self) -> dict[str, tuple[str, str]]:
        """Each call's tool and status."""
        rows = self.stack.ask("list(ToolCall.objects.values_list('id', 'tool', 'status'))")
        return {key: (tool, status) for key, tool, status in rows}
