"""Make .venv and install a locked set of packages into it: `python3 chatproject/launch/install.py requirements.txt`.

Runs on the system's Python before anything is installed: only the standard library, and only a syntax that a Python
which is too old can read as far as the line that tells so.
"""

import fcntl
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

if sys.version_info < (3, 11):
    sys.exit("Python 3.11 or newer is needed; this is {}. Try: make PYTHON=python3.12 …".format(sys.version.split()[0]))

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
HASHED = ["install", "-qq", "--require-hashes", "--requirement"]


def main(requirements: str) -> None:
    # Two stacks may be started at once in a fresh checkout. The system lets go when we end, however we end.
    fcntl.flock(os.open(ROOT, os.O_RDONLY), fcntl.LOCK_EX)
    print(f"Installing {requirements} into .venv …", flush=True)
    if not runs(PYTHON, "-m", "pip", "--version"):
        make_venv()
    if not install_with_uv(requirements):
        print("uv cannot do it here; pip does, which takes longer …", flush=True)
        if pip(*HASHED, requirements).returncode:
            sys.exit("The packages could not be installed: see above.")


def make_venv() -> None:
    if not (importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip")):
        sys.exit("This Python has no venv or ensurepip (Debian, Ubuntu: apt-get install python3-venv).")
    if subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=False).returncode:
        sys.exit("The virtual environment .venv could not be made: see above.")


def install_with_uv(requirements: str) -> bool:
    """uv is many times faster, but knows nothing of pip's configuration: where that matters, it fails and pip works."""
    pinned = re.search(r"^uv==(\S+)(?:.*\\\n)*.*", (ROOT / "requirements-dev.txt").read_text(), re.MULTILINE)
    if pinned is None:
        return False
    version = pinned[1]
    if not runs(PYTHON, "-c", f"import importlib.metadata as m; assert m.version('uv') == {version!r}"):
        only_uv = VENV / ".uv.txt"
        only_uv.write_text(pinned[0])
        if pip(*HASHED, str(only_uv), capture_output=True).returncode:
            return False
    patience = {"UV_HTTP_TIMEOUT": "20", "UV_HTTP_RETRIES": "1", "UV_SYSTEM_CERTS": "1", **os.environ}
    command = [str(PYTHON), "-m", "uv", "pip", *HASHED, requirements, "--python", str(PYTHON)]
    return not subprocess.run(command, cwd=ROOT, env=patience, check=False).returncode


def pip(*arguments: str, capture_output: bool = False) -> subprocess.CompletedProcess[bytes]:
    command = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=capture_output)


def runs(*command: str | Path) -> bool:
    try:
        return not subprocess.run(command, check=False, capture_output=True).returncode
    except OSError:
        return False


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except KeyboardInterrupt:
        sys.exit(130)
