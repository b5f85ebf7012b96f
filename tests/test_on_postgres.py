"""What SQLite cannot show: the in-process tests marked `postgres`, once more on a Postgres."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.processes import ROOT
from tests.stack import bare_environment


@pytest.mark.timeout(600)
def test_what_needs_postgres_passes_on_postgres() -> None:
    env = bare_environment()
    del env["DJANGO_SETTINGS_MODULE"]
    command = [sys.executable, "-m", "pytest", "-q", "-m", "postgres", "--database=postgres"]
    done = subprocess.run(command, cwd=ROOT, env=env, text=True, capture_output=True, check=False, timeout=590)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^\d+ passed", done.stdout, re.MULTILINE) and "skipped" not in done.stdout, done.stdout
