"""Clients that mean harm, or are merely broken: raw sockets that send what no library would, and read when told to."""

import json
import os
import socket
import struct
import time
from base64 import b64encode
from typing import Any, Self

TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9


def frame(payload: bytes, opcode: int = TEXT, *, fin: bool = True, rsv1: bool = False) -> bytes:
    """A masked frame of RFC 6455; the mask is of zeros, so the payload stays readable."""
    first = (0x80 if fin else 0) | (0x40 if rsv1 else 0) | opcode
    size = len(payload)
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 1 << 16:
        head = bytes((first, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, 0x80 | 127)) + size.to_bytes(8, "big")
    return head + b"\0\0\0\0" + payload


def command(kind: str, **data: Any) -> bytes:
    return frame(json.dumps({"type": kind, "ref": kind, "data": data}).encode())


class Raw:
    """One socket, opened as a WebSocket or not at all."""

    def __init__(self, port: int, *, buffer: int = 16 * 1024, timeout_s: float = 20) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.settimeout(timeout_s)
        self.socket.connect(("127.0.0.1", port))
        self.unread = b""

    def open(self, token: str, *headers: str) -> Self:
        key = b64encode(os.urandom(16)).decode()
        lines = ["GET /ws/ HTTP/1.1", "Host: 127.0.0.1", "Upgrade: websocket", "Connection: Upgrade"]
        lines += [f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", f"Authorization: Bearer {token}", *headers]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        while b"\r\n\r\n" not in self.unread:
            self.unread += self._some()
        self.answer, _, self.unread = self.unread.partition(b"\r\n\r\n")
        assert b" 101 " in self.answer.partition(b"\r\n")[0], self.answer
        return self

    def _some(self, most: int = 65536) -> bytes:
        data = self.socket.recv(most)
        if not data:
            raise ConnectionResetError
        return data

    def _exactly(self, count: int) -> bytes:
        while len(self.unread) < count:
            self.unread += self._some()
        data, self.unread = self.unread[:count], self.unread[count:]
        return data

    def read(self) -> tuple[int, bytes]:
        """The next frame's opcode and payload. Raises OSError when the server has gone."""
        first, size = self._exactly(2)
        if size == 126:
            [size] = struct.unpack("!H", self._exactly(2))
        elif size == 127:
            [size] = struct.unpack("!Q", self._exactly(8))
        return first & 15, self._exactly(size)

    def read_json(self) -> dict[str, Any]:
        while True:
            opcode, payload = self.read()
            if opcode == TEXT:
                frame: dict[str, Any] = json.loads(payload)
                return frame
            assert opcode != CLOSE, f"closed with {int.from_bytes(payload[:2], 'big')}"

    def close_code(self) -> int:
        """Read to the end: the code that the server closes with, 1006 where it just goes."""
        try:
            while True:
                opcode, payload = self.read()
                if opcode == CLOSE:
                    return int.from_bytes(payload[:2], "big")
        except TimeoutError:
            raise
        except OSError:
            return 1006

    def is_open(self) -> bool:
        """Whether the server still holds the other end: looked at without reading anything."""
        try:
            self.socket.setblocking(False)
            self.socket.send(frame(b"", PING))
        except BlockingIOError:
            return True
        except OSError:
            return False
        finally:
            self.socket.settimeout(20)
        return True

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def pour(self, data: bytes, for_s: float, most: int = 1 << 40) -> int:
        """Send the same again and again for as long as the server takes it. Gives how many bytes it took."""
        sent, until, rest = 0, time.monotonic() + for_s, memoryview(data)
        self.socket.settimeout(0.2)
        while time.monotonic() < until and sent < most:
            try:
                count = self.socket.send(rest)
            except TimeoutError:
                continue
            except OSError:
                break
            sent += count
            rest = rest[count:] or memoryview(data)
        self.socket.settimeout(20)
        return sent

    def reset(self) -> None:
        """Vanish with a RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def half_close(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)
