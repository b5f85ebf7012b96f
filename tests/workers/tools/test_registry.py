"""Installed packages add tools; one that is broken costs its own tools and nothing else."""

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.installed import install
from tests.processes import ROOT
from workers.tools.base import BadArgs
from workers.tools.registry import load_tools, tools_named

WEATHER = '''
from workers.tools import ToolError, tool
from workers.tools.people import ask_human

@tool(effect="pure", access="read")
async def weather(city: str) -> str:
    """Tell the weather."""
    return f"{city}: rain"

@tool(effect="once", access="write")
def make_rain(city: str) -> None:
    """Make it rain."""
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    modules = set(sys.modules)
    load_tools.cache_clear()
    importlib.invalidate_caches()
    yield tmp_path
    load_tools.cache_clear()
    for name in set(sys.modules) - modules:
        if getattr(sys.modules[name], "__file__", "").startswith(str(tmp_path)):
            del sys.modules[name]


def test_its_own_tools_are_there(folder: Path) -> None:
    assert load_tools()["ask_human"].asks


def test_an_installed_package_adds_the_tools_of_its_module(folder: Path) -> None:
    own = set(load_tools())
    load_tools.cache_clear()
    install(folder, "weather-tools", WEATHER)
    found = load_tools()
    assert set(found) - own == {"weather", "make_rain"}
    assert found["weather"].is_async
    assert found["make_rain"].needs_approval
    assert load_tools() is found, "they are looked for once"


def test_an_entry_point_may_name_one_tool(folder: Path) -> None:
    install(folder, "weather-tools", WEATHER, "rain = weather_tools:make_rain")
    assert "make_rain" in load_tools() and "weather" not in load_tools()


@pytest.mark.parametrize(
    ("source", "point"),
    [
        ("1 / 0", "odd"),
        ("import not_there", "odd"),
        ("raise SystemExit(3)", "odd"),
        ("from workers.tools import tool\n@tool(effect='pure', access='read')\ndef bare(): ...", "odd"),
        ("x = 1", "odd:x"),
        ("x = 1", "odd:y"),
        ("x = 1", "odd"),
    ],
)
def test_a_broken_package_is_told_in_the_log_and_the_others_stay(
    folder: Path, source: str, point: str, caplog: pytest.LogCaptureFixture
) -> None:
    install(folder, "odd", source, f"odd = {point}")
    install(folder, "weather-tools", WEATHER)
    assert "weather" in load_tools()
    assert "the package odd" in caplog.text


def test_nobody_takes_the_name_of_another_tool(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    install(folder, "thief", WEATHER.replace("def weather", "def ask_human"))
    assert load_tools()["ask_human"].asks
    assert "ask_human" in caplog.text


def test_an_agent_gets_the_tools_that_it_names_and_no_other(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    install(folder, "weather-tools", WEATHER)
    assert list(tools_named(["make_rain", "ask_human", "make_rain"])) == ["make_rain", "ask_human"]
    assert not caplog.text
    assert list(tools_named(["snow", "weather"])) == ["weather"]
    assert "snow" in caplog.text


def test_the_guides_package_has_the_tools_that_the_guide_says(folder: Path) -> None:
    guide = (ROOT / "docs" / "howto" / "add-a-tool.md").read_text()
    points = re.findall(r"^weather = .*$", guide, re.MULTILINE)
    [source] = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    install(folder, "weather-tools", source, *(point.replace('"', "") for point in points))
    found = load_tools()
    assert set(found) >= {"temperature", "make_rain"}
    assert found["temperature"]("Bergen") == 9.5
    with pytest.raises(BadArgs):
        found["make_rain"].read_args('{"city": "Bergen", "minutes": 61}')
    assert found["make_rain"].needs_approval and not found["temperature"].needs_approval
