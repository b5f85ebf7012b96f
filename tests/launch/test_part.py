"""One part alone, with programs that stand in for the real ones."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from chatproject.launch.lifeline import Guard, Parent
from chatproject.launch.part import PAUSE_S, Part
from chatproject.launch.plan import LOG_LIMIT_BYTES, Plan, StartFailed, clear_leftovers, read_plan
from chatproject.launch.supervisor import Supervisor
from tests.launch.launched import alive, comes


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    for folder in ("run", "logs"):
        (tmp_path / folder).mkdir()
    return read_plan({"CHAT_DATA_DIR": str(tmp_path)})


def test_a_part_that_keeps_dying_is_given_a_pause_after_three_deaths(plan: Plan) -> None:
    part = Part("web", ["sh", "-c", "exit 3"], {"PATH": os.defpath}, plan, Guard(needed=False))
    part.start()
    starts: list[float] = []
    deadline = time.monotonic() + 1.5
    while time.monotonic() < deadline:
        if part.tend():
            starts.append(time.monotonic())
        time.sleep(0.01)
    assert len(starts) == 3
    assert comes(lambda: part.tend() is not None, within_s=PAUSE_S + 1)
    part.kill()


def test_a_part_that_ignores_the_order_to_stop_can_be_killed(plan: Plan) -> None:
    part = Part("web", ["sh", "-c", "trap '' TERM; sleep 60 & wait; wait"], {"PATH": os.defpath}, plan, Guard())
    part.start()
    time.sleep(0.2)
    part.ask_to_stop()
    part.kill()
    assert part.is_gone()
    part.bury()
    assert not list(plan.run.iterdir())


def test_a_program_that_is_missing_is_a_failed_start(plan: Plan) -> None:
    with pytest.raises(StartFailed, match="web cannot be started"):
        Part("web", ["/no/such/program"], {}, plan, Guard()).start()


def test_a_part_that_cannot_be_started_again_is_tried_until_it_can(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatproject.launch.part.PAUSE_S", 0.3)
    program = plan.data / "program"
    program.write_text("#!/bin/sh\nsleep 60\n")
    program.chmod(0o755)
    part = Part("web", [str(program)], {"PATH": os.defpath}, plan, Guard(needed=False))
    part.start()
    program.rename(plan.data / "away")
    part.kill()
    told = part.tend()
    assert told and "web cannot be started" in told
    assert part.tend() is None, "not again at once"
    (plan.data / "away").rename(program)
    assert comes(lambda: "was started again" in (part.tend() or ""), within_s=5)
    assert not part.is_gone()
    part.kill()


def test_where_no_pid_can_be_written_the_part_is_started_all_the_same_and_once(plan: Plan) -> None:
    part = Part("web", ["sh", "-c", "echo up; sleep 60"], {"PATH": os.defpath}, plan, Guard(needed=False))
    part.start()
    assert comes(lambda: plan.log("web").read_text() == "up\n", within_s=5)
    (plan.run / "web.pid.new").mkdir()  # as good as a full disk
    part.kill()
    assert "was started again" in (part.tend() or "")
    assert part.tend() is None and not part.is_gone()
    assert not plan.pid_file("web").exists(), "it would name who is dead"
    assert comes(lambda: plan.log("web").read_text() == "up\nup\n", within_s=5)
    part.kill()


def test_the_guard_kills_what_its_owner_left() -> None:
    sleeper = subprocess.Popen(["sleep", "60"], start_new_session=True)
    spared = subprocess.Popen(["sleep", "60"], start_new_session=True)
    guard = Guard(needed=True)
    for pid in (sleeper.pid, spared.pid):
        guard.add(pid)
    guard.remove(spared.pid)
    guard.close()
    sleeper.wait(5)
    assert alive(spared.pid)
    spared.kill()
    spared.wait()


def test_what_a_killed_stack_left_is_cleared_and_long_logs_make_room(plan: Plan) -> None:
    plan.pid_file("web").write_text("1\n")
    (plan.run / "env").write_text("PORT=1\n")
    plan.log("web").write_bytes(b"x" * (LOG_LIMIT_BYTES + 1))
    plan.log("beat").write_text("short\n")
    clear_leftovers(plan)
    assert not list(plan.run.iterdir())
    assert sorted(path.name for path in (plan.data / "logs").iterdir()) == ["beat.log", "web.log.1"]


@pytest.mark.parametrize("port", ["0", "65536", "-1", "http", "٣"])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    with pytest.raises(StartFailed, match="PORT"):
        read_plan({"PORT": port})


def test_a_failed_start_shows_the_end_of_the_guilty_log(plan: Plan) -> None:
    script = "import sys; print('the reason'); sys.exit(7)"
    supervisor = Supervisor(plan, Parent(None))
    part = supervisor._add("web", [sys.executable, "-c", script])
    assert comes(part.is_gone, within_s=5)
    failure = str(supervisor._failure(part))
    assert "exit 7" in failure and "the reason" in failure
    supervisor.stop()


def test_a_redis_file_that_cannot_be_read_is_put_aside(plan: Plan) -> None:
    files = plan.data / "redis" / "appendonlydir"
    files.mkdir(parents=True)
    (files / "appendonly.aof.manifest").write_text("no manifest at all\n")
    supervisor = Supervisor(replace(plan, environ={**os.environ, "CHAT_REDIS": "embedded"}), Parent(None))
    try:
        supervisor._start_redis()
        assert alive(int(plan.pid_file("redis").read_text()))
    finally:
        supervisor.stop()
    assert len(list(plan.data.glob("redis.unreadable-*"))) == 1
