"""Programs that check what operators copy: on PATH, else Debian's, which are unpacked beside ours and not installed.

An installation would start a server of theirs on the machine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(sys.prefix) / "debian"


def find(program: str, *packages: str) -> list[str]:
    """The command. Raises `RuntimeError` with what to install: what cannot be checked has not passed."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    if found := shutil.which(program, path=path):
        return [found]
    folder = FOLDER / program
    places = [folder / "usr/bin" / program, folder / "usr/sbin" / program, folder / "bin" / program]
    if not any(place.exists() for place in places) and shutil.which("apt-get"):
        folder.mkdir(parents=True, exist_ok=True)
        for package in packages:
            subprocess.run(["apt-get", "-qq", "download", package], cwd=folder, check=False)
        for file in folder.glob("*.deb"):
            subprocess.run(["dpkg-deb", "--extract", file, folder], check=False)
            file.unlink()
    for place in places:
        if place.exists():
            private = ("usr/lib/x86_64-linux-gnu", "usr/lib/systemd", "lib/systemd")
            return ["env", f"LD_LIBRARY_PATH={':'.join(str(folder / where) for where in private)}", str(place)]
    raise RuntimeError(f"{program} is not on PATH: install it (Debian: apt-get install {' '.join(packages)})")
