"""Makes a peer's environment in .venv/peers/ from its pins, once for each version of them."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
MADE = HERE.parent.parent / ".venv" / "peers"


class Missing(Exception):
    """A peer cannot be installed: a comparison without it would be no comparison."""


def python(peer: str) -> Path:
    """Give the Python of a peer that has a requirements.txt."""
    folder, lock = MADE / peer, HERE / peer / "requirements.txt"
    program = folder / "bin" / "python"
    if _is_new(folder, lock):
        uv: list[str | Path] = [sys.executable, "-m", "uv"]
        _run(peer, [*uv, "venv", "--quiet", "--clear", "--python", sys.executable, folder])
        _run(peer, [*uv, "pip", "install", "--quiet", "--require-hashes", "--python", program, "-r", lock])
        _stamp(folder, lock)
    return program


def node() -> Path:
    """Give the node of this machine, else the one of a wheel."""
    found = shutil.which("node") if shutil.which("npm") else None
    return Path(found) if found else python("node").parent / "node"


def node_modules(peer: str) -> Path:
    """Give the modules of a peer that has a package-lock.json."""
    folder, lock = MADE / peer, HERE / peer / "package-lock.json"
    if _is_new(folder, lock):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / peer / name, folder)
        path = f"{node().parent}{os.pathsep}{os.environ['PATH']}"
        npm: list[str | Path] = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        _run(peer, npm, env=os.environ | {"PATH": path}, cwd=folder)
        _stamp(folder, lock)
    return folder / "node_modules"


def _sum(lock: Path) -> str:
    return hashlib.sha256(lock.read_bytes()).hexdigest()


def _is_new(folder: Path, lock: Path) -> bool:
    stamp = folder / ".lock"
    return not stamp.exists() or stamp.read_text() != _sum(lock)


def _stamp(folder: Path, lock: Path) -> None:
    (folder / ".lock").write_text(_sum(lock))


def _run(peer: str, command: Sequence[str | Path], **popen: Any) -> None:
    print(f"Installing {peer} …", file=sys.stderr, flush=True)
    try:
        done = subprocess.run(command, check=False, text=True, capture_output=True, **popen)
    except OSError as problem:
        raise Missing(f"{peer}: {problem}") from problem
    if done.returncode:
        raise Missing(f"{peer} cannot be installed:\n{done.stdout}{done.stderr}")
