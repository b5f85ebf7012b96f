"""Models by name, and what importing them costs."""

import subprocess
import sys

import pytest

from tests.llm_process import ROOT
from workers.llm import open_llm
from workers.llm.base import Limits, estimate_tokens


@pytest.mark.parametrize(
    "name", ["demo", "demo?tokens=200&tokens_per_s=50&first_token_ms=0", "openai:gpt-test", "anthropic:c"]
)
def test_a_model_keeps_the_name_it_was_opened_by(name: str) -> None:
    assert open_llm(name, Limits(), env={"OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k"}).name == name


@pytest.mark.parametrize(
    "name", ["", "gpt-4", "Demo", "demos", "openai", "openai:", "openai: ", "openai?gpt", "anthropic:", "cohere:x"]
)
def test_an_unknown_name_is_refused_with_a_text_that_tells_the_way(name: str) -> None:
    with pytest.raises(ValueError, match=r"'demo', 'openai:MODEL' or|like '(openai|anthropic):MODEL'"):
        open_llm(name, Limits(), env={"OPENAI_API_KEY": "k"})


def test_openai_itself_needs_a_key_and_a_server_of_ones_own_does_not() -> None:
    with pytest.raises(ValueError, match="OPENAI_API_KEY"):
        open_llm("openai:gpt-test", Limits(), env={})
    open_llm("openai:gpt-test", Limits(), env={"OPENAI_BASE_URL": "http://127.0.0.1:9/v1"})


@pytest.mark.parametrize("url", ["127.0.0.1:9/v1", "ftp://host/v1", "http:///v1"])
def test_a_base_url_that_is_no_address_is_refused_when_the_model_is_opened(url: str) -> None:
    with pytest.raises(ValueError, match="OPENAI_BASE_URL"):
        open_llm("openai:gpt-test", Limits(), env={"OPENAI_BASE_URL": url})


def test_models_and_modes_load_no_framework_and_no_provider_that_is_not_asked_for() -> None:
    code = (
        "import sys, workers.llm, workers.modes, workers.modes.summary\n"
        "from workers.llm.base import Limits\n"
        "workers.llm.open_llm('demo', Limits())\n"
        "names = {name.partition('.')[0] for name in sys.modules}\n"
        "print(*sorted(names & {'django', 'channels', 'celery', 'aiohttp', 'httpx2', 'pydantic'}))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == ""


def test_tokens_are_estimated_high_enough_for_words_and_for_chinese() -> None:
    assert estimate_tokens("") == 0
    assert estimate_tokens("word") == 1
    assert estimate_tokens("The quick brown fox jumps over the lazy dog.") == 11
    assert estimate_tokens("数据库" * 10) == 23
    assert estimate_tokens("half \ud83d") == 2
