"""What the environment makes of the settings: read by a process of its own, as a server would."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.processes import ROOT
from tests.stack import bare_environment

SHOW = "import json; from django.conf import settings; print(json.dumps(settings.DATABASES['default'], default=str))"


@pytest.fixture
def read_database(tmp_path: Path) -> Any:
    def read(url: str, first: str = "") -> Any:
        env = bare_environment() | {
            "CHAT_ENV": "local",
            "CHAT_DATA_DIR": str(tmp_path),
            "DATABASE_URL": url,
            "DJANGO_SETTINGS_MODULE": "chatproject.settings",
        }
        done = subprocess.run(
            [sys.executable, "-c", first + SHOW], cwd=ROOT, env=env, capture_output=True, text=True, check=True
        )
        return json.loads(done.stdout)

    return read


@pytest.mark.parametrize(
    "written",
    [
        "CHAT_LEASE_S=0",
        "CHAT_LEASE_S=1",
        "CHAT_SWEEP_S=0",
        "CHAT_SWEEP_S=1e10",
        "CHAT_TIDY_S=0",
        "CHAT_SLOW_S=0",
        "CHAT_CONTEXT_TOKENS=0",
        "CHAT_DELTA_WINDOW_MS=1e300",
        "CHAT_RUN_S=1e11",
        "CHAT_SESSION_IDLE_S=1e11",
        "CHAT_AUDIT_DAYS=1000000",
        "CHAT_ACCESS_TOKEN_S=0",
        "PORT=70000",
    ],
)
def test_a_value_that_would_do_harm_without_a_word_is_refused_at_the_start(tmp_path: Path, written: str) -> None:
    name, _, value = written.partition("=")
    env = bare_environment() | {"CHAT_ENV": "local", "CHAT_DATA_DIR": str(tmp_path), name: value}
    command = [sys.executable, "-c", "import chatproject.settings"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert f"ImproperlyConfigured: {name} must be a number from " in done.stderr


def test_0_is_let_in_where_it_means_no_limit(tmp_path: Path) -> None:
    names = ["CHAT_RUN_S", "CHAT_RUN_STEPS", "CHAT_RUNS_PER_WORKER", "CHAT_DELTA_WINDOW_MS", "CHAT_LLM_TOTAL_S"]
    env = bare_environment() | {"CHAT_ENV": "local", "CHAT_DATA_DIR": str(tmp_path)} | dict.fromkeys(names, "0")
    subprocess.run([sys.executable, "-c", "import chatproject.settings"], cwd=ROOT, env=env, check=True)


def test_what_a_database_url_asks_for_is_kept_beside_what_we_need(read_database: Any) -> None:
    options = read_database("postgres://ada@db.example/chat?sslmode=verify-full&connect_timeout=2")["OPTIONS"]
    assert options["sslmode"] == "verify-full"
    assert int(options["connect_timeout"]) == 2
    assert options["options"] == "-c idle_in_transaction_session_timeout=10000"
    assert options["pool"]["max_size"] > 0


def test_a_postgres_that_is_gone_without_a_word_is_given_up_soon(read_database: Any) -> None:
    options = read_database("postgres://ada@db.example/chat?tcp_user_timeout=20000")["OPTIONS"]
    assert int(options["tcp_user_timeout"]) == 20000, "the operator's network may be another"
    assert options["keepalives_idle"] + options["keepalives_interval"] * options["keepalives_count"] <= 15
    assert options["pool"]["reconnect_timeout"] <= 10, "else the time between two tries grows with the outage"


def test_a_web_process_has_what_nobody_waits_for_ended_by_postgres_and_no_other_has(read_database: Any) -> None:
    asked = "postgres://ada@db.example/chat?options=-c%20statement_timeout%3D60000"
    first = "import chatproject.asgi; "
    assert read_database(asked, first)["OPTIONS"]["options"] == (
        "-c lock_timeout=5000 -c statement_timeout=30000"
        " -c idle_in_transaction_session_timeout=10000 -c statement_timeout=60000"
    ), "what the URL asks for comes last, and wins"
    assert "lock_timeout" not in read_database(asked)["OPTIONS"]["options"], "a migration may wait"


def test_options_of_a_database_url_come_after_ours_and_win(read_database: Any) -> None:
    options = read_database("postgres://ada@db.example/chat?options=-c%20statement_timeout%3D5000")["OPTIONS"][
        "options"
    ]
    assert options == "-c idle_in_transaction_session_timeout=10000 -c statement_timeout=5000"
