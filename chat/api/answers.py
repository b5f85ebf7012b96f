"""What a door answers. Its annotation is the only place that says so: the schema is read from there.

`-> Answer[SessionData]` is 200 with a session as JSON, and mypy holds the method to it.
"""

from collections.abc import AsyncIterable, Callable
from typing import Any, ClassVar, Generic, Self, TypeVar

from django.http import HttpResponse, StreamingHttpResponse

from chat.errors import ChatError
from chat.protocol.frames import dumps

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class Answer(HttpResponse, Generic[T]):
    """JSON."""

    status: ClassVar[int] = 200
    told: ClassVar[str] = "Done."

    def __init__(self, data: T) -> None:
        super().__init__(dumps(data), content_type="application/json", status=self.status)

    @classmethod
    def of_text(cls, text: str) -> Self:
        """Answer with what is JSON text already."""
        made = cls.__new__(cls)
        HttpResponse.__init__(made, text, content_type="application/json", status=cls.status)
        return made


class Created(Answer[T]):
    status = 201
    told = "Made."


class Accepted(Answer[T]):
    status = 202
    told = "Taken, and not done yet."


class Down(Answer[T]):
    status = 503
    told = "It cannot work."


class Done(HttpResponse):
    """Nothing more to say."""

    status: ClassVar[int] = 204
    told: ClassVar[str] = "Done."

    def __init__(self) -> None:
        super().__init__(status=self.status)


class Text(HttpResponse):
    """Plain text, of a kind that the one who asks may choose."""

    status: ClassVar[int] = 200
    told: ClassVar[str] = "Done."
    media_type: ClassVar[str] = "text/plain"


class Stream(StreamingHttpResponse, Generic[T]):
    """Server-sent events; each one's data is a `T`."""

    status: ClassVar[int] = 200
    told: ClassVar[str] = "As JSON, or as a stream."
    media_type: ClassVar[str] = "text/event-stream"

    def __init__(self, pieces: AsyncIterable[str]) -> None:
        super().__init__(pieces, content_type=self.media_type, headers={"X-Accel-Buffering": "no"})


def raises(*problems: type[ChatError]) -> Callable[[F], F]:
    """Name what a method refuses with, beyond what its parameters already tell."""

    def note(method: F) -> F:
        method.problems = problems  # type: ignore[attr-defined]
        return method

    return note
