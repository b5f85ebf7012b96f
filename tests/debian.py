"""Programs and libraries that tests need: the machine's, else Debian's, unpacked beside ours and not installed.

An installation would need root, and start a server of theirs on the machine.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

FOLDER = Path(sys.prefix) / "debian"
LISTS = ("-o", f"Dir::State::Lists={FOLDER / 'lists'}", "-o", f"Dir::Cache={FOLDER / 'cache'}")


def find(program: str, *packages: str) -> list[str]:
    """The command. Raises `RuntimeError` with what to install: what cannot be checked has not passed."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    if found := shutil.which(program, path=path):
        return [found]
    folder = FOLDER / program

    def places() -> list[Path]:
        return [folder / where / program for where in ("usr/bin", "usr/sbin", "bin", "sbin")]

    for place in _there(folder, packages, places):
        private = [*folder.glob("usr/lib/*-linux-gnu"), folder / "usr/lib/systemd", folder / "lib/systemd"]
        return ["env", f"LD_LIBRARY_PATH={':'.join(map(str, private))}", str(place)]
    raise RuntimeError(f"{program} is not on PATH: install it (Debian: apt-get install {' '.join(packages)})")


def find_library(name: str, package: str) -> Path:
    """A shared library, by its path in the folder of the machine's libraries. Raises `RuntimeError` likewise."""
    for found in Path("/usr/lib").glob(f"*-linux-gnu/{name}"):
        return found
    folder = FOLDER / package
    for found in _there(folder, (package,), lambda: [*folder.glob(f"usr/lib/*-linux-gnu/{name}")]):
        return found
    raise RuntimeError(f"there is no {name}: install it (Debian: apt-get install {package})")


def _there(folder: Path, packages: tuple[str, ...], places: Callable[[], list[Path]]) -> list[Path]:
    """Which of the places there are, once the packages were unpacked into the folder."""
    if not any(place.exists() for place in places()) and shutil.which("apt-get"):
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as lock:  # several of us may look for it
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not any(place.exists() for place in places()):
                _unpack(folder, packages)
    return [place for place in places() if place.exists()]


def _unpack(folder: Path, packages: tuple[str, ...]) -> None:
    if not _download(folder, packages):  # a fresh machine knows no packages, and only root may change that
        for place in ("lists/partial", "cache/archives/partial"):
            (FOLDER / place).mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "-qq", *LISTS, "update"], check=False)
        _download(folder, packages, *LISTS)
    for file in folder.glob("*.deb"):
        subprocess.run(["dpkg-deb", "--extract", file, folder], check=False)
        file.unlink()


def _download(folder: Path, packages: tuple[str, ...], *options: str) -> bool:
    done = [
        subprocess.run(["apt-get", "-qq", *options, "download", one], cwd=folder, check=False, capture_output=True)
        for one in packages
    ]
    return all(one.returncode == 0 for one in done)
