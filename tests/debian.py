"""Programs that check what operators copy: on PATH, else Debian's, which are unpacked beside ours and not installed.

An installation would need root, and start a server of theirs on the machine.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(sys.prefix) / "debian"
LISTS = ("-o", f"Dir::State::Lists={FOLDER / 'lists'}", "-o", f"Dir::Cache={FOLDER / 'cache'}")


def find(program: str, *packages: str) -> list[str]:
    """The command. Raises `RuntimeError` with what to install: what cannot be checked has not passed."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    if found := shutil.which(program, path=path):
        return [found]
    folder = FOLDER / program
    places = [folder / where / program for where in ("usr/bin", "usr/sbin", "bin", "sbin")]
    if not any(place.exists() for place in places) and shutil.which("apt-get"):
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as lock:  # several of us may look for it
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not any(place.exists() for place in places):
                _unpack(folder, packages)
    for place in places:
        if place.exists():
            private = [*folder.glob("usr/lib/*-linux-gnu"), folder / "usr/lib/systemd", folder / "lib/systemd"]
            return ["env", f"LD_LIBRARY_PATH={':'.join(map(str, private))}", str(place)]
    raise RuntimeError(f"{program} is not on PATH: install it (Debian: apt-get install {' '.join(packages)})")


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
