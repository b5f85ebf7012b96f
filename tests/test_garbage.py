"""What Python's search for garbage looks at: what came after the start, and not all that was loaded."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.processes import ROOT

WEB = "import chatproject.asgi"
WORKER = """
import chatproject.celery
from workers import tasks
tasks.watch.serve_metrics = lambda: None
type(tasks.runtime).start = lambda runtime: None
tasks.start()
"""
COUNT = "\nimport gc; print(gc.get_freeze_count(), len(gc.get_objects()))"


@pytest.mark.parametrize("start", [WEB, WORKER], ids=["web", "worker"])
def test_a_search_for_garbage_does_not_go_through_what_is_there_to_stay(start: str) -> None:
    """It would hold up the event loop for a tenth of a second."""
    found = subprocess.run([sys.executable, "-c", start + COUNT], cwd=ROOT, capture_output=True, text=True, check=True)
    settled, looked_through = map(int, found.stdout.split())
    assert settled > 50_000
    assert looked_through < settled / 10
