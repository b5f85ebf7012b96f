"""How the benchmarks tell what they found."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from benchmarks import picture, report
from benchmarks.__main__ import NAMES
from benchmarks.figures import Figure

FIGURES = [
    Figure("send → ok, p50", "SQLite", "ms", (3.0, 2.0, 4.5), at_most=4),
    Figure("send → ok, p50", "Agno, durable", "ms", (33.04, 30.0, 41.0)),
    Figure("answers a second", "SQLite", "/s", (123.4,), at_least=200),
]
FACTS: dict[str, Any] = {"machine": "2 × CPU", "rounds": 3, "much": 0.5, "load": 0.5, "client_share": 0.12}


def test_a_screen_gets_a_line_a_figure_with_its_span_and_its_target() -> None:
    first, second, third = report.rows(FIGURES).splitlines()
    assert first.split() == ["send", "→", "ok,", "p50", "SQLite", "3", "ms", "2–4.5", "≤", "4", "met,", "0.75×"]
    assert second.split() == ["send", "→", "ok,", "p50", "Agno,", "durable", "33", "ms", "30–41"]
    assert third.split() == ["answers", "a", "second", "SQLite", "123/s", "123–123", "≥", "200", "missed,", "0.62×"]


def test_a_page_gets_a_row_for_what_was_measured_and_a_column_for_whom() -> None:
    head, _, send, answers = report.table(FIGURES).splitlines()
    assert head == "| | SQLite | Agno, durable |"
    assert send == "| send → ok, p50 | **3 ms** (2–4.5)<br>≤ 4 met, 0.75× | **33 ms** (30–41) |"
    assert answers == "| answers a second | **123/s** (123–123)<br>≥ 200 missed, 0.62× |  |"


def test_tables_go_between_their_marks_and_nothing_else_of_the_page_changes(tmp_path: Path) -> None:
    page, path = tmp_path / "performance.md", tmp_path / "latest.json"
    page.write_text("Before\n<!-- figures: send -->\nold\n<!-- end: send -->\nafter\n<!-- figures: stop -->\nkept\n")
    report.save("send", "A message", FIGURES, FACTS, path)
    report.write(report.load(path), page)
    text = page.read_text()
    assert text.startswith(f"Before\n<!-- figures: send -->\n{report.table(FIGURES)}\n\n")
    how = "3 rounds, each 50% as often and as long as in full; 2 × CPU, load before 0.5"
    assert f"{how}; the load client was at most 12% busy." in text
    assert text.endswith("<!-- end: send -->\nafter\n<!-- figures: stop -->\nkept\n")
    assert "old" not in text
    report.save("stop", "A stop", FIGURES, FACTS, path)
    with pytest.raises(LookupError):
        report.write(report.load(path), page)  # its end is missing


@pytest.mark.parametrize("name", NAMES)
def test_the_page_has_a_place_for_every_benchmark(name: str) -> None:
    page = report.PAGE.read_text()
    assert page.count(f"<!-- figures: {name} -->") == page.count(f"<!-- end: {name} -->") == 1


def test_results_are_kept_beside_those_of_other_benchmarks(tmp_path: Path) -> None:
    path = tmp_path / "results" / "latest.json"
    report.save("send", "A message", FIGURES, FACTS, path)
    report.save("stop", "A stop", FIGURES[:1], FACTS, path)
    kept = json.loads(path.read_text())
    assert set(kept) == {"send", "stop"}
    told = kept["send"]["figures"][0]
    assert told["rounds"] == [3.0, 2.0, 4.5]
    assert (told["median"], told["at_most"], told["is_met"], told["share"]) == (3.0, 4, True, 0.75)
    assert "is_met" not in kept["send"]["figures"][1]


def test_the_picture_has_a_bar_for_everybody_and_none_is_longer_than_the_longest() -> None:
    results: dict[str, Any] = {}
    for panel in picture.PANELS:
        kept = results.setdefault(panel.benchmark, {"figures": []})
        for number, who in enumerate(panel.whose):
            target = 30.0 if number == 0 else None
            kept["figures"].append(Figure(panel.what, who, "ms", (10.0 * (number + 1),), at_most=target).as_data())
    root = ET.fromstring(picture.draw(results))
    bars = [one for one in root.iter() if one.tag.endswith("rect")]
    assert len(bars) == sum(len(panel.whose) for panel in picture.PANELS)
    assert {one.get("class") for one in bars} == {"ours", "other"}
    long = picture.PANEL - picture.NAMES - picture.VALUES
    assert max(int(one.get("width", "0")) for one in bars) == long
    assert len([one for one in root.iter() if one.get("class") == "goal"]) == len(picture.PANELS)
    results["crowd"]["figures"].pop()
    with pytest.raises(KeyError):
        picture.draw(results)


def test_the_picture_stays_as_it_is_until_everything_on_it_was_measured(tmp_path: Path) -> None:
    page = tmp_path / "picture.svg"
    picture.save({"tools": {"figures": []}}, page)
    assert not page.exists()
