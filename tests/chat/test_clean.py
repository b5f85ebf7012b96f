"""Text and JSON that every database takes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.clean import clean_json, clean_text


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("a\0b", "ab"),
        ("Größe 🌍 👩‍🚒", "Größe 🌍 👩‍🚒"),
        ("\ud83c\udf0d", "🌍"),
        ("half \ud83c", "half \ufffd"),
        ("\udf0d half", "\ufffd half"),
        ("\udf0d\ud83c", "\ufffd\ufffd"),
        ("\uffff \ufeff \u2028", "\uffff \ufeff \u2028"),
    ],
)
def test_text_is_such_as_every_database_stores_and_utf_8_carries(said: str, kept: str) -> None:
    assert clean_text(said) == kept


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_any_text_is_clean_afterwards_and_clean_text_stays_as_it_is(text: str) -> None:
    cleaned = clean_text(text)
    assert "\0" not in cleaned
    cleaned.encode()
    assert clean_text(cleaned) == cleaned


def test_names_and_texts_of_every_depth_are_clean_and_all_else_stays() -> None:
    assert clean_json({"a\0": ["x\0", {"\ud800": "\udc00"}, 1, None, 0.5]}) == {
        "a": ["x", {"\ufffd": "\ufffd"}, 1, None, 0.5]
    }
