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
