"""The files that operators copy start what the Procfile starts, and name settings and paths that there are."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "docs" / "operations" / "deploy"
PARTS = ("web", "worker", "beat")
OWN = {"-b", "-p", "--hostname"}  # the words after these are the place's own


def words(command: str) -> list[str]:
    """A command from its module on, without what differs from place to place."""
    told = shlex.split(command)
    told = told[told.index("-m") :]
    return [word for before, word in zip(["", *told], told, strict=False) if word not in OWN and before not in OWN]


def procfile() -> dict[str, list[str]]:
    lines = (ROOT / "Procfile").read_text().splitlines()
    return {line.split(":", 1)[0]: words(line.split(":", 1)[1]) for line in lines if not line.startswith("#")}


@pytest.mark.parametrize(("part", "unit"), [("web", "chat-web@"), ("worker", "chat-worker@"), ("beat", "chat-beat")])
def test_a_unit_starts_what_the_procfile_starts(part: str, unit: str) -> None:
    text = (DEPLOY / f"{unit}.service").read_text()
    command = re.search(r"^ExecStart=(.+)$", text, re.MULTILINE)
    assert command and words(command[1]) == procfile()[part]


@pytest.mark.parametrize("part", PARTS)
def test_a_container_starts_what_the_procfile_starts(part: str) -> None:
    service = yaml.safe_load((DEPLOY / "compose.yml").read_text())["services"][part]
    if "command" in service:
        told = shlex.join(service["command"])
    else:
        [line] = re.findall(r"^CMD (\[.+\])$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
        told = shlex.join(yaml.safe_load(line))
    assert words(told) == procfile()[part]


def test_the_image_holds_what_it_copies_and_nothing_else() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    names = {name for line in copied for name in line.split()}
    assert all((ROOT / name).exists() for name in names)
    let_in = {line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line[0] == "!"}
    assert let_in == names


def test_the_dockerfile_has_no_fault_that_the_linter_knows() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    subprocess.run([hadolint, DEPLOY / "Dockerfile"], check=True)


def test_every_setting_of_the_example_is_a_setting() -> None:
    code = "".join(path.read_text() for path in (ROOT / "chatproject").glob("*.py"))
    code += "".join(path.read_text() for path in (ROOT / "workers" / "llm").glob("*.py"))
    example = (DEPLOY / "chat.env.example").read_text()
    for name in re.findall(r"^#?([A-Z_]+)=", example, re.MULTILINE):
        assert f'"{name}"' in code, f"{name} is read nowhere"
