"""A disk that is full, and a log that nobody reads any more."""

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.chaos.matrix.databases import own_postgres, told
from tests.chaos.matrix.paces import LONG, STEADY
from tests.chaos.matrix.scene import Found, NotPlayed, Scene, fault, off, until
from tests.stack import Stack
from tests.wire import Client, Refused

SIZE = "48m"


@contextlib.contextmanager
def small_disk() -> Iterator[Path]:
    """A disk of 48 MB, seen by this process and its children alone."""
    ours, first = (os.readlink(f"/proc/{who}/ns/mnt") for who in ("self", os.getppid()))
    if os.geteuid() != 0 or ours == first:
        raise NotPlayed("a disk of our own needs root and a mount namespace")
    folder = Path(tempfile.mkdtemp(prefix="chaos-disk-"))
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", folder], check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise NotPlayed(f"no disk can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=False)
        folder.rmdir()


def stack_on(disk: Path, scene: Scene) -> Stack:
    """A stack whose rows, and nothing else, lie on that disk."""
    stack = scene.new_stack(webs=2, workers=2)
    data = stack.folder / "data"
    if scene.is_sqlite:
        for file in data.glob("chat.sqlite3*"):
            shutil.move(file, disk / file.name)
        url = f"sqlite:///{disk / 'chat.sqlite3'}"
    else:
        postgres, _ = own_postgres(scene)
        assert postgres.folder is not None
        owner = (postgres.folder / "data").stat()
        os.chown(disk, owner.st_uid, owner.st_gid)
        postgres.run(f"CREATE TABLESPACE small LOCATION '{disk}'")
        name = stack.database_url.rpartition("/")[2]
        postgres.run(f"ALTER DATABASE {name} SET TABLESPACE small")
        url = stack.database_url
    for part in (*stack.webs, *stack.workers, stack.clerk):
        part.env = (part.env or {}) | {"DATABASE_URL": url}
    return stack


def fill(disk: Path) -> Path:
    ballast = disk / "ballast"
    with ballast.open("wb") as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 65536)
            file.flush()
    return ballast


@fault(
    35,
    "disk full",
    "no byte of the database's disk is left for 12 s, while answers are written",
    "sends are refused for now, nothing half-done stays, and it goes on by itself",
)
async def disk_full(scene: Scene) -> Found:
    refused = 0
    with small_disk() as disk:
        stack = stack_on(disk, scene)
        try:
            await off(stack.start)
            async with scene.audience(stack, sessions=16, pace=STEADY) as audience:
                audience.start()
                await audience.flowing(0.6)
                ballast = await off(fill, disk)
                refused = await _refusals(stack, audience.clients[0], 12)
                ballast.unlink()
                asked = len(audience.asked)
                await until(lambda: len(audience.asked) >= asked + 16, "it goes on", 40)
                tally = await audience.stop()
                note = told(audience)
        finally:
            await off(stack.end)
            scene._own.remove(stack)
            if not scene.is_sqlite:
                scene.workshop.postgres.run("DROP TABLESPACE small")
    assert refused, "the disk was not full"
    return Found(1, tally, f"{refused} requests were refused meanwhile; {note}")


async def _refusals(stack: Stack, client: Client, seconds: float) -> int:
    """Ask for what must be written, as large as may be, and count how often it is refused with an error that passes."""
    refused = 0
    for _ in range(int(seconds * 4)):
        try:
            await client.post("/api/sessions/", {"title": "x" * 100, "metadata": {"much": "y" * 5_000}})
        except Refused as problem:
            if not problem.error["temporary"]:
                raise
            refused += 1
        await asyncio.sleep(0.25)
    assert all(part.alive for part in (*stack.webs, *stack.workers)), "a process died"
    return refused


@fault(
    35,
    "log blocked",
    "the process that reads a worker's log stops reading it, for 12 s",
    "others do its work, or it goes on without its log; nothing is lost",
)
async def log_blocked(scene: Scene) -> Found:
    stack = scene.stack
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    read_on = [sys.executable, "-S", "-c", "import sys\nfor line in sys.stdin: pass"]
    sink = await off(subprocess.Popen, read_on, stdin=reader)
    worker = stack._worker("worker3", CHAT_LOG_LEVEL="DEBUG")
    worker.popen = {"stdout": writer, "stderr": writer}
    stack.workers.append(worker)
    worker.spawn()
    os.close(reader)
    os.close(writer)
    try:
        async with scene.audience(sessions=24, pace=LONG) as audience:
            query = "Worker.objects.alive().filter(name__endswith=n).exists()"
            for _ in range(100):
                if await off(stack.ask, query, n=f":{worker.pid}"):
                    break
                await asyncio.sleep(0.2)
            audience.start()
            await audience.flowing()
            sink.send_signal(signal.SIGSTOP)
            await asyncio.sleep(12)
            sink.send_signal(signal.SIGCONT)
            tally = await audience.stop()
            note = told(audience)
    finally:
        sink.kill()
        sink.wait()
    return Found(1, tally, note)
