"""What can go wrong between the terminal and the server, as the person at the terminal is told it."""

from typing import Any, Self


class Trouble(Exception):
    """Drawn as one line; `str()` is fit to be shown."""


class Refused(Trouble):
    """The server answered, and the answer is an error."""

    def __init__(self, code: str, message: str, *, temporary: bool = False, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.temporary = temporary
        self.retry_after_s = retry_after_s

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Self:
        return cls(
            str(data.get("code", "internal")),
            str(data.get("message") or data.get("code") or "the server refused"),
            temporary=bool(data.get("temporary")),
            retry_after_s=data.get("retry_after_s"),
        )


class Offline(Trouble):
    """Nobody answered; nothing is known of whether the server did what it was asked."""


class SignInRefused(Trouble):
    """Name and password were not accepted, or are no longer: only a person can go on."""
