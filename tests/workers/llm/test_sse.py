"""Server-sent events: the same events come out, however the bytes were cut and the lines ended."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.llm.sse import MAX_EVENT_BYTES, Events, EventTooLong

STREAM = (
    ': a comment\n\nevent: x\ndata: {"a": "Zoë 🔥"}\nid: 7\n\n\n\ndata:one\ndata: two\ndata\n\n: keep\n\ndata: [DONE]'
)
EVENTS = ['{"a": "Zoë 🔥"}', "one\ntwo", "[DONE]"]


def read(chunks: list[bytes]) -> list[str]:
    events = Events()
    return [data for chunk in chunks for data in events.feed(chunk)] + list(events.end())


@given(st.lists(st.integers(0, 200)), st.sampled_from(["\n", "\r\n", "\r"]))
def test_events_are_the_same_however_they_are_cut(cuts: list[int], line_end: str) -> None:
    raw = STREAM.replace("\n", line_end).encode()
    edges = [0, *sorted(cut for cut in cuts if cut < len(raw)), len(raw)]
    assert read([raw[start:stop] for start, stop in pairwise(edges)]) == EVENTS


@given(st.lists(st.binary(max_size=40)))
def test_no_bytes_break_it(chunks: list[bytes]) -> None:
    read(chunks)


def test_an_event_is_given_as_soon_as_it_is_whole() -> None:
    events = Events()
    assert list(events.feed(b"data: a\n")) == []
    assert list(events.feed(b"\ndata: b")) == ["a"]


def test_an_event_without_data_is_none() -> None:
    """Some servers keep a connection alive with them."""
    assert read([b"data:\n\ndata: a\n\ndata: \n\n", b"data\n\n:\n\ndata: b\n\n"]) == ["a", "b"]
    assert read([b"data:\ndata:\n\n"]) == ["\n"]


@pytest.mark.parametrize("piece", [b"x" * 65536, b"data: " + b"x" * 65536 + b"\n"])
def test_what_never_ends_is_given_up(piece: bytes) -> None:
    events = Events()
    with pytest.raises(EventTooLong):
        for _ in range(2 * MAX_EVENT_BYTES // len(piece)):
            list(events.feed(piece))
