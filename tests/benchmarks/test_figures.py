"""What the benchmarks make of their numbers."""

import pytest

from benchmarks.figures import Figure, Rounds, percentile, ratio


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.95, 95), (0.01, 1), (1.0, 100), (0.0, 1)])
def test_a_percentile_is_one_of_the_values_that_so_many_do_not_exceed(share: float, expected: float) -> None:
    assert percentile([float(number) for number in range(100, 0, -1)], share) == expected


def test_a_percentile_of_few_values_is_not_below_them_and_of_none_is_an_error() -> None:
    assert percentile([7.0], 0.95) == 7.0
    assert percentile([1.0, 9.0], 0.95) == 9.0
    with pytest.raises(ValueError, match="nothing"):
        percentile([], 0.5)


def test_a_target_is_kept_by_the_median_and_told_as_a_share() -> None:
    low = Figure("send → ok", "SQLite", "ms", (9.0, 3.0, 4.0), at_most=8)
    assert (low.median, low.is_met, low.share) == (4.0, True, 0.5)
    assert Figure("send → ok", "SQLite", "ms", (9.0, 9.0, 4.0), at_most=8).is_met is False
    assert Figure("answers", "SQLite", "/s", (100.0,), at_least=200).is_met is False
    assert Figure("answers", "SQLite", "/s", (200.0,), at_least=200).is_met is True
    assert Figure("answers", "Chainlit", "/s", (1.0,)).is_met is None


def test_two_figures_are_divided_round_by_round_since_the_machine_is_not_the_same_in_each() -> None:
    mine, other = Figure("CPU", "ours", "µs", (1.0, 4.0, 3.0)), Figure("CPU", "stock", "µs", (10.0, 20.0, 30.0))
    quotient = ratio(mine, other, at_most=0.1)
    assert (quotient.what, quotient.who, quotient.unit) == ("CPU ÷ stock", "ours", "×")
    assert quotient.rounds == (0.1, 0.2, 0.1)
    assert quotient.is_met is True
    with pytest.raises(ValueError, match="shorter"):
        ratio(mine, Figure("CPU", "stock", "µs", (10.0,)))


def test_rounds_become_figures_in_their_order_with_the_targets_that_are_theirs() -> None:
    rounds = Rounds()
    for values in ([1.0, 2.0, 3.0], [5.0, 6.0, 7.0]):
        rounds.spread("send", "SQLite", "ms", values)
        rounds.add("send, p50", "Agno", "ms", 40.0)
    figures = rounds.figures({("send, p50", "SQLite"): 4})
    assert [(one.what, one.who, one.rounds, one.at_most) for one in figures] == [
        ("send, p50", "SQLite", (2.0, 6.0), 4),
        ("send, p95", "SQLite", (3.0, 7.0), None),
        ("send, p50", "Agno", (40.0, 40.0), None),
    ]
    with pytest.raises(KeyError):
        rounds.figure("send, p50", "nobody")
