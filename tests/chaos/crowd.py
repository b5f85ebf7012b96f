"""Twenty questions at once, each in a session of its own, by somebody who stays whatever dies; and what must hold."""

import asyncio

from tests.fold import Row
from tests.journeys.test_answers import numbered
from tests.stack import Stack
from tests.wire import Client

# Short leases make short tests; one test keeps the real ones. Crashes are forgiven: these tests make many.
QUICK = {"CHAT_LEASE_S": "2.5", "CHAT_SWEEP_S": "0.3", "CHAT_CRASHES_MAX": "1000"}

# How many numbered words the demo LLM says, and for how many seconds.
PACES = {(20, 0.4), (100, 4), (120, 4), (200, 8), (300, 15)}


def demo(tokens: int, seconds: float) -> str:
    """Name the demo LLM that says so many words in so long a time."""
    assert (tokens, seconds) in PACES
    return f"demo?tokens={tokens}&tokens_per_s={tokens / seconds:g}"


OFFERED = [demo(*pace) for pace in sorted(PACES)]


class Crowd:
    """The sessions of one client, and the run that each asked for."""

    def __init__(self, stack: Stack, client: Client, tokens: int, seconds: float) -> None:
        self.stack, self.client, self.tokens, self.llm = stack, client, tokens, demo(tokens, seconds)
        self.runs: dict[str, str] = {}

    async def ask(self, sessions: int = 20) -> None:
        """Ask in new sessions, and wait until each answer is on its way."""
        for number in range(sessions):
            session_id = await self.client.new_session()
            await self.client.subscribe(session_id)
            self.runs[session_id] = await self.client.say(session_id, f"Question {number}", llm=self.llm)
        await self.flowing()

    async def flowing(self) -> None:
        """Wait until something of each answer is shown."""
        await asyncio.gather(*(self.client.shown(*pair) for pair in self.runs.items()))

    async def growing(self, within_s: float) -> None:
        """Wait until more of each answer is shown than now."""
        folds = self.client.folds
        shown = {session_id: len(folds[session_id].draft(run_id)) for session_id, run_id in self.runs.items()}
        grown = lambda: all(len(folds[s].draft(r)) > shown[s] for s, r in self.runs.items())  # noqa: E731
        await self.client.until(grown, "the answers go on live", within_s)

    def in_flight(self) -> int:
        return [run["status"] for run in self.rows()].count("running")

    def rows(self) -> list[Row]:
        return [self.client.folds[session_id].runs[run_id] for session_id, run_id in self.runs.items()]

    async def all_whole(self, within_s: float = 60) -> list[Row]:
        """Check that each question has its answer once and whole, and each fold is its page. Gives the runs."""
        for session_id, run_id in self.runs.items():
            [answer] = await self.client.answered(session_id, run_id, within_s=within_s)
            assert answer["content"] == numbered(self.tokens)
            assert len(self.client.folds[session_id].answers()) == 1
        await self.client.agrees(*self.runs)
        counted = self.stack.ask(
            "[Message.objects.filter(session_id=s, role='assistant').count() for s in sessions]",
            sessions=list(self.runs),
        )
        assert counted == [1] * len(self.runs)
        return self.rows()
