"""Everything that can go wrong in a way a client may be told about.

ChatError
├─ InvalidInput          400
├─ NotAuthenticated      401
├─ ForbiddenOrigin       403
├─ NotAllowed            403
├─ NotFound              404  also what is not yours
├─ MethodNotAllowed      405
├─ SessionClosed · Busy · Conflict · AlreadyResolved · Expired   409
├─ TooOld                410
├─ TooLarge              413
├─ RateLimited · TooManyWaiting · TooManyConnections · QuotaExceeded   429, temporary, with retry_after_s
├─ Internal              500
└─ Unavailable           503, temporary

`Fenced` is not for clients: a worker wrote under a claim that it no longer holds.
"""

from typing import Any, ClassVar


class ChatError(Exception):
    """One error of the wire. The message is shown to people: it never holds a secret, a path or another's existence."""

    code: ClassVar[str]
    status: ClassVar[int]
    temporary: ClassVar[bool] = False
    default: ClassVar[str]
    retry_after_s: float | None = None

    def __init__(
        self, message: str = "", *, fields: dict[str, str] | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message or self.default)
        self.fields = fields
        if retry_after_s is not None:
            self.retry_after_s = retry_after_s

    def as_data(self) -> dict[str, Any]:
        data: dict[str, Any] = {"code": self.code, "message": str(self), "temporary": self.temporary}
        if self.retry_after_s is not None:
            data["retry_after_s"] = round(self.retry_after_s, 3)
        if self.fields:
            data["fields"] = self.fields
        return data


class InvalidInput(ChatError):
    code, status, default = "invalid_input", 400, "The input is not valid."


class NotAuthenticated(ChatError):
    code, status, default = "not_authenticated", 401, "Sign in first."


class ForbiddenOrigin(ChatError):
    code, status, default = "forbidden_origin", 403, "Connections from this origin are not allowed."


class NotAllowed(ChatError):
    code, status, default = "not_allowed", 403, "You may read this session, but not change it."


class NotFound(ChatError):
    code, status, default = "not_found", 404, "There is no such thing, or it is not yours."


class MethodNotAllowed(ChatError):
    code, status, default = "method_not_allowed", 405, "This method is not allowed here."


class SessionClosed(ChatError):
    code, status, default = "session_closed", 409, "The session is closed and takes no messages."


class Busy(ChatError):
    code, status, default = "busy", 409, "The session is busy with another answer."


class Conflict(ChatError):
    code, status, default = "conflict", 409, "This does not fit the present state."


class AlreadyResolved(ChatError):
    code, status, default = "already_resolved", 409, "This was already answered."


class Expired(ChatError):
    code, status, default = "expired", 409, "This has expired."


class TooOld(ChatError):
    code, status, default = "too_old", 410, "Events that old are no longer kept: get the session and go on from there."


class TooLarge(ChatError):
    code, status, default = "too_large", 413, "This is too large."


class RateLimited(ChatError):
    code, status, temporary = "rate_limited", 429, True
    default = "Too many messages in a short time."
    retry_after_s = 1.0


class TooManyWaiting(ChatError):
    code, status, temporary = "too_many_waiting", 429, True
    default = "Too many messages wait in this session."
    retry_after_s = 5.0


class TooManyConnections(ChatError):
    code, status, temporary = "too_many_connections", 429, True
    default = "You have too many connections open."
    retry_after_s = 10.0


class QuotaExceeded(ChatError):  # named in docs/protocol.md for clients to know; nothing here raises it yet
    code, status, temporary = "quota_exceeded", 429, True
    default = "The quota is used up."
    retry_after_s = 60.0


class Internal(ChatError):
    code, status, default = "internal", 500, "Something went wrong on our side."


class Unavailable(ChatError):
    code, status, temporary, default = "unavailable", 503, True, "The server cannot do this right now."
    retry_after_s = 1.0


class Fenced(Exception):
    """This worker's claim on the run is gone: nothing it does may count any more."""
