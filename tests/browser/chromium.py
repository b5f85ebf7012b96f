"""The browser of the tests: a Chromium on PATH, else Debian's, which is installed where that is allowed."""

import os
import shutil
import subprocess

NAMES = ("chromium", "chromium-browser", "google-chrome")
# No sandbox: in a container there are no user namespaces to make one of. Nothing here asks another host.
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def find() -> str:
    """The program. Raises `RuntimeError` with what to install."""
    if found := on_path():
        return found
    if os.geteuid() == 0 and shutil.which("apt-get"):
        print("No Chromium on PATH: Debian's is installed …", flush=True)
        environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in ("update", "install --yes --no-install-recommends chromium"):
            subprocess.run(["apt-get", "-qq", *command.split()], env=environ, check=False)
        if found := on_path():
            return found
    raise RuntimeError(f"Install Chromium (Debian: apt-get install chromium): none of {', '.join(NAMES)} is on PATH.")


def on_path() -> str | None:
    return next((found for name in NAMES if (found := shutil.which(name))), None)
