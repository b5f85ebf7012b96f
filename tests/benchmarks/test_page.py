"""What is counted of the page in a browser, and which answer is no figure."""

import pytest

from benchmarks.bench import Wrong
from benchmarks.llm import END, markdown
from benchmarks.page import check, per_second, worst_second


def test_frames_are_counted_between_the_first_and_the_last() -> None:
    assert per_second([100.0, 120.0, 140.0, 160.0]) == pytest.approx(50)


def test_the_worst_second_is_the_one_with_the_longest_pause() -> None:
    smooth = [20.0 * number for number in range(150)]
    assert worst_second(smooth) == 50
    paused = [at if at < 1000 else at + 400 for at in smooth]
    assert worst_second(paused) == 30


def test_an_answer_that_lacks_a_word_or_has_one_twice_is_no_figure() -> None:
    pieces = markdown(200)
    assert len(pieces) == 200 and pieces[-1] == END
    check("ours", "".join(pieces), 200)
    for wrong in (pieces[:50] + pieces[51:], pieces[:50] + pieces[49:]):
        with pytest.raises(Wrong, match="ours showed"):
            check("ours", "".join(wrong), 200)
