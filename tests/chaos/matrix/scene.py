"""What a fault is: a number in the matrix, what is injected, what must hold; and the stage on which it is played."""

import asyncio
import random
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.matrix.audience import Audience, Tally, until
from tests.chaos.matrix.paces import OFFERED
from tests.stack import Stack, Workshop

# As users have it: the lease is 5 s. Only what would bound the load, or end a token during a run, is lifted.
ENV = {"CHAT_LLMS": ",".join(OFFERED), "CHAT_ACCESS_TOKEN_S": "86400"}


class NotPlayed(Exception):
    """This machine cannot play the fault, and why."""


@dataclass
class Scene:
    """One database's stage: its servers, the dice, and what the play is to last."""

    workshop: Workshop
    database: str
    dice: random.Random
    tell: Callable[[str], None]
    kills: int = 50
    hits: int = 1000
    _shared: Stack | None = field(default=None, init=False)
    _own: list[Stack] = field(default_factory=list, init=False)

    @property
    def is_sqlite(self) -> bool:
        return self.database == "sqlite"

    @property
    def stack(self) -> Stack:
        """Two web processes, two workers, Redis and an LLM's server, whole at the start of each fault."""
        if self._shared is None:
            self._shared = Stack(self.workshop, self.database, webs=2, workers=2, llm=True, env=ENV).start()
        return self._shared

    def new_stack(self, **options: Any) -> Stack:
        """Servers of this fault's own."""
        options["env"] = ENV | options.pop("env", {})
        stack = Stack(self.workshop, self.database, **options)
        self._own.append(stack)
        return stack

    def audience(self, stack: Stack | None = None, **options: Any) -> Audience:
        return Audience(stack or self.stack, self.dice, **options)

    def clear(self, *, failed: bool = False) -> None:
        """Make the stage ready for the next fault."""
        for stack in self._own:
            stack.end()
        self._own.clear()
        if self._shared is not None:
            if failed:  # whatever is left of it may fail the next one
                self._shared.end()
                self._shared = None
            else:
                self._shared.heal()

    def end(self) -> None:
        self.clear(failed=True)

    def logs(self) -> str:
        stacks = [*self._own, *([self._shared] if self._shared else [])]
        parts = [part for stack in stacks for part in stack.parts if part.log.exists()]
        return "\n".join(f"--- {part!r}\n{part.tail(200)}" for part in parts)


@dataclass
class Found:
    """What a play came to: how often the fault was injected, the count of all that was asked, and figures."""

    times: int
    tally: Tally | None = None
    note: str = ""
    figures: dict[str, float] = field(default_factory=dict)
    failure: str = ""  # a figure that is not good enough; what cannot go on raises


Play = Callable[[Scene], Awaitable[Found]]


@dataclass(frozen=True)
class Fault:
    number: int
    name: str
    injected: str
    holds: str
    play: Play | None = None  # None: it is explained, not played
    only: str = ""  # a database
    within_s: float = 150

    @property
    def slug(self) -> str:
        """Its name as a word of the command line."""
        return "-".join(re.findall(r"[a-z0-9]+", self.name.lower()))

    @property
    def why_not(self) -> str:
        return self.holds if self.play is None else ""


FAULTS: list[Fault] = []


def fault(number: int, name: str, injected: str, holds: str, **options: Any) -> Callable[[Play], Play]:
    def register(play: Play) -> Play:
        FAULTS.append(Fault(number, name, injected, holds, play, **options))
        return play

    return register


def explained(number: int, name: str, injected: str, why: str) -> None:
    """A fault of the matrix that is not played here, and why."""
    FAULTS.append(Fault(number, name, injected, why))


async def off(call: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Do what blocks beside the loop, so that the clients go on reading."""
    return await asyncio.to_thread(call, *args, **options)


async def restart(*parts: Any) -> None:
    """Start what was killed, and wait until all of it is ready."""
    for part in parts:
        part.spawn()
    for part in parts:
        await off(part.wait_ready)


__all__ = ["FAULTS", "Audience", "Fault", "Found", "NotPlayed", "Scene", "Tally", "fault", "off", "restart", "until"]
