"""A server that answers every request with the bytes that it is given, and goes on saying the last of them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


class OddServer:
    """`heads` are the requests that came, in small letters."""

    def __init__(self, said: Sequence[bytes], again: bytes = b"") -> None:
        self.said, self.again = said, again
        self.heads: list[str] = []
        self.port = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode().lower())
            for part in self.said:
                writer.write(part)
            while self.again:
                await writer.drain()
                await asyncio.sleep(0.02)
                writer.write(self.again)
        except ConnectionError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def odd_server(*said: bytes, again: bytes = b"") -> AsyncIterator[OddServer]:
    server = OddServer(said, again)
    async with await asyncio.start_server(server.answer, "127.0.0.1", 0) as listening:
        server.port = listening.sockets[0].getsockname()[1]
        yield server
