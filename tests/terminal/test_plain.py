"""What of a received text reaches the terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.terminal.plain import plain, plain_line


@pytest.mark.parametrize(
    ("received", "shown"),
    [
        ("a\tb\nc", "a\tb\nc"),
        ("Grüße 👩‍💻 שלום", "Grüße 👩‍💻 שלום"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[1;1Hcleared", "cleared"),
        ("\x9b31mred", "red"),
        ("\x1b]0;a new title\x07text", "text"),
        ("\x1b]52;c;cm0gLXJmIC8=\x1b\\clipboard", "clipboard"),
        ("\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bP1;2|dcs\x1b\\text", "text"),
        ("\x1bcreset", "reset"),
        ("\x1b(0lines", "lines"),
        ("over\rwritten\x08\x08", "overwritten"),
        ("bell\x07 nul\x00 del\x7f", "bell nul del"),
        ("abc\u202egnp.exe", "abcgnp.exe"),
        ("lone \ud800 surrogate", "lone \ufffd surrogate"),
    ],
)
def test_orders_to_the_terminal_are_stripped_and_letters_stay(received: str, shown: str) -> None:
    assert plain(received) == shown


def test_an_unfinished_sequence_at_the_end_is_held_back_and_goes_when_it_is_finished() -> None:
    whole = "before \x1b[1;31mafter"
    assert [plain(whole[:n]) for n in (8, 9, 12, 13, 14)] == ["before "] * 4 + ["before "]
    assert plain(whole) == "before after"


def test_an_unclosed_title_hides_no_more_than_a_bounded_part() -> None:
    assert plain("\x1b]0;" + "x" * 10_000).endswith("x" * 9_000)


def test_a_hostile_text_costs_no_more_than_its_length() -> None:
    for piece in ("\x1b[", "\x9d", "\x1b]", "\x1b[0", "\x1b]0;\x1b", "\x1b "):
        plain(piece * 50_000)


def test_a_title_is_one_line() -> None:
    assert plain_line(" two\n lines\x1b[5m ") == "two lines"


@given(
    st.lists(
        st.sampled_from(["a", "\x1b", "[", "]", "0", ";", "m", "\x07", "\\", "\x9b", "\x9d", "\n", "(", " "]),
        max_size=30,
    )
)
def test_the_shown_form_of_a_growing_text_only_grows_and_holds_no_control_character(pieces: list[str]) -> None:
    text, shown = "", ""
    for piece in pieces:
        text += piece
        assert plain(text).startswith(shown)
        shown = plain(text)
    assert not any((ord(c) < 32 and c != "\n") or 127 <= ord(c) < 160 for c in shown)
