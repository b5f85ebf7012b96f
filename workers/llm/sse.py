"""Server-sent events out of bytes that arrive cut anywhere: the lines of a stream, each event's data as one text.

It believes nothing of what a server sends: any line end, comments, fields that nobody knows, bytes that are no UTF-8.
An event that never ends is given up before it fills the memory.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator

MAX_EVENT_BYTES = 4 * 1024 * 1024


class EventTooLong(ValueError):
    """An event without an end."""


class Events:
    """Bytes in, the data of whole events out."""

    def __init__(self) -> None:
        self._rest = b""  # of a line that is not whole yet
        self._data: list[str] = []  # of an event that is not whole yet
        self._size = 0
        self._after_cr = False

    def feed(self, chunk: bytes) -> Iterator[str]:
        """Yield the data of each event that is whole by now. Raises: EventTooLong."""
        if self._after_cr and chunk:
            chunk, self._after_cr = chunk.removeprefix(b"\n"), False  # the line had ended with the \r before it
        if b"\r" in chunk:
            self._after_cr = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = chunk.split(b"\n")
        if len(lines) == 1:
            self._rest += chunk
            self._bound(len(self._rest))
            return
        lines[0] = self._rest + lines[0]
        self._rest = lines.pop()
        for line in lines:
            if not line:
                if self._data and (data := self._take()):  # as the standard has it, an event without data is none
                    yield data
            elif line.startswith(b"data:"):
                self._size += len(line)
                self._bound(self._size)
                self._data.append(line[6 if line[5:6] == b" " else 5 :].decode("utf-8", "replace"))
            # Else a comment that keeps the connection alive, or a field that says nothing to us.
        self._bound(len(self._rest))

    def end(self) -> Iterator[str]:
        """Yield what the body's end completes: some servers leave out the last empty line."""
        yield from self.feed(b"\n\n")

    def _take(self) -> str:
        data = self._data[0] if len(self._data) == 1 else "\n".join(self._data)
        self._data, self._size = [], 0
        return data

    def _bound(self, size: int) -> None:
        if size > MAX_EVENT_BYTES:
            raise EventTooLong


async def events_of(chunks: AsyncIterator[bytes]) -> AsyncGenerator[str, None]:
    """Yield the data of each event of a body. Raises: EventTooLong, and what the body raises."""
    events = Events()
    async for chunk in chunks:
        for data in events.feed(chunk):
            yield data
    for data in events.end():
        yield data
