"""The stack as a whole: started in order, kept alive, stopped in order."""

import http.client
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType

from chatproject.launch import redis
from chatproject.launch.lifeline import Guard, Parent
from chatproject.launch.part import Part, describe
from chatproject.launch.plan import Plan, StartFailed, write_whole

TICK_S = 0.05
REDIS_START_S = 20.0
PREPARE_S = 300.0
READY_S = 90.0
# Together below the ten seconds within which everything must be gone, with room for a busy machine.
DRAIN_S, BEAT_STOP_S, REDIS_STOP_S = 5.5, 1.0, 1.0

PYTHON = [sys.executable, "-m"]


class Stopped(Exception):
    """Somebody asked the launcher to stop, or the process it runs for is gone."""


class Supervisor:
    def __init__(self, plan: Plan, parent: Parent) -> None:
        self._plan = plan
        self._parent = parent
        self._environ = dict(plan.environ)
        self._guard = Guard()
        self._parts: dict[str, Part] = {}
        self._stop_asked = False

    def listen(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup means it
            signal.signal(signal.SIGHUP, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._stop_asked = True  # and no more: a second Ctrl-C finds the stop under way

    def start(self) -> None:
        prepare = self._add("prepare", [*PYTHON, "chatproject.launch.prepare"])
        self._start_redis()
        self._await(lambda: prepare.exit_code() is not None, PREPARE_S, prepare)
        if prepare.exit_code():
            raise self._failure(prepare)
        self._parts.pop("prepare").bury()
        host, port = self._plan.host, str(self._plan.port)
        self._add("web", [*PYTHON, "daphne", "-v", "0", "-b", host, "-p", port, "chatproject.asgi:application"])
        if "CHAT_METRICS_PORT" not in self._environ:
            self._environ["CHAT_METRICS_PORT"] = str(redis.free_port())
        self._add("worker", [*PYTHON, "chatproject.worker"])
        self._await_ready()
        # Nobody waits for beat, and until now it would have competed for the processor.
        self._add("beat", [*PYTHON, "celery", "--quiet", "--app", "chatproject", "beat", "--pidfile="])
        names = ("PORT", "REDIS_URL", "DATABASE_URL", "CHAT_ENV", "CHAT_METRICS_PORT")
        write_whole(self._plan.run / "env", "".join(f"{name}={self._environ[name]}\n" for name in names))

    def keep(self) -> None:
        """Keep every part alive until somebody asks to stop."""
        while True:
            self._check_stop()
            for part in self._parts.values():
                if news := part.tend():
                    say(news)
            time.sleep(TICK_S)

    def stop(self) -> None:
        """Stop what holds work first, and Redis, which the others need for it, last."""
        (self._plan.run / "env").unlink(missing_ok=True)
        self._stop_parts(("prepare", "web", "worker"), DRAIN_S)
        self._stop_parts(("beat",), BEAT_STOP_S)
        self._stop_parts(("redis",), REDIS_STOP_S)
        self._guard.close()

    def _stop_parts(self, names: tuple[str, ...], patience_s: float) -> None:
        parts = [self._parts[name] for name in names if name in self._parts]
        deadline = time.monotonic() + patience_s
        for part in parts:
            part.ask_to_stop()
        while not all(part.is_gone() for part in parts) and time.monotonic() < deadline:
            time.sleep(TICK_S / 2)
        for part in parts:
            part.kill()
            part.bury()

    def _start_redis(self) -> None:
        url = self._environ.get("REDIS_URL")
        if url and self._environ.get("CHAT_REDIS") != "embedded":
            redis.check_given(url)
            return
        server, folder = redis.find_server(self._environ), self._plan.data / "redis"
        folder.mkdir(mode=0o700, exist_ok=True)
        port = redis.free_port()
        self._environ["REDIS_URL"] = f"redis://127.0.0.1:{port}/0"
        part = self._add("redis", redis.command(server, port, folder))
        self._await(lambda: part.exit_code() is not None or redis.answers(port), REDIS_START_S, part)
        if part.exit_code() is None:
            return
        if not any(folder.iterdir()):
            raise self._failure(part)
        # Most likely its file is broken, or of another version. The database remembers everything that matters.
        aside = folder.with_name(f"redis.unreadable-{int(time.time())}")
        folder.rename(aside)
        folder.mkdir(mode=0o700)
        say(f"Redis did not start from its file; the file was put aside as {aside}")
        part.start()
        self._await(lambda: part.exit_code() is not None or redis.answers(port), REDIS_START_S, part)
        if part.exit_code() is not None:
            raise self._failure(part)

    def _await_ready(self) -> None:
        told = "no answer"

        def ready() -> bool:
            nonlocal told
            for part in self._parts.values():
                if part.exit_code() is not None:
                    raise self._failure(part)
            status, told = ask_ready(self._plan)
            return status == "ok"

        try:
            self._await(ready, READY_S, self._parts["web"])
        except StartFailed as error:
            raise StartFailed(f"{error}\n/readyz: {told}") from None

    def _add(self, name: str, command: list[str]) -> Part:
        part = Part(name, command, self._environ, self._plan, self._guard)
        self._parts[name] = part
        part.start()
        return part

    def _await(self, come: Callable[[], bool], patience_s: float, part: Part) -> None:
        deadline = time.monotonic() + patience_s
        while not come():
            self._check_stop()
            if time.monotonic() > deadline:
                raise StartFailed(f"{part.name} was not ready after {patience_s:.0f} s. Its log ends:\n{part.tail()}")
            time.sleep(TICK_S)

    def _check_stop(self) -> None:
        if self._stop_asked or self._parent.is_leaving():
            raise Stopped

    def _failure(self, part: Part) -> StartFailed:
        code = part.exit_code()
        how = describe(code) if code is not None else "still running"
        return StartFailed(f"{part.name} did not start ({how}). Its log ends:\n{part.tail()}")


def ask_ready(plan: Plan) -> tuple[str, str]:
    """Ask the web part how it is: the status that it gives, and the whole answer for a person to read."""
    connection = http.client.HTTPConnection(plan.address, plan.port, timeout=3)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse().read(4096).decode(errors="replace")
        report = json.loads(answer)
        return (str(report.get("status")) if isinstance(report, dict) else ""), answer
    except (OSError, http.client.HTTPException, ValueError) as error:
        return "", repr(error)
    finally:
        connection.close()


def say(text: str) -> None:
    """Tell the person at the terminal, who may be gone."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 — for the rest of the process
