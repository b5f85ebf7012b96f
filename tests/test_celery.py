"""What every worker and beat load before there is anything to do: each pays for it in memory, and at its start."""

import subprocess
import sys
from pathlib import Path

from tests.processes import ROOT
from tests.stack import bare_environment

LOAD = """
import sys
from chatproject.celery import app
app.loader.import_default_modules()
print(*sys.modules)
"""


def test_a_worker_loads_neither_pages_nor_what_is_seldom_needed(tmp_path: Path) -> None:
    env = bare_environment() | {"CHAT_ENV": "local", "CHAT_DATA_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", LOAD], check=True, cwd=ROOT, env=env, capture_output=True, text=True)
    loaded = set(done.stdout.split())
    assert {"workers.tasks", "chat.models"} <= loaded
    assert not loaded & {
        "chat.admin",
        "chat.urls",
        "chat.consumers",
        "rest_framework.views",
        "rest_framework_simplejwt.tokens",
        "jsonschema",
    }
