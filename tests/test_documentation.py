"""The pages about the protocol say what the code does."""

import json
import re
from pathlib import Path

import pytest

from chat import consumers, errors, servers
from chat.protocol import COMMANDS, read_command, server_sent, shapes

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]
PROTOCOL = (DOCS / "protocol.md").read_text()


def _rows(heading: str) -> dict[str, list[str]]:
    """The rows of the first table under a heading, by what stands in backticks in the first column."""
    table = PROTOCOL.split(f"## {heading}\n", 1)[1].split("\n## ")[0]
    rows: dict[str, list[str]] = {}
    for line in table.splitlines():
        if line.startswith("| ") and not line.startswith("|---"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))]
            for name in re.findall(r"`([\w.]+)`", cells[0]) or [cells[0]]:
                rows[name] = cells[1:]
    return rows


def _shape(name: str) -> set[str]:
    listed = re.search(rf"\* \*\*{name}\*\* `([^`]+)`", PROTOCOL)
    assert listed, name
    return set(listed[1].split())


def test_every_command_is_described_with_just_its_fields() -> None:
    rows = _rows("Commands")
    rows.pop("command")
    assert set(rows) == set(COMMANDS)
    for name, (data, *_) in rows.items():
        described = {field: bool(mark) for field, mark in re.findall(r"`(\w+)`(\?)?", data)}
        known = {field: not info.is_required() for field, info in COMMANDS[name].model_fields.items()}
        assert described == known, name


def test_the_examples_are_commands_that_the_server_understands() -> None:
    examples = [line for line in PROTOCOL.splitlines() if line.startswith('{"type"') and '"ref"' in line]
    assert len(examples) >= 3
    for example in examples:
        json.loads(example)
        read_command(example)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("session", shapes.SessionData), ("message", shapes.MessageData), ("run", shapes.RunData)],
)
def test_a_shape_has_just_the_described_keys(name: str, shape: type) -> None:
    assert _shape(name) == set(shape.__annotations__)


def test_every_error_is_described_with_its_status() -> None:
    described = {}
    for line in PROTOCOL.split("## Errors\n", 1)[1].split("\n## ")[0].splitlines():
        cells = line.split("|")
        if len(cells) > 3:
            codes, statuses = re.findall(r"`(\w+)`", cells[1]), re.findall(r"\d{3}", cells[2])
            for index, code in enumerate(codes):
                described[code] = int(statuses[index if len(statuses) == len(codes) else 0])
    known = {kind.code: kind.status for kind in errors.ChatError.__subclasses__() if hasattr(kind, "status")}
    assert described == known


def test_every_close_code_is_described() -> None:
    described = set(re.findall(r"^\| (\d{4}) \|", PROTOCOL.split("## Close codes", 1)[1], re.M))
    known = {*consumers.CLOSE_CODES.values(), consumers.SLOW, consumers.FLOOD, servers.RESTARTING, 1009}
    assert described == {str(code) for code in known}


def _anchors(page: Path) -> set[str]:
    """The headings of a page, as links name them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_page_and_heading_that_is_linked_is_there(page: Path) -> None:
    for link, heading in re.findall(r"\]\(([^)#:]*)(?:#([^)]+))?\)", page.read_text()):
        linked = page.parent / link if link else page
        assert linked.exists(), link
        assert not heading or heading in _anchors(linked), f"{link}#{heading}"


def test_every_setting_that_is_named_is_read() -> None:
    sources = [path for folder in ("chat", "chatproject", "workers") for path in (ROOT / folder).rglob("*.py")]
    read = set(re.findall(r"CHAT_[A-Z0-9_]+", "".join(path.read_text() for path in sources)))
    for page in PAGES:
        named = set(re.findall(r"\bCHAT_[A-Z0-9_]+", page.read_text()))
        named = {name for name in named if not name.startswith("CHAT_TEST_")}
        assert named <= read, f"{page.name} names {sorted(named - read)}"


def test_every_setting_that_is_read_is_in_the_table_with_its_default() -> None:
    """Read by the file of the settings, and by the server that people start: by name, and once each."""
    page = (DOCS / "operations" / "running.md").read_text()
    rows = re.findall(r"^\| (`[A-Z][^|]*) \|([^|]*)\|", page.split("\n## Settings")[1].split("\n### ")[0], re.M)
    described = [name for names, _ in rows for name in re.findall(r"`([A-Z_0-9]+)`", names)]
    source = (ROOT / "chatproject" / "settings.py").read_text()
    read = [*re.findall(r'env\.\w+\("([A-Z_0-9]+)"', source), "SECRET_KEY"]
    assert len(set(read)) > 40
    assert sorted(set(read) - set(described)) == []
    assert sorted(described) == sorted(set(described))
    # A number that stands in the code as the default stands in the table.
    for name, default in re.findall(r'env\.(?:count|number|days)\("([A-Z_0-9]+)", (\d+)\)', source):
        [(names, said)] = [row for row in rows if f"`{name}`" in row[0]]
        place = re.findall(r"`([A-Z_0-9]+)`", names).index(name)
        assert re.findall(r"`([^`]*)`", said)[place] == default, name


def test_the_stream_of_the_page_on_http_is_told_as_it_is() -> None:
    example = (
        (DOCS / "http.md").read_text().split("id: 9\n")[1].split("```")[0].replace(",…}", "}").replace("{…}", "{}")
    )
    for event in ("id: 9\n" + example).strip().split("\n\n"):
        text = event.rpartition("data: ")[2]
        assert server_sent(text) == event + "\n\n"
        json.loads(text)
