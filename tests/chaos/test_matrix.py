"""The judge of `make chaos` is judged: it must find what it is there to find."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.chaos.matrix.audience import Asked, Tally, count_rows
from tests.chaos.matrix.lane import chosen
from tests.chaos.matrix.paces import BRIEF, is_begun_rightly
from tests.chaos.matrix.report import BEGIN, END, GUARANTEES, HELD, Report, Row
from tests.chaos.matrix.scene import Fault, Found
from tests.chaos.matrix.storm import Kill, percentile, recoveries

NOBODY: Any = None
ASKED = [Asked("session", f"run{n}", f"Question {n}", said, NOBODY) for n, said in ((1, "w1 w2"), (2, "t1 t2 "))]


def rows(**changes: Any) -> dict[str, list[Any]]:
    whole: dict[str, list[Any]] = {
        "answers": [["run1", "w1 w2"], ["run2", "t1 t2 "]],
        "said": ["Question 1", "Question 2"],
        "runs": [["run1", "Question 1", "succeeded"], ["run2", "Question 2", "succeeded"]],
        "succeeded": ["run1", "run2"],
    }
    return whole | changes


def test_what_was_answered_once_and_whole_is_clean() -> None:
    assert count_rows(ASKED, rows()).is_clean


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"answers": [["run1", "w1 w2"]]}, "lost"),
        ({"runs": [["run1", "Question 1", "failed"], ["run2", "Question 2", "succeeded"]]}, "lost"),
        ({"answers": [["run1", "w1 w2"], ["run1", "w1 w2"], ["run2", "t1 t2 "]]}, "doubled"),
        ({"said": ["Question 1", "Question 1", "Question 2"]}, "doubled"),
        ({"succeeded": ["run1", "run2", "run2"]}, "doubled"),
        ({"answers": [["run1", "w1 w1 w2"], ["run2", "t1 t2 "]]}, "glued"),
        ({"answers": [["run1", "w1"], ["run2", "t1 t2 "]]}, "glued"),
    ],
)
def test_each_kind_of_loss_is_counted(changes: dict[str, Any], what: str) -> None:
    found = count_rows(ASKED, rows(**changes))
    assert {name: getattr(found, name) for name in ("lost", "doubled", "glued")} == {
        "lost": 0, "doubled": 0, "glued": 0, what: 1,
    }  # fmt: skip
    assert found.details


@pytest.mark.parametrize("shown", ["", "w", "w1 w2 w", "t1 t2 "])
def test_a_beginning_is_right(shown: str) -> None:
    assert is_begun_rightly(shown)


@pytest.mark.parametrize("shown", ["w1 w2 w1", "w2", "w1 w2w1 w2", "w1 t2", "w1  w2"])
def test_two_attempts_in_one_text_are_not(shown: str) -> None:
    assert not is_begun_rightly(shown)


def test_recovery_is_measured_from_the_last_kill_before_the_next_word() -> None:
    client = SimpleNamespace(
        restarted={("a", 2): "worker_lost", ("b", 2): "worker_lost", ("b", 3): "worker_lost", ("c", 2): "drained"},
        first_seen={("a", 1): 0.0, ("a", 2): 16.0, ("b", 1): 0.0, ("b", 3): 22.0, ("c", 2): 12.0},
    )
    audience: Any = SimpleNamespace(clients=[client])
    first = {"a": 1, "b": 1, "c": 1}
    found = recoveries(audience, [Kill(10.0, first, first), Kill(15.0, {"b": 2}, {})])
    assert (sorted(found.seconds), found.confirmed, found.runs, found.again) == ([6.0, 7.0], 2, {"a", "b"}, 1)


def test_a_percentile_is_a_value_that_was_seen() -> None:
    hundred = [float(number) for number in range(1, 101)]
    assert [percentile(hundred, share) for share in (0.5, 0.99, 1)] == [50, 99, 100]
    assert percentile([3.0], 0.99) == 3


def test_every_fault_of_the_matrix_has_a_row() -> None:
    numbers = {fault.number for fault in chosen([])}
    assert numbers == set(range(1, 45))
    slugs = [fault.slug for fault in chosen([])]
    assert len(slugs) == len(set(slugs))
    assert [fault.number for fault in chosen(["frozen-worker"])] == [4]
    with pytest.raises(SystemExit, match="no fault earthquake"):
        chosen(["earthquake"])


def row(found: Found) -> Row:
    async def play(scene: Any) -> Found:
        await asyncio.sleep(0)
        return found

    return Row.of(Fault(4, "frozen worker", "SIGSTOP", "nothing", play), "sqlite", found, 3.0)


def test_a_row_fails_by_what_was_lost_and_by_a_figure_that_is_not_good_enough() -> None:
    assert row(Found(1, Tally(asked=5))).outcome == HELD
    assert row(Found(1, Tally(asked=5, broken=1, details=["a gap"]))).failed
    assert "a gap" in row(Found(1, Tally(asked=5, broken=1, details=["a gap"]))).note
    assert row(Found(1, Tally(asked=5), failure="p99 is 12 s")).failed


def test_the_table_replaces_the_one_between_its_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    report = Report(7, [row(Found(2, Tally(asked=5), "a | b"))], 3)
    report.replace_in(page)
    report.replace_in(page)
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert text.count("| 4 | frozen worker | SIGSTOP | sqlite | 2 | 5 | 0 | 0 | 0 | held: a \\| b |") == 1
    assert "seed 7" in text and "In sum: 5 asked, 0 lost" in text
    assert GUARANTEES.read_text().count(BEGIN) == GUARANTEES.read_text().count(END) == 1


def test_a_model_of_the_matrix_says_what_its_name_says() -> None:
    assert BRIEF.text(BRIEF.demo).split()[-1] == "w10"
    assert BRIEF.text(BRIEF.scripted).split()[-1] == "t10"
