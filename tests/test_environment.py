"""What an operator may write into the environment, and what is refused loudly."""

import fcntl
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from chatproject import environment
from tests.processes import ROOT
from tests.stack import bare_environment


@pytest.mark.parametrize(("written", "days"), [("", 7), ("30", 30), ("0.5", 0.5), ("0", 0), ("43200s", 0.5), ("0s", 0)])
def test_a_time_to_keep_something_is_written_in_days_or_in_seconds(
    monkeypatch: pytest.MonkeyPatch, written: str, days: float
) -> None:
    monkeypatch.setenv("CHAT_RETENTION_DAYS", written)
    assert environment.days("CHAT_RETENTION_DAYS", 7) == days


@pytest.mark.parametrize(("written", "number"), [("", 5), ("2", 2), ("2.5", 2.5), ("60", 60)])
def test_a_number_is_taken_from_the_least_to_the_most(
    monkeypatch: pytest.MonkeyPatch, written: str, number: float
) -> None:
    monkeypatch.setenv("CHAT_LEASE_S", written)
    assert environment.number("CHAT_LEASE_S", 5, least=2, most=60) == number


@pytest.mark.parametrize("written", ["0", "-1", "1.9", "60.1", "1e300", "inf", "nan", "five"])
def test_what_is_out_of_bounds_is_refused_by_name_and_with_them(monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    monkeypatch.setenv("CHAT_LEASE_S", written)
    with pytest.raises(ImproperlyConfigured, match=r"CHAT_LEASE_S must be a number from 2 to 60; it is '" + written):
        environment.number("CHAT_LEASE_S", 5, least=2, most=60)


@pytest.mark.parametrize("written", ["0", "2.5", "10"])
def test_a_count_is_whole_and_within_its_bounds(monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    monkeypatch.setenv("CHAT_RUN_STEPS", written)
    with pytest.raises(ImproperlyConfigured, match="CHAT_RUN_STEPS"):
        environment.count("CHAT_RUN_STEPS", 5, least=1, most=9)


@pytest.mark.parametrize("written", ["-1", "-1s", "s", "ten", "tens", "nans", "infs", "1 d", "1e6", "1e12s"])
def test_what_is_no_time_is_refused(monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    monkeypatch.setenv("CHAT_RETENTION_DAYS", written)
    with pytest.raises(ImproperlyConfigured, match="CHAT_RETENTION_DAYS"):
        environment.days("CHAT_RETENTION_DAYS", 7)


SHOW = "from django.conf import settings; print(settings.CHAT_ENV, settings.REDIS_URL)"
COMMAND, SERVER = ["manage.py", "shell", "--no-imports", "-v0", "-c", SHOW], ["-c", SHOW]
OF_THE_STACK, OF_THE_SERVER = "local redis://127.0.0.1:23456/0", "production redis://production/0"


@pytest.mark.parametrize(
    ("words", "lives", "given", "told"),
    [
        (COMMAND, True, {}, OF_THE_STACK),
        (COMMAND, True, {"REDIS_URL": "redis://other/0"}, "local redis://other/0"),
        (COMMAND, False, {"REDIS_URL": "redis://production/0"}, OF_THE_SERVER),
        (SERVER, False, {"REDIS_URL": "redis://production/0"}, OF_THE_SERVER),
        (SERVER, True, {"REDIS_URL": "redis://production/0"}, OF_THE_SERVER),
    ],
    ids=["a command", "a command that is told more", "after a crash", "a server after a crash", "a server beside it"],
)
def test_a_command_takes_the_settings_of_the_stack_that_runs_and_a_server_never(
    tmp_path: Path, words: list[str], lives: bool, given: dict[str, str], told: str
) -> None:
    """What a killed stack left must not put a server, nor what is done to its database, into local mode."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "env").write_text("REDIS_URL=redis://127.0.0.1:23456/0\nCHAT_ENV=local\n")
    env = bare_environment() | {"CHAT_DATA_DIR": str(tmp_path), "SECRET_KEY": "x" * 50, "ALLOWED_HOSTS": "here"}
    with (tmp_path / "lock").open("w") as lock:
        if lives:
            fcntl.flock(lock, fcntl.LOCK_EX)
        command = [sys.executable, *words]
        done = subprocess.run(command, cwd=ROOT, env=env | given, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == told, done.stderr
