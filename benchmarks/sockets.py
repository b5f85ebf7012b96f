"""A WebSocket client that costs little, so that what is measured is the server: whole text frames, no extensions."""

import asyncio
import base64
import os
import struct
from collections.abc import Callable, Mapping
from typing import Self
from urllib.parse import urlsplit

Heard = Callable[[str], None]
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
# While marks are counted frames are not taken apart, so only a ping at the begin of what arrives is seen: in practice
# each, for a server sends them when it sends nothing else. The second is Engine.IO's own, a text that says 2.
PING_BYTE, ENGINE_PING = b"\x89", b"\x81\x012"


class Socket(asyncio.Protocol):
    """One connection: `heard` is called with each text, unless it is `counting` a mark in the bytes that pass."""

    def __init__(self, request: bytes, heard: Heard) -> None:
        self._request, self.heard = request, heard
        self._buffer = bytearray()
        self._is_open = False
        self._parts: list[bytes] = []
        self._mark = b""
        self._rest = b""
        self.counted = 0
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport

    @classmethod
    async def open(cls, url: str, heard: Heard, headers: Mapping[str, str] | None = None) -> Self:
        """Connect to ws://host:port/path. Raises ConnectionError."""
        where = urlsplit(url)
        path = where.path + (f"?{where.query}" if where.query else "")
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET {path} HTTP/1.1", f"Host: {where.netloc}", "Upgrade: websocket", "Connection: Upgrade"]
        lines += [f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        request = ("\r\n".join(lines) + "\r\n\r\n").encode()
        loop = asyncio.get_running_loop()
        _, socket = await loop.create_connection(lambda: cls(request, heard), where.hostname or "", where.port or 80)
        await asyncio.wait_for(socket.opened, 30)
        return socket

    def send(self, text: str) -> None:
        self._send(text.encode(), TEXT)

    def _send(self, data: bytes, kind: int) -> None:
        # A mask of zero is as valid as any other, and changes nothing.
        size = len(data)
        if size < 126:
            head = struct.pack("!BB", 0x80 | kind, 0x80 | size)
        elif size < 65536:
            head = struct.pack("!BBH", 0x80 | kind, 0x80 | 126, size)
        else:
            head = struct.pack("!BBQ", 0x80 | kind, 0x80 | 127, size)
        self.transport.write(head + b"\0\0\0\0" + data)

    def counting(self, mark: str) -> None:
        """From now on only count how often a mark passes."""
        self._mark, self._rest, self.counted = mark.encode(), b"", 0

    def close(self) -> None:
        self.transport.abort()

    # --- the protocol -------------------------------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self._request)

    def connection_lost(self, problem: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(ConnectionError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        if self._mark:
            if PING_BYTE in data or data == ENGINE_PING:
                self._answer_pings(data)
            seen = self._rest + data
            self.counted += seen.count(self._mark)
            self._rest = seen[-len(self._mark) + 1 :]  # too short to hold a mark, and long enough for a cut one
            return
        self._buffer += data
        if not self._is_open and not self._read_handshake():
            return
        while self._read_frame():
            pass

    def _answer_pings(self, data: bytes) -> None:
        """Answer wherever a ping may begin: it may come in one piece with texts, and an answer too many is ignored."""
        if data == ENGINE_PING:
            self.send("3")
            return
        at = data.find(PING_BYTE)
        while at >= 0:
            if len(payload := data[at + 2 : at + 2 + data[at + 1]] if at + 1 < len(data) else b"") < 126:
                self._send(payload, PONG)
            at = data.find(PING_BYTE, at + 1)

    def _read_handshake(self) -> bool:
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return False
        status = head.split(b" ", 2)[1]
        if status != b"101":
            self.opened.set_exception(ConnectionError(f"the server answered {status.decode()}"))
            self.transport.abort()
            return False
        self._is_open, self._buffer = True, rest
        self.opened.set_result(None)
        return True

    def _read_frame(self) -> bool:
        buffer = self._buffer
        if len(buffer) < 2:
            return False
        size, start = buffer[1] & 127, 2
        if size == 126:
            size, start = int.from_bytes(buffer[2:4], "big"), 4
        elif size == 127:
            size, start = int.from_bytes(buffer[2:10], "big"), 10
        if len(buffer) < start + size:
            return False
        first, data = buffer[0], bytes(buffer[start : start + size])
        del buffer[: start + size]
        kind = first & 15
        if kind == PING:
            self._send(data, PONG)
        elif kind == CLOSE:
            self.transport.close()
        elif kind <= TEXT:  # a text or what continues it
            self._parts.append(data)
            if first & 0x80:
                text, self._parts = b"".join(self._parts).decode(), []
                self.heard(text)
        return True
