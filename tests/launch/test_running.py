"""A stack that runs: what it says and writes, how it heals, and what it leaves alone."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from chatproject.launch import redis
from tests.launch.launched import PARTS, Launched, alive, comes


def redis_port(stack: Launched) -> int:
    port = urlsplit(stack.env()["REDIS_URL"]).port
    assert port
    return port


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    launched = Launched(tmp_path_factory.mktemp("launch") / "one")
    launched.until_ready()
    yield launched
    launched.end()


def test_it_says_one_line_when_it_is_ready(stack: Launched) -> None:
    assert stack.ready_line == f"Chat is ready at http://127.0.0.1:{stack.port}/ (sign in: demo / demo)\n"
    assert stack.is_ready()


def test_its_data_folder_is_private(stack: Launched) -> None:
    assert stack.data.stat().st_mode & 0o777 == 0o700
    assert (stack.data / "run" / "env").stat().st_mode & 0o777 == 0o600


def test_its_pid_files_name_the_processes_themselves(stack: Launched) -> None:
    words = {"redis": "valkey-server", "web": "daphne", "worker": "worker", "beat": "beat"}
    for part, word in words.items():
        command = Path(f"/proc/{stack.pid(part)}/cmdline").read_text()
        assert word in command and "sh -c" not in command


def test_its_env_file_tells_where_it_lives(stack: Launched) -> None:
    env = stack.env()
    assert env["PORT"] == str(stack.port)
    assert env["DATABASE_URL"] == f"sqlite:///{stack.data}/chat.sqlite3"
    assert redis.answers(int(env["REDIS_URL"].split(":")[2].split("/")[0]))


@pytest.mark.parametrize("part", PARTS)
def test_a_killed_part_is_back_within_half_a_second(stack: Launched, part: str) -> None:
    before, others = stack.pid(part), {name: stack.pid(name) for name in PARTS if name != part}
    killed_at = time.monotonic()
    os.kill(before, signal.SIGKILL)
    assert comes(lambda: stack.pid(part) not in {0, before}, within_s=2)
    assert time.monotonic() - killed_at < 0.5
    assert comes(lambda: redis.answers(redis_port(stack)), within_s=5)
    assert comes(stack.is_ready, within_s=30)
    assert {name: stack.pid(name) for name in others} == others


def test_another_runs_beside_it_and_ctrl_c_leaves_nothing(stack: Launched, tmp_path: Path) -> None:
    second = Launched(tmp_path / "two")
    try:
        assert str(second.port) in second.until_ready()
        assert stack.is_ready() and second.is_ready()
        assert stack.env()["REDIS_URL"] != second.env()["REDIS_URL"]
        pids = second.pids()
        second.process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        second.process.send_signal(signal.SIGINT)  # an impatient second one changes nothing
        out, err = second.process.communicate(timeout=10)
        assert (second.process.returncode, out, err) == (0, "", "")
        assert not any(map(alive, pids))
        assert not list((second.data / "run").iterdir())
    finally:
        second.end()
    assert stack.is_ready()


def test_a_taken_port_is_said_in_one_line(stack: Launched, tmp_path: Path) -> None:
    second = Launched(tmp_path / "two", port=stack.port)
    out, err = second.process.communicate(timeout=10)
    assert second.process.returncode == 1
    assert out == "" and err.count("\n") == 1 and f"Port {stack.port}" in err and "taken" in err


def test_a_data_folder_in_use_is_said_in_one_line(stack: Launched) -> None:
    second = Launched(stack.data)
    out, err = second.process.communicate(timeout=10)
    assert second.process.returncode == 1
    assert out == "" and err.count("\n") == 1 and "CHAT_DATA_DIR" in err
    assert stack.is_ready() and stack.env()["PORT"] == str(stack.port)


def test_a_port_that_listens_on_every_address_counts_as_taken(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("0.0.0.0", 0))
        other.listen()
        launched = Launched(tmp_path / "three", port=other.getsockname()[1])
        _, err = launched.process.communicate(timeout=10)
    assert launched.process.returncode == 1 and "taken" in err
