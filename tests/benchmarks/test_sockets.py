"""The load client reads frames however the network cuts them."""

import asyncio

import pytest

from benchmarks.sockets import Socket

ACCEPTED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"


class Wire(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.sent, self.is_over = b"", False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += bytes(data)

    def close(self) -> None:
        self.is_over = True

    abort = close


def frame(text: str, first: int = 0x81) -> bytes:
    data = text.encode()
    size = len(data)
    if size < 126:
        return bytes([first, size]) + data
    return bytes([first, 126 if size < 65536 else 127]) + size.to_bytes(2 if size < 65536 else 8, "big") + data


@pytest.mark.parametrize("step", [1, 7, 1000, 10**6])
async def test_texts_arrive_whole_whatever_their_size_and_the_cuts(step: int) -> None:
    texts = ["", "short", "ü" * 100, "x" * 200, "y" * 70_000]
    heard: list[str] = []
    socket, wire = Socket(b"GET", heard.append), Wire()
    socket.connection_made(wire)
    stream = ACCEPTED + b"".join(map(frame, texts))
    stream += frame("in ", 0x01) + frame("three ", 0x00) + frame("ping", 0x89) + frame("parts", 0x80) + frame("", 0x88)
    for at in range(0, len(stream), step):
        socket.data_received(stream[at : at + step])
    assert heard == [*texts, "in three parts"]
    assert wire.sent == b"GET" + b"\x8a\x84\0\0\0\0ping"
    assert wire.is_over
    await socket.opened


async def test_a_refused_handshake_is_an_error() -> None:
    socket = Socket(b"GET", lambda _: None)
    socket.connection_made(Wire())
    socket.data_received(b"HTTP/1.1 403 Forbidden\r\n\r\n")
    with pytest.raises(ConnectionError, match="403"):
        await socket.opened


def test_pings_are_answered_while_marks_are_counted() -> None:
    async def sent() -> bytes:
        socket, wire = Socket(b"", lambda _: None), Wire()
        socket.connection_made(wire)
        socket.data_received(ACCEPTED)
        socket.counting("a-mark")
        for data in (frame("ping", 0x89), frame("2"), frame("a-mark")):
            socket.data_received(data)
        assert socket.counted == 1
        return wire.sent

    assert asyncio.run(sent()) == b"\x8a\x84\0\0\0\0ping" + b"\x81\x81\0\0\0\0" + b"3"


@pytest.mark.parametrize("step", [1, 3, 11, 10**6])
def test_marks_are_counted_once_each_wherever_the_stream_is_cut(step: int) -> None:
    async def count() -> int:
        socket = Socket(b"", lambda _: None)
        socket.connection_made(Wire())
        socket.data_received(ACCEPTED)
        socket.counting("a-mark")
        stream = b"".join(frame(f"{number} a-mark a-mar {number}") for number in range(50))
        for at in range(0, len(stream), step):
            socket.data_received(stream[at : at + step])
        return socket.counted

    assert asyncio.run(count()) == 50
