"""What stays of the loading: nothing that a search for garbage goes through, and no memory that only it took."""

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
LEFT = """
import ctypes, pathlib
def resident_kb():
    return sum(int(line.split()[1]) for line in pathlib.Path("/proc/self/smaps").open() if line.startswith("Rss:"))
before = resident_kb()
ctypes.CDLL(None).malloc_trim(0)
print(before - resident_kb())
"""


@pytest.mark.parametrize("start", [WEB, WORKER], ids=["web", "worker"])
def test_a_search_for_garbage_does_not_go_through_what_is_there_to_stay(start: str) -> None:
    """It would hold up the event loop for a tenth of a second."""
    settled, looked_through = told(start + COUNT)
    assert settled > 50_000
    assert looked_through < settled / 10


@pytest.mark.parametrize("start", [WEB, WORKER], ids=["web", "worker"])
def test_memory_that_only_the_loading_took_is_given_back(start: str) -> None:
    """Without that, it is 4 to 11 MB in each process, by the Python that it runs with."""
    (left_kb,) = told(start + LEFT)
    assert left_kb < 1024


def told(code: str) -> list[int]:
    """The numbers that a Python of its own prints."""
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return [int(number) for number in found.stdout.split()]
