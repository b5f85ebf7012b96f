"""What an attempt is asked of, and what it costs: one line for each LLM that was called."""

import logging
from decimal import Decimal

from django.conf import settings

from chat.actions.attempts import Spending
from chat.models import Run
from workers.llm import prices
from workers.llm.base import Spent
from workers.llm.chain import Call

log = logging.getLogger(__name__)


def llms_of(run: Run) -> list[str]:
    """The LLMs that a run may be answered by, in their order."""
    fallbacks = settings.CHAT_FALLBACKS if run.agent.fallbacks is None else run.agent.fallbacks
    return [run.llm or run.agent.llm or settings.CHAT_LLM, *fallbacks]


def seconds_of(run: Run) -> float:
    """How long a run may be worked on; 0: as long as it likes."""
    limit: float = run.agent.run_limit.get("seconds", settings.CHAT_RUN_S)
    return limit


def price(llm: str, spent: Spent) -> Decimal | None:
    """What that cost, or None where nobody knows."""
    try:
        return prices.cost_usd(llm, spent, settings.CHAT_PRICES)
    except ValueError as problem:
        log.error("%s", problem)
        return None


class Bill:
    """Adds up the calls of one attempt."""

    def __init__(self) -> None:
        self._spent: dict[str, Spent] = {}  # the one that was called last is last

    def add(self, call: Call) -> None:
        before = self._spent.pop(call.llm, Spent(0, 0))
        self._spent[call.llm] = Spent(
            before.input_tokens + call.spent.input_tokens,
            before.output_tokens + call.spent.output_tokens,
            before.cached_tokens + call.spent.cached_tokens,
        )

    def lines(self, llm: str) -> list[Spending]:
        """What each LLM cost; of the named one where none was called.

        In a thread: the first price of a process loads a list of them.
        """
        return [
            Spending(llm, spent.input_tokens, spent.output_tokens, price(llm, spent))
            for llm, spent in (self._spent or {llm: Spent(0, 0)}).items()
        ]
