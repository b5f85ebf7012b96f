"""However the launcher or its parent goes, nothing of the stack outlives it for long, and the next start works."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.launch.launched import Launched


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all starts: every one but the first also shows that the last death left nothing in the way."""
    return tmp_path_factory.mktemp("launch") / "data"


@pytest.fixture
def made(data: Path) -> Iterator[Launched]:
    launched = Launched(data, with_make=True)
    launched.until_ready()
    yield launched
    launched.end()


def test_sigkill_of_make_ends_everything(made: Launched) -> None:
    pids = made.pids()
    made.process.kill()
    assert made.left_of(pids) == ""


def test_sigkill_of_the_launcher_ends_everything(made: Launched) -> None:
    pids = made.pids()
    os.kill(made.launcher(), signal.SIGKILL)
    assert made.left_of(pids) == ""


def test_an_interrupt_of_make_alone_ends_everything(made: Launched) -> None:
    pids = made.pids()
    made.process.send_signal(signal.SIGINT)
    assert made.left_of(pids) == ""
    assert not list((made.data / "run").iterdir())


def test_a_part_that_hangs_does_not_hold_up_the_end(made: Launched) -> None:
    pids = made.pids()
    os.kill(made.pid("worker"), signal.SIGSTOP)
    made.process.send_signal(signal.SIGTERM)
    assert made.left_of(pids) == ""
