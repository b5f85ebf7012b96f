"""What a call costs: from a table of the operator's, else from a list of public prices that ships with a package.

Nothing here asks the network. A model that neither knows has no price: None, which is not 0.
"""

import json
import os
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from workers.llm.base import Spent

_MILLION = 1_000_000
_COLUMNS = {"input", "cached", "output"}
# Providers with public prices, each with the setting by which its names mean another server's models.
_PROVIDERS = {"openai": "OPENAI_BASE_URL", "anthropic": "ANTHROPIC_BASE_URL"}


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for a million tokens."""

    input: Decimal
    cached: Decimal
    output: Decimal

    def of(self, spent: Spent) -> Decimal:
        fresh = max(0, spent.input_tokens - spent.cached_tokens)
        cost = fresh * self.input + spent.cached_tokens * self.cached + spent.output_tokens * self.output
        return cost / _MILLION


def cost_usd(llm: str, spent: Spent, table: str = "", *, env: Mapping[str, str] = os.environ) -> Decimal | None:
    """Give the cost of what a model used, to the millionth of a dollar; `table` is the path of the operator's prices.

    Raises: ValueError, with a text for whoever wrote the table.
    """
    price = next((price for pattern, price in read_table(table) if fnmatchcase(llm, pattern)), None)
    provider, _, model = llm.partition(":")
    if price is not None:
        cost: Decimal | None = price.of(spent)
    elif llm.startswith("demo"):
        cost = Decimal(0)
    elif provider in _PROVIDERS and (spent.input_tokens or spent.output_tokens):
        cost = _public_cost(provider, model, spent, env.get(_PROVIDERS[provider], ""))
    else:
        cost = Decimal(0) if provider in _PROVIDERS else None
    return None if cost is None else cost.quantize(Decimal("0.000001"))


def are_at_hand(llms: Iterable[str]) -> bool:
    """Whether the prices of these need no list that is not loaded yet."""
    return "genai_prices" in sys.modules or not any(llm.partition(":")[0] in _PROVIDERS for llm in llms)


def _public_cost(provider: str, model: str, spent: Spent, base_url: str) -> Decimal | None:
    from genai_prices import Usage, calc_price  # half a second and 20 MB: only where something is paid for

    usage = Usage(
        input_tokens=spent.input_tokens,
        output_tokens=spent.output_tokens,
        cache_read_tokens=min(spent.cached_tokens, spent.input_tokens) or None,
    )
    try:
        if base_url:  # a server of one's own has its own prices, whatever its models are called
            return Decimal(calc_price(usage, model, provider_api_url=base_url).total_price)
        return Decimal(calc_price(usage, model, provider_id=provider).total_price)
    except (LookupError, ValueError):
        return None


@cache
def read_table(path: str) -> tuple[tuple[str, Price], ...]:
    """Read a table of prices, TOML or JSON: from a pattern of names to its prices; the first that fits counts.

    Raises: ValueError.
    """
    if not path:
        return ()
    try:
        text = Path(path).read_text(encoding="utf-8")
        table: Any = json.loads(text) if path.endswith(".json") else tomllib.loads(text)
    except (OSError, ValueError) as problem:
        raise ValueError(f"CHAT_PRICES: {path!r} cannot be read as a table of prices ({problem}).") from None
    if not isinstance(table, dict):
        raise ValueError(f"CHAT_PRICES: {path!r} holds no table.")
    return tuple((pattern, _price(path, pattern, row)) for pattern, row in table.items())


def _price(path: str, pattern: str, row: Any) -> Price:
    if not isinstance(row, dict) or not {"input", "output"} <= row.keys() <= _COLUMNS:
        raise ValueError(f"CHAT_PRICES: {pattern!r} in {path!r} needs `input` and `output`, and may have `cached`.")
    for value in row.values():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _MILLION:
            raise ValueError(f"CHAT_PRICES: {pattern!r} in {path!r} has {value!r}, which is no price.")
    cached = row.get("cached", row["input"])
    return Price(Decimal(str(row["input"])), Decimal(str(cached)), Decimal(str(row["output"])))
