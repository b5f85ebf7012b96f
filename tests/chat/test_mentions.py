"""Who is meant: names after an @, in any script, and neither addresses nor code."""

import pytest

from chat.mentions import names_in


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("@support where is my order?", ["support"]),
        ("Where is it, @Support?", ["Support"]),
        ("ask @shop-desk, not @AI.", ["shop-desk", "AI"]),
        ("(@support)", ["support"]),
        ("@support's turn", ["support"]),
        ("@support. And then?", ["support"]),
        ("@support.\nAnd then?", ["support"]),
        ("请@support帮我查一下订单", ["support"]),
        ("你好，@support，我的订单在哪里？", ["support"]),
        ("＠support 订单", ["support"]),
        ("@support。谢谢", ["support"]),
        ("@support.谢谢", ["support"]),
        ("注文について@supportさん", ["support"]),
        ("@team_a and @team-b", ["team_a", "team-b"]),
        ("well @support--that is it", ["support--that"]),
        ("well @support-- yes", ["support--", "support"]),
    ],
)
def test_a_name_after_an_at_is_mentioned(text: str, names: list[str]) -> None:
    assert names_in(text) == names


@pytest.mark.parametrize(
    "text",
    [
        "",
        "support",
        "@",
        "@ support",
        "@7up",
        "@支持",
        "write to ada@support",
        "write to ada@support.example",
        "ada.b+c@support",
        "ада@support",
        "josé@support",
        "@support.example is a host",
        "https://chat.example/@support/1",
        "`@support`",
        "@@support",
        "@" + "a" * 65,
    ],
)
def test_what_only_looks_like_it_is_none(text: str) -> None:
    assert names_in(text) == []


def test_a_long_text_of_ats_is_read_in_one_go() -> None:
    assert names_in("@" * 10_000) == []
    assert names_in("@a " * 3_000) == ["a"] * 3_000
    assert names_in("@" + "a-" * 5_000) == []
