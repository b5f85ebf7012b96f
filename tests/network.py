"""Networks of one's own, joined to ours by a cable that can be cut without either end being told. Linux, as root."""

import itertools
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

_numbers = itertools.count()


def why_not() -> str:
    """Why this machine can make none, or nothing."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not shutil.which("ip"):
        return "there is no `ip` (Debian: iproute2)"
    probe = f"chat-probe-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", probe], check=False, capture_output=True, text=True)
    if made.returncode:
        return f"network namespaces are not allowed: {made.stderr.strip()}"
    _ip("netns", "delete", probe)
    return ""


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


class Network:
    """A network namespace. What runs in it reaches us at `host`, and files (Unix sockets too) as always.

    A process that a kill -9 leaves behind keeps nothing: the cable goes when the namespace does, see `end`.
    """

    def __init__(self) -> None:
        number = next(_numbers)
        self.name = f"chat-{os.getpid()}-{number}"
        # A /30 of its own for each process and network, in a range that is routed nowhere.
        block = (os.getpid() % 4096) * 16 + number % 16
        base = f"10.{224 + block // 16384}.{block // 64 % 256}."
        self.host, self.inside = f"{base}{block % 64 * 4 + 1}", f"{base}{block % 64 * 4 + 2}"
        self._cable = f"ch{os.getpid() % 100000}n{number}"
        _ip("netns", "add", self.name)
        try:
            _ip("link", "add", self._cable, "type", "veth", "peer", "name", "cable", "netns", self.name)
            _ip("addr", "add", f"{self.host}/30", "dev", self._cable)
            _ip("link", "set", self._cable, "up")
            for words in (("addr", "add", f"{self.inside}/30", "dev", "cable"), ("link", "set", "cable", "up"),
                          ("link", "set", "lo", "up")):  # fmt: skip
                _ip("-n", self.name, *words)
        except AssertionError:
            self.end()
            raise

    def command(self, command: Sequence[str | Path]) -> list[str]:
        """Make a command run in this network: it is replaced by the program, so the process is that program's."""
        return ["ip", "netns", "exec", self.name, *map(str, command)]

    def cut(self) -> None:
        """Lose every packet from now on. No connection is told: only silence tells."""
        _ip("link", "set", self._cable, "down")

    def mend(self) -> None:
        _ip("link", "set", self._cable, "up")

    def end(self) -> None:
        subprocess.run(["ip", "link", "delete", self._cable], check=False, capture_output=True)
        subprocess.run(["ip", "netns", "delete", self.name], check=False, capture_output=True)
