"""A line of log: what becomes of an exception's words and of what looks like a secret."""

import json
import logging
import subprocess
import sys
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from chatproject import logs
from tests.processes import ROOT
from tests.stack import bare_environment

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJ1c2VyX2lkIjoxfQ.c2lnbmF0dXJl"


@pytest.fixture
def line() -> Any:
    """Log something the way every part does, and give the line that comes of it."""
    built = logs.settings("json", "INFO")
    formatter = logs.ProcessorFormatter(
        foreign_pre_chain=built["formatters"]["line"]["foreign_pre_chain"],
        processors=built["formatters"]["line"]["processors"],
    )

    def log(message: str, *args: object, problem: BaseException | None = None, name: str = "chat") -> dict[str, Any]:
        info = (type(problem), problem, problem.__traceback__) if problem else None
        record = logging.LogRecord(name, logging.ERROR, __file__, 1, message, args, info)
        assert logs.Wordless().filter(record)
        found: dict[str, Any] = json.loads(formatter.format(record))
        return found

    return log


def test_an_exception_is_told_by_kind_and_place_with_its_cause_and_without_words(line: Any) -> None:
    try:
        try:
            raise KeyError("what Ada said")
        except KeyError as cause:
            raise ValueError("what the provider said") from cause
    except ValueError as problem:
        told = line("a run failed: %s", problem, problem=problem)
    assert "said" not in json.dumps(told)
    assert told["event"] == "a run failed: ValueError"
    kinds = [one for one in told["exception"].splitlines() if not one.startswith(" ")]
    assert kinds == ["builtins.KeyError", "builtins.ValueError"]
    assert f"{__file__}:" in told["exception"]


def test_an_exception_about_the_program_keeps_its_words(line: Any) -> None:
    assert "no attribute 'x'" in line("oh", problem=AttributeError("'Run' object has no attribute 'x'"))["exception"]


@pytest.mark.parametrize(
    "secret",
    [
        JWT,
        "ck_0123456789abcdef",
        "sk-proj-0123456789",
        "Authorization: Bearer abc.def-ghi",
        "bearer.some-other-token",
        "/ws/?ticket=abcdefgh",
        "/api/sessions/?q=what-ada-said",
        "redis://user:pass-word@host/0",
        "Cookie: sessionid=0123abc; csrftoken=4567def",
    ],
)
def test_what_looks_like_a_secret_is_hidden(line: Any, secret: str) -> None:
    told = line("something of %s", secret)["event"]
    assert logs.HIDDEN in told
    for piece in ("eyJ", "0123", "abc", "some-other", "said", "pass-word", "4567"):
        assert piece not in told


def test_what_the_environment_names_a_secret_is_hidden() -> None:
    hide = logs.Redaction({"OPENAI_API_KEY": "an unusual key", "CHAT_METRICS_TOKEN": "short"}).hide
    assert hide("it is an unusual key, short") == f"it is {logs.HIDDEN}, short"


def test_a_line_stays_one_line_and_a_task_that_failed_keeps_its_words(line: Any) -> None:
    assert logs.Redaction({}).hide("a\rb\x1b[31m") == "a\\rb\\x1b[31m"
    assert "said" not in line("future: <Task finished exception=ValueError('what Ada said')>")["event"]


@pytest.mark.parametrize(("form", "level"), [("xml", "INFO"), ("json", "LOUD")])
def test_a_setting_that_makes_no_sense_is_refused(form: str, level: str) -> None:
    with pytest.raises(ImproperlyConfigured):
        logs.settings(form, level)


@pytest.mark.parametrize("level", ["DEBUG", "INFO"])
def test_libraries_that_log_requests_with_their_bodies_stay_quiet(level: str) -> None:
    loggers = logs.settings("json", level)["loggers"]
    assert {loggers[name]["level"] for name in logs.QUIET} == {"WARNING"}
    assert loggers["chat"]["level"] == level


def test_without_a_collector_nothing_that_makes_or_sends_spans_is_loaded(tmp_path: Any) -> None:
    code = (
        "import sys, chatproject.asgi, workers.watch; "
        "print([one for one in sys.modules if one.startswith(('opentelemetry.sdk.trace', 'opentelemetry.exporter'))])"
    )
    env = bare_environment() | {"CHAT_ENV": "local", "CHAT_DATA_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
