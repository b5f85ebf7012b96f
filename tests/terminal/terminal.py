"""The other side of a terminal: keys in, a picture out."""

import asyncio
import fcntl
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tests.terminal.server import PASSWORD, ScriptedServer

ROOT = Path(__file__).resolve().parent.parent.parent
ORDERS = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07]*\x07|\x1b[=>]")


class Terminal:
    """The other side of a pseudo-terminal of 24 rows and 80 columns."""

    def __init__(self, process: asyncio.subprocess.Process, descriptor: int) -> None:
        self.process, self._descriptor = process, descriptor
        self.raw = ""
        asyncio.get_running_loop().add_reader(descriptor, self._read)

    def _read(self) -> None:
        data = b""
        with suppress(OSError):  # Linux says so when the other side has gone
            data = os.read(self._descriptor, 65536)
        self.raw += data.decode(errors="replace")
        if not data:
            asyncio.get_running_loop().remove_reader(self._descriptor)

    @property
    def text(self) -> str:
        return ORDERS.sub("", self.raw)

    def type(self, keys: str) -> None:
        os.write(self._descriptor, keys.encode())

    async def shows(self, *wanted: str) -> None:
        try:
            async with asyncio.timeout(15):
                while not all(part in self.text for part in wanted):
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"{wanted} not in\n{self.text[-3000:]}") from None

    async def leaves(self) -> int:
        """Press Ctrl-D until it is heard: in the moments when the client prints, the kernel takes it for itself."""
        for _ in range(15):
            with suppress(OSError):  # it has gone
                self.type("\x04")
            with suppress(TimeoutError):
                return await asyncio.wait_for(self.process.wait(), 1)
        raise AssertionError(f"it is still there:\n{self.text[-3000:]}")

    async def ended(self) -> int:
        return await asyncio.wait_for(self.process.wait(), 15)


@asynccontextmanager
async def terminal(server: ScriptedServer, *more: str, **env: str) -> AsyncIterator[Terminal]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    # No answer to "where is the cursor?" comes from this terminal.
    kept = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1", "LC_ALL": "C.UTF-8"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "chat.terminal", "--url", server.url, "--user", "ada", *more),
        cwd=ROOT,
        env=kept | {"CHAT_PASSWORD": PASSWORD} | env,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        # Ctrl-C comes from the terminal: in the moments when the client prints, the kernel makes it a signal.
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    shown = Terminal(process, ours)
    try:
        yield shown
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        asyncio.get_running_loop().remove_reader(ours)
        os.close(ours)
