"""Draws docs/performance.svg from the kept results: bars in light and in dark, readable without colours."""

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from benchmarks import crowd, fanout
from benchmarks.report import ROOT, amount
from benchmarks.send import FIRST

PICTURE = ROOT / "docs" / "performance.svg"
WIDTH, PANEL, GAP, NAMES, VALUES, BAR, ROW, HEAD = 940, 440, 40, 165, 75, 14, 24, 58

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600; font-size: 15px } .less { fill: #57606a; font-size: 12px }
.ours { fill: #0969da } .other { fill: #8c959f } .goal { stroke: #cf222e; stroke-width: 2; stroke-dasharray: 3 2 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .less { fill: #9198a1 }
  .ours { fill: #4493f8 } .other { fill: #656c76 } .goal { stroke: #f85149 }
}
"""


@dataclass(frozen=True)
class Panel:
    """One measure of several: which benchmark's, what of it, and whose."""

    title: str
    less: str
    benchmark: str
    what: str
    whose: tuple[str, ...]


LESS = "less is better"
CHATS = ("SQLite", "Postgres", "Chainlit", "Agno, durable")
CROWDS = ("SQLite, demo LLM", "Postgres, demo LLM", "SQLite, HTTP LLM", "Postgres, HTTP LLM", *CHATS[2:])
ROOMS = ("ours, daphne", "ours, uvicorn", "stock Channels, daphne", "stock Channels, uvicorn", "Socket.IO on node")
CPU = f"µs of the server's CPU a delivery; {LESS}"
USERS, SOCKETS = f"{crowd.USERS} users at once", f"{fanout.SOCKETS} sockets"
PANELS = (
    Panel("From sending to “ok”", f"ms, median; {LESS}", "send", "send → ok, p50", CHATS),
    Panel("First token, over the LLM's own", f"ms, median; {LESS}", "send", f"{FIRST}, p50", CHATS),
    Panel(USERS, "answers a second; more is better", "crowd", crowd.RATE.format(crowd.USERS), CROWDS),
    Panel(f"{USERS}: first token", f"ms, 95th percentile; {LESS}", "crowd", crowd.FIRST.format(crowd.USERS), CROWDS),
    Panel(f"{SOCKETS}: bursts", CPU, "fanout", fanout.BURST.format(fanout.SOCKETS), ROOMS),
    Panel(f"{SOCKETS}: 10 frames a second", CPU, "fanout", fanout.SPARSE.format(fanout.SOCKETS), ROOMS),
)
OTHERS = ("Chainlit", "Agno", "stock", "Socket.IO")


def draw(results: dict[str, Any]) -> str:
    """Give the picture of the kept results. Raises KeyError where some are missing."""
    parts, top = [], 10
    for left, right in zip(PANELS[::2], PANELS[1::2], strict=True):
        parts += [_panel(left, results, 10, top), _panel(right, results, 10 + PANEL + GAP, top)]
        top += HEAD + max(len(left.whose), len(right.whose)) * ROW + 20
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" role="img">'
    described = "<title>How the chat server compares with Chainlit, Agno, stock Channels and Socket.IO</title>"
    return "\n".join([head, described, f"<style>{STYLE}</style>", *parts, "</svg>"]) + "\n"


def _panel(panel: Panel, results: dict[str, Any], x: int, y: int) -> str:
    figures = {one["who"]: one for one in results[panel.benchmark]["figures"] if one["what"] == panel.what}
    shown = [figures[who] for who in panel.whose]
    goals = {one["who"]: one["at_most"] or one["at_least"] for one in shown if "is_met" in one}
    longest = max([one["median"] for one in shown] + list(goals.values()))
    room = PANEL - NAMES - VALUES
    less = escape(panel.less) + ("; dashed: the goal" if goals else "")
    lines = [f'<text class="title" x="{x}" y="{y + 18}">{escape(panel.title)}</text>']
    lines.append(f'<text class="less" x="{x}" y="{y + 36}">{less}</text>')
    for number, one in enumerate(shown):
        at, long = y + HEAD + number * ROW, max(room * one["median"] / longest, 2)
        kind = "other" if one["who"].startswith(OTHERS) else "ours"
        lines.append(f'<text x="{x + NAMES - 8}" y="{at}" text-anchor="end">{escape(one["who"])}</text>')
        lines.append(f'<rect class="{kind}" x="{x + NAMES}" y="{at - 11}" width="{long:.0f}" height="{BAR}" rx="2"/>')
        said = escape(amount(one["median"], one["unit"]))
        lines.append(f'<text x="{x + NAMES + long + 6:.0f}" y="{at}">{said}</text>')
        if one["who"] in goals:
            across = x + NAMES + room * goals[one["who"]] / longest
            lines.append(f'<line class="goal" x1="{across:.0f}" y1="{at - 15}" x2="{across:.0f}" y2="{at + 7}"/>')
    return "\n".join(lines)


def save(results: dict[str, Any], path: Path = PICTURE) -> None:
    """Draw it anew, once everything that it shows was measured here: one benchmark alone leaves it as it is."""
    if {panel.benchmark for panel in PANELS} <= results.keys():
        path.write_text(draw(results))
