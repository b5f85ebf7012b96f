"""A chat server of real processes on free ports: Redis, a database, web processes, workers, an LLM's server."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from tests.processes import ROOT, Process, eventually, free_port, listens
from tests.servers import Postgres, Redis
from tests.wire import Client, Person

# What a test of something else must not run into.
ROOMY = {
    "CHAT_MESSAGES_PER_10S": "0",
    "CHAT_SOCKETS_PER_USER": "0",
    "CHAT_RUNS_PER_USER": "0",
    "CHAT_WAITING_PER_SESSION": "0",
    "CHAT_TITLE_LLM": "none",  # whose event would come at any time
}
OURS = ("CHAT_", "DJANGO_", "OPENAI_", "ANTHROPIC_")


def bare_environment() -> dict[str, str]:
    """This process's environment without any setting of the server."""
    ours = {"REDIS_URL", "DATABASE_URL", "DATABASE_URL_PG", "SECRET_KEY", "HOST", "PORT"}
    kept = {k: v for k, v in os.environ.items() if k not in ours and not k.startswith((*OURS, "PYTEST_", "COV_"))}
    return kept | {"DJANGO_SETTINGS_MODULE": "chatproject.settings", "PYTHONUNBUFFERED": "1"}


def manage(*command: str, env: dict[str, str]) -> str:
    """Run manage.py to its end. Raises AssertionError with what it said."""
    done = subprocess.run(
        [sys.executable, "manage.py", *command],
        check=False,
        cwd=ROOT,
        env=env,
        text=True,
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 0, f"manage.py {' '.join(command)}: {done.stdout}{done.stderr}"
    return done.stdout


class Workshop:
    """Makes stacks: keeps one Postgres and a migrated database of each kind, for copies."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tests-workshop-"))
        self._postgres: Postgres | None = None
        self._templates: dict[str, str] = {}

    @property
    def postgres(self) -> Postgres:
        if self._postgres is None:
            self._postgres = Postgres()
        return self._postgres

    def database(self, kind: str, data: Path) -> str:
        """Make a migrated database with its data folder, and give its URL."""
        template = self._template(kind)
        shutil.copytree(self.folder / kind, data)
        if kind == "sqlite":
            return f"sqlite:///{data / 'chat.sqlite3'}"
        return self.postgres.create(template.rpartition("/")[2])

    def _template(self, kind: str) -> str:
        if kind not in self._templates:
            data = self.folder / kind
            url = f"sqlite:///{data / 'chat.sqlite3'}" if kind == "sqlite" else self.postgres.create()
            env = bare_environment() | {"CHAT_ENV": "local", "CHAT_DATA_DIR": str(data), "DATABASE_URL": url}
            manage("migrate", "--no-input", "-v0", env=env)
            self._templates[kind] = url
        return self._templates[kind]

    def end(self) -> None:
        if self._postgres is not None:
            self._postgres.end()
        shutil.rmtree(self.folder, ignore_errors=True)


class Clerk(Process):
    """Answers questions about the stack's database, from its first question on."""

    def __init__(self, log: Path, env: dict[str, str]) -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        super().__init__("clerk", [sys.executable, "-m", "tests.clerk"], log, env=env, popen=pipes)

    def ask(self, expression: str, **given: Any) -> Any:
        if not self.alive:
            self.spawn()
        assert self._process and self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps({"ask": expression, "given": given}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the clerk is gone:\n{self.tail()}"
        answer = json.loads(line)
        assert "is" in answer, answer["failed"]
        return answer["is"]


class Stack:
    """One chat server. Start it with `start`; end it with `end`, whatever happened to its parts."""

    living: weakref.WeakSet["Stack"] = weakref.WeakSet()

    def __init__(
        self,
        workshop: Workshop,
        database: str = "sqlite",
        *,
        webs: int = 1,
        workers: int = 1,
        llm: bool = False,
        server: str = "daphne",
        env: dict[str, str] | None = None,
    ) -> None:
        self.workshop, self.database, self.server = workshop, database, server
        self.folder = Path(tempfile.mkdtemp(prefix=f"tests-{database}-"))
        self.redis = Redis(self.folder)
        self.database_url = workshop.database(database, self.folder / "data")
        self.env = bare_environment() | ROOMY | {"CHAT_ENV": "local", "CHAT_DATA_DIR": str(self.folder / "data")}
        self.env |= {"REDIS_URL": self.redis.url, "DATABASE_URL": self.database_url, "CHAT_LLM": "demo"}
        self.llm: Process | None = None
        if llm:
            self.llm = self._llm_server()
        self.env |= env or {}
        self.clerk = Clerk(self.folder / "clerk.log", self.env)
        self.webs = [self._web(f"web{n}") for n in range(1, webs + 1)]
        self.workers = [self._worker(f"worker{n}") for n in range(1, workers + 1)]
        self._webs, self._workers = webs, workers
        Stack.living.add(self)

    # -- the parts ---------------------------------------------------------------------------------------------------

    def _web(self, name: str, **env: str) -> "Web":
        return Web(name, self.folder / f"{name}.log", self.env | env, self.server)

    def _worker(self, name: str, **env: str) -> Process:
        command = [sys.executable, "-m", "chatproject.worker", "--concurrency", "32", "--hostname", f"{name}@%h"]
        log = self.folder / f"{name}.log"
        return Process(name, command, log, env=self.env | env, ready=lambda process: " ready." in process.text())

    def _llm_server(self) -> Process:
        port = free_port()
        self.env |= {"OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1", "OPENAI_API_KEY": "test"}
        self.env |= {"ANTHROPIC_BASE_URL": f"http://127.0.0.1:{port}", "ANTHROPIC_API_KEY": "test"}
        record = str(self.folder / "llm.jsonl")
        command = [sys.executable, "-m", "tests.llm_server", "--port", str(port), "--record", record]
        return Process("llm", command, self.folder / "llm.log", env=self.env, ready=lambda _: listens(port))

    def llm_saw(self, event: str, **facts: Any) -> list[dict[str, Any]]:
        """Give what the LLM's server wrote down: its `request`, `answered` or `close` events that match the facts."""
        record = self.folder / "llm.jsonl"
        seen = [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
        return [one for one in seen if one["event"] == event and facts.items() <= one.items()]

    @property
    def parts(self) -> list[Process]:
        return [part for part in (self.redis, self.llm, self.clerk, *self.webs, *self.workers) if part is not None]

    def start(self) -> Self:
        """Start every part, and wait until all are ready."""
        parts = [part for part in self.parts if not isinstance(part, Clerk)]
        for part in parts:
            part.spawn()
        for part in parts:
            part.wait_ready()
        return self

    def add_web(self, **env: str) -> "Web":
        """Start another web process, with settings of its own."""
        web = self._web(f"web{len(self.webs) + 1}", **env)
        self.webs.append(web)
        web.start()
        return web

    def add_worker(self, **env: str) -> Process:
        """Start another worker, with settings of its own."""
        worker = self._worker(f"worker{len(self.workers) + 1}", **env)
        self.workers.append(worker)
        return worker.start()

    def heal(self) -> None:
        """Bring it back to how it started: what a test killed or froze runs again, what it added or left is gone."""
        for extra in [*self.webs[self._webs :], *self.workers[self._workers :]]:
            extra.end()
        del self.webs[self._webs :], self.workers[self._workers :]
        dead = [part for part in self.parts if not isinstance(part, Clerk) and not part.alive]
        for part in self.parts:
            part.thaw()
        for part in dead:
            part.spawn()
        for part in dead:
            part.wait_ready()
        # Where a test failed, its answers may still be on their way: their workers find that they lost them.
        self.ask("Run.objects.open().update(status='cancelled')")

    def end(self) -> None:
        Stack.living.discard(self)
        for part in self.parts:
            part.end()
        if self.database == "postgres":
            self.workshop.postgres.drop(self.database_url)
        if not os.environ.get("CHAT_TEST_KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *problem: object) -> None:
        self.end()

    # -- who uses it -------------------------------------------------------------------------------------------------

    def ask(self, expression: str, **given: Any) -> Any:
        """Evaluate a Python expression over the stack's rows, for instance `Run.objects.count()`."""
        return self.clerk.ask(expression, **given)

    def person(self, name: str, password: str | None = None) -> Person:
        """Make an account with a name like the one given. One with a password costs the time of hashing it."""
        made = self.ask("add_person(name, password)", name=f"{name}-{uuid4().hex[:6]}", password=password)
        return Person(**made, password=password or "")

    def client(self, person: Person, web: int | Sequence[int] = 0, **options: Any) -> Client:
        """A client of a person at a web process; at several, it goes from one to the next."""
        chosen = [web] if isinstance(web, int) else list(web)
        return Client([self.webs[one].url for one in chosen], person, **options)


class Web(Process):
    """A web process of the server, on daphne or uvicorn."""

    def __init__(self, name: str, log: Path, env: dict[str, str], server: str = "daphne") -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [*asgi_command(server, self.port), "chatproject.asgi:application"]
        env = env | {"HOST": "127.0.0.1", "PORT": str(self.port)}
        super().__init__(name, command, log, env=env, ready=lambda _: answers(self.url + "/healthz"))


def asgi_command(server: str, port: int) -> list[str]:
    """The command that serves an application, which is its last word: as the guide for running it says."""
    if server == "daphne":
        return [sys.executable, "-m", "daphne", "-v", "0", "-b", "127.0.0.1", "-p", str(port)]
    options = ["--ws", "websockets-sansio", "--ws-per-message-deflate", "false"]
    options += ["--log-level", "warning"]
    return [sys.executable, "-m", "uvicorn", "--host", "127.0.0.1", "--port", str(port), *options]


def answers(url: str) -> bool:
    """Whether a GET gives 200."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with contextlib.suppress(OSError), opener.open(url, timeout=2) as response:
        return bool(response.status == 200)
    return False


__all__ = ["ROOMY", "Stack", "Web", "Workshop", "asgi_command", "eventually", "manage"]
