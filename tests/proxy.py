"""A door between two processes that a test may shut, make swallow what comes back, or lead elsewhere."""

import asyncio
import contextlib
import sys
import threading
from pathlib import Path

from tests.processes import free_port

Target = int | Path  # a port of the loopback interface, or a Unix socket


class Proxy:
    """Listens on a port of its own, in a thread of its own: it goes on while the test blocks."""

    def __init__(self, target: Target, host: str = "127.0.0.1", port: int = 0) -> None:
        self.target, self.host, self.port = target, host, port or free_port()
        self.swallowed = b""
        self._swallows = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        listening = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(listening,), name="proxy", daemon=True)
        self._thread.start()
        assert listening.wait(5)

    def _run(self, listening: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._server = self._loop.run_until_complete(asyncio.start_server(self._serve, self.host, self.port))
        listening.set()
        self._loop.run_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if isinstance(self.target, Path):
                there, back = await asyncio.open_unix_connection(self.target)
            else:
                there, back = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, back}
        pumps = [self._pump(reader, back, False), self._pump(there, writer, True)]
        tasks = [asyncio.ensure_future(pump) for pump in pumps]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        for one in (writer, back):
            self._writers.discard(one)
            one.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_answer: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if is_answer and self._swallows:
                    self.swallowed += data
                    continue
                writer.write(data)
                await writer.drain()

    # -- from the test's thread ----------------------------------------------------------------------------------------

    def swallow(self) -> None:
        """Let everything in, and nothing back out."""
        self.swallowed, self._swallows = b"", True

    def lead_to(self, target: Target) -> None:
        """Send who comes from now on elsewhere, and cut off who is there."""
        self.target = target
        self.cut()

    def cut(self) -> None:
        """End every connection, as a reset would, and be honest again."""

        async def cut() -> None:
            self._swallows = False
            for writer in self._writers:
                writer.transport.abort()

        asyncio.run_coroutine_threadsafe(cut(), self._loop).result(5)

    def end(self) -> None:
        async def end() -> None:
            self._server.close()
            ours = asyncio.all_tasks() - {asyncio.current_task()}
            for task in ours:
                task.cancel()
            await asyncio.gather(*ours, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)


if __name__ == "__main__":  # a process of its own, in whatever network that is: HOST PORT SOCKET
    Proxy(Path(sys.argv[3]), sys.argv[1], int(sys.argv[2]))._thread.join()
