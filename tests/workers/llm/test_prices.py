"""What a call costs, by the operator's table, by public prices, or nobody knows."""

import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from tests.llm_process import ROOT
from workers.llm.base import Spent
from workers.llm.prices import cost_usd

SPENT = Spent(input_tokens=1_000_000, output_tokens=100_000, cached_tokens=400_000)


@pytest.fixture
def table(tmp_path: Path) -> str:
    path = tmp_path / "prices.toml"
    path.write_text(
        """
        ["openai:house-large"]
        input = 3
        cached = 0.5
        output = 10
        ["openai:house-*"]
        input = 1
        output = 2
        """
    )
    return str(path)


def test_the_first_pattern_that_fits_is_the_price(table: str) -> None:
    assert cost_usd("openai:house-large", SPENT, table) == Decimal("3.000000")
    assert cost_usd("openai:house-small", SPENT, table) == Decimal("1.200000"), "what is cached costs no less"


def test_a_model_that_nobody_knows_has_no_price_and_the_demo_costs_nothing(table: str) -> None:
    assert cost_usd("openai:of-my-own", SPENT, table, env={}) is None
    assert cost_usd("shout:!", SPENT, table) is None
    assert cost_usd("demo?tokens=5", SPENT, table) == 0


def test_a_known_model_costs_what_its_maker_says_and_less_where_it_is_cached() -> None:
    cost = cost_usd("openai:gpt-4o-mini", SPENT, env={})
    fresh = cost_usd("openai:gpt-4o-mini", Spent(1_000_000, 100_000), env={})
    assert cost is not None
    assert fresh is not None
    assert 0 < cost < fresh < 1
    assert (cost_usd("anthropic:claude-sonnet-4-5", SPENT, env={}) or 0) > 0


def test_a_server_of_ones_own_does_not_cost_what_a_model_of_that_name_costs_elsewhere() -> None:
    assert cost_usd("openai:gpt-4o-mini", SPENT, env={"OPENAI_BASE_URL": "http://127.0.0.1:11434/v1"}) is None
    assert (cost_usd("openai:gpt-4o-mini", SPENT, env={"OPENAI_BASE_URL": "https://api.openai.com/v1"}) or 0) > 0


def test_a_table_may_be_json(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    path.write_text('{"mine:*": {"input": 1, "output": 0}}')
    assert cost_usd("mine:x", Spent(2_000_000, 5), str(path)) == 2


@pytest.mark.parametrize(
    "text",
    ["no table", "[a]\ninput = 1", "[a]\ninput = -1\noutput = 1", "[a]\ninput = true\noutput = 1", "a = 1",
     "[a]\ninput = 1\noutput = 1\nouput = 2", '[a]\ninput = "1"\noutput = 1'],
)  # fmt: skip
def test_a_table_that_cannot_be_read_is_refused_with_its_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match="CHAT_PRICES"):
        cost_usd("demo", SPENT, str(path))


def test_a_table_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="CHAT_PRICES"):
        cost_usd("demo", SPENT, "/nowhere/prices.toml")


def test_the_public_prices_are_loaded_by_those_who_pay_alone() -> None:
    code = (
        "import sys; from workers.llm.base import Spent; from workers.llm.prices import cost_usd\n"
        "cost_usd('demo', Spent(1, 1)); cost_usd('openai:x', Spent(0, 0))\n"
        "print('genai_prices' in sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "False"
