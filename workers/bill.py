"""Which LLMs an attempt may ask, and what it costs: one line for each that was called."""

import asyncio
import logging
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django.conf import settings

from chat.actions.usage import Spending
from chat.models import Run
from chat.protocol import text_or_none
from workers.llm import prices
from workers.llm.base import Spent
from workers.llm.chain import Call

log = logging.getLogger(__name__)


def llms_of(run: Run) -> list[str]:
    """The LLMs that a run may be answered by, in their order."""
    fallbacks = settings.CHAT_FALLBACKS if run.agent.fallbacks is None else run.agent.fallbacks
    return [run.first_llm or run.agent.llm or settings.CHAT_LLM, *fallbacks]


def seconds_of(run_limit: dict[str, Any]) -> float:
    """How long a run of an agent with this limit may be worked on; 0: as long as it likes."""
    limit: float = run_limit.get("seconds", settings.CHAT_RUN_S)
    return limit


def price(llm: str, spent: Spent) -> Decimal | None:
    """What that cost, or None where nobody knows."""
    try:
        return prices.cost_usd(llm, spent, settings.CHAT_PRICES)
    except ValueError as problem:
        log.error("%s", problem)
        return None


def as_saved(run: Run, spent: Sequence[Spending]) -> dict[str, Any]:
    """What this attempt has spent, for the run's state."""
    lines = [[one.llm, one.input_tokens, one.output_tokens, text_or_none(one.cost_usd)] for one in spent]
    return {"attempt": run.attempt, "lines": lines}


def saved(run: Run) -> list[Spending]:
    """What the run's present attempt had spent when it last began a step."""
    spent = run.state.get("spent") or {"attempt": 0}
    if spent["attempt"] != run.attempt:
        return []
    return [
        Spending(llm, read, wrote, None if usd is None else Decimal(usd)) for llm, read, wrote, usd in spent["lines"]
    ]


class Bill:
    """Adds up the calls of one attempt."""

    def __init__(self) -> None:
        self._spent: dict[str, list[Spent]] = {}  # by call; the one that was called last is last
        self._costs: dict[tuple[str, Spent], Decimal | None] = {}  # each step asks again for all of them

    def add(self, call: Call) -> None:
        self._spent[call.llm] = [*self._spent.pop(call.llm, ()), call.spent]

    async def lines(self, llm: str) -> list[Spending]:
        """What each LLM cost; a line for the named one if none was called."""
        # The first price that is not in the operator's table loads the package's price list, which is slow.
        return self._lines(llm) if prices.are_at_hand(self._spent) else await asyncio.to_thread(self._lines, llm)

    def _lines(self, llm: str) -> list[Spending]:
        return [
            Spending(
                llm,
                sum(one.input_tokens for one in calls),
                sum(one.output_tokens for one in calls),
                self._cost(llm, calls),
            )
            for llm, calls in (self._spent or {llm: [Spent(0, 0)]}).items()
        ]

    def _cost(self, llm: str, calls: Sequence[Spent]) -> Decimal | None:
        """Call by call: some prices rise with the length of one prompt, and that of many is nobody's. None: unknown."""
        for one in calls:
            if (llm, one) not in self._costs:
                self._costs[llm, one] = price(llm, one)
        costs = [self._costs[llm, one] for one in calls]
        return None if None in costs else sum(filter(None, costs), Decimal(0))
