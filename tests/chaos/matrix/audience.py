"""People who talk all the time, each on a socket that comes back; and the count of what became of their questions."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any, Self

import httpx2

from tests.chaos.matrix.paces import STEADY, Pace, is_begun_rightly
from tests.connection import AWAY
from tests.fold import Frame
from tests.stack import Stack
from tests.wire import ENDED, Client, Gone, Refused

SUSPICIOUS = "lost", "doubled", "glued", "differing", "broken"


@dataclass(frozen=True)
class Asked:
    session_id: str
    run_id: str
    content: str
    answer: str
    client: "Watcher"


@dataclass
class Tally:
    """What became of all that was asked. Each number but the first must be 0."""

    asked: int = 0
    lost: int = 0  # never answered
    doubled: int = 0  # asked, answered or finished twice
    glued: int = 0  # not exactly the words of one attempt, at any moment on any screen
    differing: int = 0  # sessions whose frames do not fold to their page
    broken: int = 0  # clients that were sent what the wire forbids: a gap, a repeat, a late delta
    details: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not any(getattr(self, name) for name in SUSPICIOUS)

    def __add__(self, other: "Tally") -> "Tally":
        sums = {name: getattr(self, name) + getattr(other, name) for name in ("asked", *SUSPICIOUS)}
        return Tally(**sums, details=self.details + other.details)

    def __str__(self) -> str:
        return ", ".join(f"{getattr(self, name)} {name}" for name in ("asked", *SUSPICIOUS))


@dataclass(eq=False)
class Watcher(Client):
    """A client that stays, and looks at every piece of every answer as it comes."""

    over: set[str] = field(default_factory=set)
    first_seen: dict[tuple[str, int], float] = field(default_factory=dict)  # (run, attempt): its first piece
    restarted: dict[tuple[str, int], str] = field(default_factory=dict)  # (run, the attempt to come): the reason
    glued: dict[str, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)  # how often something was sent again, refused, …

    def __post_init__(self) -> None:
        super().__post_init__()
        self._ends: dict[str, asyncio.Future[None]] = {}
        self._longest: dict[tuple[str, int], int] = {}  # (run, attempt): the most that was shown of it
        self.grew: set[str] = set()  # sessions in which words were shown that had not been
        self.unheard: set[str] = set()  # keys of what was said and is not answered yet

    def _take(self, frame: Frame) -> None:
        super()._take(frame)
        if len(self.received) > 1000:
            del self.received[:-20]
        kind, run_id = frame["type"], frame["run_id"]
        if kind == "message.delta":
            attempt = run_id, frame["data"]["attempt"]
            self.first_seen.setdefault(attempt, time.monotonic())
            shown = self.folds[frame["session_id"]].draft(run_id)
            if len(shown) > self._longest.get(attempt, 0):
                self._longest[attempt] = len(shown)
                self.grew.add(frame["session_id"])
            if not is_begun_rightly(shown):
                self.glued.setdefault(run_id, shown)
        elif kind == "run.restarted":
            self.restarted[run_id, frame["data"]["attempt"]] = frame["data"]["reason"]
        elif kind.startswith("run.") and frame["data"]["status"] in ENDED:
            self.over.add(run_id)
            if run_id in self._ends and not self._ends[run_id].done():
                self._ends[run_id].set_result(None)

    @property
    def problem(self) -> BaseException | None:
        return self._broken

    async def arrive(self) -> None:
        """Connect, and again where a server that has just started takes its time."""
        for _ in range(5):
            with suppress(*AWAY):
                return await self.connect()
            await asyncio.sleep(0.2)
        return await self.connect()

    async def end_of(self, run_id: str) -> None:
        if run_id not in self.over:
            await self._ends.setdefault(run_id, asyncio.get_running_loop().create_future())

    async def ask(self, session_id: str, content: str, llm: str) -> str:
        """Say something until it is heard, always with the same key, as a client must. Gives the run."""
        key = f"{random.getrandbits(64):x}"
        self.unheard.add(key)
        while True:
            try:
                data = {"session_id": session_id, "content": content, "llm": llm, "key": key}
                run_id: str = (await self.command("message.send", **data))["run_id"]
                self.unheard.discard(key)
                return run_id
            except Gone:
                self.counts["sent again"] += 1
                await asyncio.sleep(0.05)
            except Refused as problem:
                if not problem.error["temporary"]:
                    raise
                self.counts["refused for now"] += 1
                await asyncio.sleep(0.5)


class Audience:
    """Some clients with some sessions each, in all of which a question is asked as soon as the last one is answered."""

    def __init__(
        self, stack: Stack, dice: random.Random, *, clients: int = 4, sessions: int = 20, pace: Pace = STEADY,
        webs: tuple[int, ...] = (0, 1), llms: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        self.stack, self.dice, self.pace, self.sessions = stack, dice, pace, sessions
        urls = [stack.webs[web].url for web in webs]
        person = stack.person("ada")
        self.clients = [
            Watcher(urls[n % len(urls) :] + urls[: n % len(urls)], person, stays=True) for n in range(clients)
        ]
        self.talks: list[tuple[Watcher, str]] = []
        self.asked: list[Asked] = []
        self._llms = cycle(llms or pace.names(scripted=stack.llm is not None))
        self._talking: list[asyncio.Task[None]] = []
        self.counts: Counter[str] = Counter()
        self._enough = False

    async def __aenter__(self) -> Self:
        for client in self.clients:
            await client.arrive()
        for client, _ in zip(cycle(self.clients), range(self.sessions), strict=False):
            session_id = await client.new_session()
            await client.subscribe(session_id)
            self.talks.append((client, session_id))
        return self

    async def __aexit__(self, *problem: object) -> None:
        self._enough = True  # Python's wait_for may swallow the one cancellation that it is told of
        for task in self._talking:
            task.cancel()
        if self._talking:
            await asyncio.wait(self._talking, timeout=15)
        for client in self.clients:
            client._broken = None  # it is told in the tally
            if client._reader is not None:
                client._reader.cancel()
            await client.drop()
            await client.close_http()

    # -- talking -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Ask in every session, again and again."""
        self._talking = [asyncio.create_task(self._talk(*talk)) for talk in self.talks]

    async def _talk(self, client: Watcher, session_id: str) -> None:
        await asyncio.sleep(self.dice.uniform(0, self.pace.seconds / 2))  # not all in step
        while not self._enough:
            await client.end_of((await self.ask(client, session_id)).run_id)

    async def ask(self, client: Watcher, session_id: str) -> Asked:
        llm, content = next(self._llms), f"Question {len(self.asked)} {self.dice.getrandbits(40):x}"
        run_id = await client.ask(session_id, content, llm)
        asked = Asked(session_id, run_id, content, self.pace.text(llm), client)
        self.asked.append(asked)
        return asked

    async def stop(self, within_s: float = 60) -> Tally:
        """Ask no more, wait for the last answers, and count."""
        self._enough = True
        assert self.asked or not self._talking, "nobody had asked anything: what then was not noticed?"
        if self._talking:
            done, late = await asyncio.wait(self._talking, timeout=within_s)
            for task in late:
                task.cancel()
            for task in done:
                task.result()
        return await self.tally()

    def streaming(self) -> dict[str, int]:
        """The runs of which something is shown now, and their attempts."""
        shown = {}
        for client, session_id in self.talks:
            for draft in client.folds[session_id].drafts.values():
                shown[draft.run_id] = draft.attempt
        return shown

    async def flowing(self, share: float = 0.9, within_s: float = 45) -> None:
        """Wait until most sessions show an answer on its way."""
        await until(lambda: len(self.streaming()) >= share * len(self.talks), "answers are on their way", within_s)

    async def heard(self, within_s: float) -> None:
        """Wait until everything that was said by now is answered with an ok."""
        waiting = [(client, key) for client in self.clients for key in client.unheard]
        await until(lambda: not any(key in client.unheard for client, key in waiting), "all is heard", within_s)

    async def growing(self, within_s: float) -> float:
        """Wait until in most sessions words were shown that had not been, and give how long it took."""
        begun = time.monotonic()
        for client in self.clients:
            client.grew.clear()
        grown = lambda: sum(len(client.grew) for client in self.clients) >= 0.9 * len(self.talks)  # noqa: E731
        await until(grown, "the answers go on live", within_s)
        return time.monotonic() - begun

    def count(self, what: str) -> int:
        return sum(client.counts[what] for client in self.clients)

    def restarts(self, reason: str) -> int:
        return sum(list(client.restarted.values()).count(reason) for client in self.clients)

    def none_began_anew(self) -> None:
        """Check that no answer was begun anew as if its worker were lost."""
        anew = self.restarts("worker_lost")
        assert anew == 0, f"{anew} answers began anew"

    def most_restarts(self, reason: str) -> int:
        """How often the one answer was begun anew that was so most often."""
        # Each of a client's runs is its own, and in `restarted` once for each attempt.
        times = Counter(run for client in self.clients for (run, _), why in client.restarted.items() if why == reason)
        return max(times.values(), default=0)

    # -- counting ----------------------------------------------------------------------------------------------------

    async def tally(self) -> Tally:
        found = count_rows(self.asked, await rows_of(self.stack, [session_id for _, session_id in self.talks]))
        for client in self.clients:
            for run_id, shown in client.glued.items():
                found.glued += 1
                found.details.append(f"run {run_id} was shown as {shown[:200]!r}")
            if client.problem is not None:
                found.broken += 1
                found.details.append(f"a client broke: {client.problem!r}"[:600])
        for client, session_id in self.talks:
            if client.problem is None:
                try:
                    await self._agrees(client, session_id)
                except (AssertionError, Refused) as problem:
                    found.differing += 1
                    found.details.append(f"session {session_id}: {problem}"[:600])
        return found

    async def _agrees(self, client: Watcher, session_id: str) -> None:
        for _ in range(20):
            with suppress(httpx2.TransportError, Refused):  # for now: asked again, as a page would
                return await client.agrees(session_id)
            self.counts["pages asked again"] += 1
            await asyncio.sleep(0.3)
        return await client.agrees(session_id)


async def rows_of(stack: Stack, sessions: list[str]) -> dict[str, list[Any]]:
    """What the table says about some sessions."""
    questions = {
        "answers": "Message.objects.filter(session_id__in=s, role='assistant').values_list('run_id', 'content')",
        "said": "Message.objects.filter(session_id__in=s, role='user').values_list('content', flat=True)",
        "runs": "Run.objects.filter(session_id__in=s).values_list('id', 'message__content', 'status')",
        "succeeded": "Event.objects.filter(session_id__in=s, type='run.succeeded').values_list('run_id', flat=True)",
    }
    return {name: await asyncio.to_thread(stack.ask, f"list({query})", s=sessions) for name, query in questions.items()}


def count_rows(asked: list[Asked], rows: dict[str, list[Any]]) -> Tally:
    """Compare what was asked with what the table says."""
    tally = Tally(asked=len(asked))
    answers: dict[str, list[str]] = {}
    for run_id, content in rows["answers"]:
        answers.setdefault(run_id, []).append(content)
    said, succeeded = Counter(rows["said"]), Counter(rows["succeeded"])
    runs = Counter(content for _, content, _ in rows["runs"])
    status = {run_id: status for run_id, _, status in rows["runs"]}
    for one in asked:
        texts = answers.get(one.run_id, [])
        if not texts or status.get(one.run_id) != "succeeded":
            tally.lost += 1
            tally.details.append(f"run {one.run_id} has no answer: it is {status.get(one.run_id)}")
        if max(len(texts), said[one.content], runs[one.content], succeeded[one.run_id]) > 1:
            tally.doubled += 1
            tally.details.append(f"run {one.run_id}: {len(texts)} answers, asked {said[one.content]} times")
        if any(text.split() != one.answer.split() for text in texts):
            tally.glued += 1
            tally.details.append(f"run {one.run_id} was answered {texts[0][:200]!r}")
    return tally


async def until(holds: Callable[[], Any], what: str, within_s: float, every_s: float = 0.05) -> Any:
    """Wait on the loop until something holds. Raises AssertionError."""
    deadline = time.monotonic() + within_s
    while not (value := holds()):
        assert time.monotonic() < deadline, f"{what}: not within {within_s:g} s"
        await asyncio.sleep(every_s)
    return value
