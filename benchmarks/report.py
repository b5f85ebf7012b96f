"""What a run found: as rows on the screen, as JSON, and as tables between the marks of docs/performance.md."""

import json
import os
import platform
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "latest.json"
PAGE = ROOT / "docs" / "performance.md"


def number(value: float) -> str:
    """Three digits, or all of a larger one."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def amount(value: float, unit: str) -> str:
    return f"{number(value)}{'' if unit in ('×', '/s') else ' '}{unit}"


def verdict(figure: Figure) -> str:
    """The target and what became of it: `≤ 4 missed, 1.5×`."""
    if figure.target is None or figure.share is None:
        return ""
    sign = "≤" if figure.at_most is not None else "≥"
    return f"{sign} {number(figure.target)} {'met' if figure.is_met else 'missed'}, {figure.share:.2g}×"


def rows(figures: Sequence[Figure]) -> str:
    """The figures for a screen, one a line."""
    cells = [
        (
            figure.what,
            figure.who,
            amount(figure.median, figure.unit),
            f"{number(min(figure.rounds))}–{number(max(figure.rounds))}",
            verdict(figure),
        )
        for figure in figures
    ]
    widths = [max(len(row[column]) for row in cells) for column in range(5)]
    lines = []
    for what, who, value, span, target in cells:
        line = f"  {what:{widths[0]}}  {who:{widths[1]}}  {value:>{widths[2]}}  {span:>{widths[3]}}  {target}"
        lines.append(line.rstrip())
    return "\n".join(lines)


def table(figures: Sequence[Figure]) -> str:
    """The figures for a page: a row for what was measured, a column for each that it was measured of."""
    columns = list(dict.fromkeys(figure.who for figure in figures))
    found = {(figure.what, figure.who): figure for figure in figures}
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for what in dict.fromkeys(figure.what for figure in figures):
        cells = [_cell(found[what, who]) if (what, who) in found else "" for who in columns]
        lines.append(f"| {what} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(figure: Figure) -> str:
    span = f"({number(min(figure.rounds))}–{number(max(figure.rounds))})"
    target = f"<br>{verdict(figure)}" if figure.target is not None else ""
    return f"**{amount(figure.median, figure.unit)}** {span}{target}"


# --- what is kept -----------------------------------------------------------------------------------------------------
def machine() -> str:
    """What it ran on, in a few words."""
    info = Path("/proc/cpuinfo")
    named = re.search(r"^model name\s*: (.+)$", info.read_text(), re.M) if info.exists() else None
    cpu = named[1].strip() if named else platform.processor() or platform.machine()
    built = "the system's own" if sys.base_prefix == "/usr" else "built apart from the system"
    return f"{os.cpu_count()} × {cpu}, Python {platform.python_version()} ({built})"


def save(name: str, title: str, figures: Iterable[Figure], facts: dict[str, Any], path: Path = RESULTS) -> None:
    """Keep a benchmark's figures beside those of the others."""
    known = load(path)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    known[name] = {"title": title, "at": at, **facts, "figures": [figure.as_data() for figure in figures]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n")


def as_json(name: str, path: Path = RESULTS) -> str:
    """What is kept of a benchmark, in one line."""
    return json.dumps({"benchmark": name, **load(path)[name]}, ensure_ascii=False)


def load(path: Path = RESULTS) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def write(results: dict[str, Any], page: Path = PAGE) -> None:
    """Put the tables of kept results where the page has their marks. Raises LookupError where it has none."""
    text = page.read_text()
    for name, kept in results.items():
        begin, end = f"<!-- figures: {name} -->", f"<!-- end: {name} -->"
        before, mark, rest = text.partition(begin)
        _, end_mark, after = rest.partition(end)
        if not mark or not end_mark:
            raise LookupError(f"{page.name} has no place for {name}")
        figures = [Figure.from_data(data) for data in kept["figures"]]
        text = f"{before}{begin}\n{table(figures)}\n\n{_circumstances(kept)}\n{end}{after}"
    page.write_text(text)


def _circumstances(kept: dict[str, Any]) -> str:
    day = datetime.fromisoformat(kept["at"]).strftime("%-d %B %Y")
    much = "" if kept["much"] == 1 else f", each {kept['much']:.0%} as often and as long as in full"
    busy = f"the load client was at most {kept['client_share']:.0%} busy"
    return f"{day}, {kept['rounds']} rounds{much}; {kept['machine']}, load before {kept['load']:.1f}; {busy}."
