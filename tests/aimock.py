"""aimock, an LLM server by others (npm), as an OS process: what it says about both wires is not our own idea of them.

It is installed once into `.venv/peers/aimock`, from the lock in `tests/peers/`. Node is the one that builds the
page.
"""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from chatproject.launch.page import find_node
from tests.processes import free_port, listens

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "tests" / "peers"
HOME = ROOT / ".venv" / "peers" / "aimock"


def install() -> Path:
    """Install what the lock names, if that was not done yet. Returns the program."""
    program = HOME / "node_modules" / "@copilotkit" / "aimock" / "dist" / "cli.js"
    lock = (PEERS / "package-lock.json").read_bytes()
    if program.exists() and (HOME / "package-lock.json").read_bytes() == lock:
        return program
    HOME.parent.mkdir(parents=True, exist_ok=True)
    draft = HOME.with_name(f"aimock-{os.getpid()}")  # several test processes may be about to install it
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    for name in ("package.json", "package-lock.json"):
        shutil.copy(PEERS / name, draft)
    node = find_node()
    subprocess.run([*node.npm, "ci", "--silent"], cwd=draft, env=node.environ, check=True, timeout=100)
    shutil.rmtree(HOME, ignore_errors=True)
    try:
        draft.rename(HOME)
    except OSError:
        shutil.rmtree(draft)  # another process was faster
    return program


class Aimock:
    """`with Aimock(folder, fixtures) as server:` — `server.env` points both wires at it."""

    def __init__(self, folder: Path, fixtures: list[dict[str, Any]]) -> None:
        self._fixtures = folder / "fixtures.json"
        self._fixtures.write_text(json.dumps({"fixtures": fixtures}))
        self._log = folder / "aimock.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._port = free_port()

    def __enter__(self) -> Self:
        program = install()
        node = find_node().program
        options = ["--port", str(self._port), "--fixtures", str(self._fixtures), "--strict"]
        options += ["--chunk-size", "5", "--latency", "2"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen([node, str(program), *options], stdout=log, stderr=log)
        until = time.monotonic() + 20
        while not listens(self._port):
            assert self._process.poll() is None and time.monotonic() < until, self._log.read_text()
            time.sleep(0.02)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process:
            self._process.kill()
            self._process.wait(10)

    @property
    def env(self) -> dict[str, str]:
        url = f"http://127.0.0.1:{self._port}"
        return {
            "OPENAI_BASE_URL": f"{url}/v1",
            "OPENAI_API_KEY": "test-key",
            "ANTHROPIC_BASE_URL": url,
            "ANTHROPIC_API_KEY": "test-key",
        }
