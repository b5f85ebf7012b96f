"""A measured figure: one value a round, their median, its target, and what it is beside another one."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of them does not exceed. Raises ValueError where there are none."""
    if not values:
        raise ValueError("a percentile of nothing")
    return sorted(values)[max(math.ceil(share * len(values)) - 1, 0)]


@dataclass(frozen=True)
class Figure:
    """What was measured of whom. A target is the most or the least that the median should be."""

    what: str
    who: str
    unit: str
    rounds: tuple[float, ...]
    at_most: float | None = None
    at_least: float | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    @property
    def target(self) -> float | None:
        return self.at_least if self.at_most is None else self.at_most

    @property
    def share(self) -> float | None:
        """The median as a share of the target."""
        return self.median / self.target if self.target else None

    @property
    def is_met(self) -> bool | None:
        """Whether the median keeps its target; None where it has none."""
        if self.at_most is not None:
            return self.median <= self.at_most
        return self.median >= self.at_least if self.at_least is not None else None

    def as_data(self) -> dict[str, Any]:
        found: dict[str, Any] = {"what": self.what, "who": self.who, "unit": self.unit, "median": self.median}
        found |= {"least": min(self.rounds), "most": max(self.rounds), "rounds": list(self.rounds)}
        if self.target is not None:
            found |= {"at_most": self.at_most, "at_least": self.at_least, "share": self.share, "is_met": self.is_met}
        return found

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Self:
        rounds = tuple(data["rounds"])
        return cls(data["what"], data["who"], data["unit"], rounds, data.get("at_most"), data.get("at_least"))


def ratio(mine: Figure, other: Figure, at_most: float | None = None) -> Figure:
    """Divide two figures round by round, since the rounds of both were taken side by side. Raises ValueError."""
    quotients = tuple(a / b for a, b in zip(mine.rounds, other.rounds, strict=True))
    return Figure(f"{mine.what} ÷ {other.who}", mine.who, "×", quotients, at_most=at_most)


Targets = dict[tuple[str, str], float]  # by what is measured, of whom


class Rounds:
    """Collects what several rounds gave: values for each thing measured and each one measured, in order."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str, str], list[float]] = {}

    def add(self, what: str, who: str, unit: str, value: float) -> None:
        self._values.setdefault((what, who, unit), []).append(value)

    def spread(self, what: str, who: str, unit: str, values: Sequence[float]) -> None:
        """Add a round's median and its 95th percentile."""
        self.add(f"{what}, p50", who, unit, percentile(values, 0.5))
        self.add(f"{what}, p95", who, unit, percentile(values, 0.95))

    def figure(self, what: str, who: str) -> Figure:
        """Give one of them. Raises KeyError."""
        for (its_what, its_who, unit), values in self._values.items():
            if (its_what, its_who) == (what, who):
                return Figure(what, who, unit, tuple(values))
        raise KeyError((what, who))

    def figures(self, most: Targets | None = None, least: Targets | None = None) -> list[Figure]:
        """Give all of them, with the targets of those that have one."""
        found = []
        for (what, who, unit), values in self._values.items():
            named = (what, who)
            found.append(Figure(what, who, unit, tuple(values), (most or {}).get(named), (least or {}).get(named)))
        return found
