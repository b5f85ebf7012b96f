"""What the matrix came to: a table for people, JSON for machines, and the table in docs/guarantees.md."""

import json
import os
import platform
import textwrap
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.chaos.matrix.audience import SUSPICIOUS
from tests.chaos.matrix.scene import Fault, Found
from tests.processes import ROOT

HELD, FAILED, NOT_PLAYED, EXPLAINED = "held", "FAILED", "not played", "elsewhere"
GUARANTEES = ROOT / "docs" / "guarantees.md"
BEGIN, END = "<!-- make chaos: begin -->", "<!-- make chaos: end -->"


@dataclass
class Row:
    """One fault on one database."""

    number: int
    name: str
    slug: str
    injected: str
    holds: str
    database: str
    outcome: str
    times: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    note: str = ""
    seconds: float = 0.0
    figures: dict[str, float] = field(default_factory=dict)

    @staticmethod
    def of(fault: Fault, database: str, found: Found, seconds: float) -> "Row":
        clean = found.tally is None or found.tally.is_clean
        counts = {} if found.tally is None else {k: v for k, v in asdict(found.tally).items() if k != "details"}
        outcome = HELD if clean and not found.failure else FAILED
        details = found.tally.details[:5] if found.tally else []
        note = "; ".join(filter(None, [found.failure, found.note, *details]))
        return Row(
            fault.number, fault.name, fault.slug, fault.injected, fault.holds, database, outcome,
            found.times, counts, note, round(seconds, 1), found.figures,
        )  # fmt: skip

    @staticmethod
    def without(fault: Fault, database: str, outcome: str, note: str, seconds: float = 0.0) -> "Row":
        return Row(
            fault.number,
            fault.name,
            fault.slug,
            fault.injected,
            fault.holds,
            database,
            outcome,
            note=note,
            seconds=round(seconds, 1),
        )

    @property
    def failed(self) -> bool:
        return self.outcome == FAILED


def machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, {system}"


@dataclass
class Report:
    seed: int
    rows: list[Row]
    minutes: float
    at: str = field(default_factory=lambda: f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC")
    machine: str = field(default_factory=machine)

    def sums(self) -> dict[str, int]:
        return {name: sum(row.counts.get(name, 0) for row in self.rows) for name in ("asked", *SUSPICIOUS)}

    def headline(self) -> str:
        outcomes = [row.outcome for row in self.rows]
        said = ", ".join(f"{outcomes.count(one)} {one}" for one in (HELD, FAILED, NOT_PLAYED, EXPLAINED))
        sums = ", ".join(f"{count} {name}" for name, count in self.sums().items())
        return f"{said}. In sum: {sums}."

    def markdown(self) -> str:
        lines = [
            f"Run on {self.at}, {self.machine}; seed {self.seed}; {self.minutes:.0f} minutes.",
            "",
            self.headline(),
            "",
            "| | fault | what is injected | on | times | asked | lost | doubled | glued | outcome |",
            "|---|---|---|---|---|---|---|---|---|---|",
        ]
        for row in self.rows:
            counts = [str(row.counts.get(name, "")) for name in ("asked", "lost", "doubled", "glued")]
            what = row.outcome + (f": {row.note}" if row.note else "")
            cells = [str(row.number), row.name, row.injected, row.database, str(row.times or ""), *counts, what]
            lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
        return "\n".join(lines) + "\n"

    def text(self) -> str:
        """The table as a terminal shows it."""
        head = (
            f"{'#':>3} {'fault':<22} {'on':<9} {'times':>5} {'asked':>6} {'lost':>5} {'dbl':>4} {'glued':>5} {'s':>5}"
        )
        head += "  outcome"
        lines = [head, "-" * len(head)]
        for row in self.rows:
            counts = [row.counts.get(name, "") for name in ("asked", "lost", "doubled", "glued")]
            lines.append(
                f"{row.number:>3} {row.name:<22} {row.database:<9} {row.times or '':>5} {counts[0]:>6} {counts[1]:>5} "
                f"{counts[2]:>4} {counts[3]:>5} {row.seconds:>5.0f}  {row.outcome}"
            )
            if row.note:
                lines += textwrap.wrap(row.note, 110, initial_indent=" " * 27, subsequent_indent=" " * 27)
        return "\n".join(
            [*lines, "", self.headline(), f"Seed {self.seed}, {self.minutes:.1f} minutes, {self.machine}."]
        )

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "chaos.md").write_text(self.markdown())
        (folder / "chaos.json").write_text(json.dumps(asdict(self), indent=1) + "\n")

    def replace_in(self, page: Path = GUARANTEES) -> None:
        """Put the table between the two markers of a page."""
        before, _, rest = page.read_text().partition(BEGIN)
        _, found, after = rest.partition(END)
        assert found, f"{page} has no place for the table"
        page.write_text(f"{before}{BEGIN}\n\n{self.markdown()}\n{END}{after}")


def rows_from(data: list[dict[str, Any]]) -> list[Row]:
    return [Row(**row) for row in data]
