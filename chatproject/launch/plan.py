"""Where and with which settings a stack runs, read from the environment before anything is started."""

import fcntl
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import quote

ROOT = Path(__file__).resolve().parents[2]
LOG_LIMIT_BYTES = 5 * 1024 * 1024
PORT_PATIENCE_S = 0.5
LOCK_PATIENCE_S = 10.0
GLANCE_S = 0.3  # a command that asks whether we run has the lock for less


class StartFailed(Exception):
    """The stack cannot start; the text is for the person at the terminal."""


@dataclass(frozen=True)
class Plan:
    host: str
    port: int
    data: Path
    local: bool
    environ: dict[str, str]  # for every part, without REDIS_URL until Redis is chosen

    @property
    def run(self) -> Path:
        return self.data / "run"

    @property
    def address(self) -> str:
        """Where the web part is reached from this machine, though it may listen on every address."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 — compared, not bound

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/"

    def log(self, name: str) -> Path:
        return self.data / "logs" / f"{name}.log"

    def pid_file(self, name: str) -> Path:
        return self.run / f"{name}.pid"


def read_plan(environ: Mapping[str, str]) -> Plan:
    host = environ.get("HOST") or "127.0.0.1"
    given = environ.get("PORT") or "8000"
    if not (given.isascii() and given.isdigit() and 0 < int(given) < 65536):
        raise StartFailed(f"PORT must be a number from 1 to 65535; it is {given!r}.")
    data = Path(environ.get("CHAT_DATA_DIR") or ROOT / ".data").resolve()
    mode = environ.get("CHAT_ENV") or "local"
    parts = {
        **environ,
        "HOST": host,
        "PORT": given,
        "CHAT_DATA_DIR": str(data),
        "CHAT_ENV": mode,
        "DATABASE_URL": environ.get("DATABASE_URL") or f"sqlite:///{quote(str(data / 'chat.sqlite3'))}",
        "PYTHONUNBUFFERED": "1",
    }
    return Plan(host=host, port=int(given), data=data, local=mode == "local", environ=parts)


def claim_data_folder(plan: Plan) -> IO[str]:
    """Make the data folder and hold it against a second stack. Keep what is returned: closing it lets go."""
    try:
        plan.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (plan.run, plan.data / "logs"):
            folder.mkdir(mode=0o700, exist_ok=True)
        lock = (plan.data / "lock").open("w")
    except OSError as error:
        raise StartFailed(f"CHAT_DATA_DIR cannot be used: {error}.") from error
    began = time.monotonic()
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except OSError:
            # A stack that serves has its env file; one without it is on its way out, and worth a wait.
            patience = GLANCE_S if (plan.run / "env").exists() else LOCK_PATIENCE_S
            if time.monotonic() > began + patience:
                check_port(plan)
                raise StartFailed(f"Another chat server runs on {plan.data}: set CHAT_DATA_DIR and PORT.") from None
            time.sleep(0.1)


def check_port(plan: Plan) -> None:
    """Refuse a port that something listens on. It may still be closing after a kill, so look twice."""
    patience = time.monotonic() + PORT_PATIENCE_S
    while True:
        try:
            family, kind, _, _, address = socket.getaddrinfo(plan.host, plan.port, type=socket.SOCK_STREAM)[0]
            with socket.socket(family, kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
                probe.listen()
            return
        except socket.gaierror as error:
            raise StartFailed(f"HOST {plan.host!r} is not an address of this machine: {error.strerror}.") from error
        except PermissionError as error:
            raise StartFailed(f"Port {plan.port} may not be opened by this account: choose one with PORT=…") from error
        except OSError as error:
            if time.monotonic() > patience:
                raise StartFailed(f"Port {plan.port} on {plan.host} is taken: choose another with PORT=…") from error
            time.sleep(0.1)


def clear_leftovers(plan: Plan) -> None:
    """Remove what a killed stack left: pid files and env tell of processes that are gone; a long log becomes `….1`."""
    for stale in (*plan.run.glob("*.pid"), *plan.run.glob("*.new"), plan.run / "env"):
        stale.unlink(missing_ok=True)
    for log in (plan.data / "logs").glob("*.log"):
        if log.stat().st_size > LOG_LIMIT_BYTES:
            log.replace(log.with_suffix(".log.1"))


def write_whole(path: Path, text: str) -> None:
    """Write so that a reader sees the old text or the new one, and no other account sees either."""
    draft = path.with_name(path.name + ".new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)
