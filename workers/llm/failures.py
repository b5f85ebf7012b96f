"""What a failure of a server means: its status, its error or its silence, as an `LLMError`.

Nothing that a server wrote is ever passed on: its words may hold a key, an address or a prompt.
"""

import math
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from workers.llm.base import Fault, LLMError

UNREADABLE = "The language model sent something that cannot be read."

_NO_HEADERS: Mapping[str, str] = {}
_TRY_AGAIN = {408, 409, 425, 429}
_SPENT_OUT = {"insufficient_quota", "billing_error", "billing_hard_limit_reached", "credit_balance_too_low"}
_NO_ENTRY = {"authentication_error", "permission_error", "invalid_api_key", "account_deactivated"}
_TOO_LONG = re.compile(
    r"context[_ ](length|window|size)|maximum context|too many (input )?tokens"
    r"|(prompt|input|request) (is )?too (long|large)|exceeds? .{0,40}(context|token limit|tokens? allowed)"
    r"|reduce the length",
    re.IGNORECASE,
)


def unavailable(message: str, retry_after_s: float | None = None) -> LLMError:
    return LLMError("llm_unavailable", message, temporary=True, retry_after_s=retry_after_s)


def unreadable() -> LLMError:
    return unavailable(UNREADABLE)


def broken_off() -> LLMError:
    return unavailable("The connection to the language model broke off.")


def told_error(error: Any, headers: Mapping[str, str] = _NO_HEADERS) -> LLMError:
    """Classify an error that a stream holds instead of a piece, or a body instead of a stream."""
    code = error.get("code") if isinstance(error, dict) else None
    if isinstance(code, int) and 400 <= code < 600:  # the status that it would have been refused with
        return refused(code, error, headers)
    words = _words(error)
    if fault := _fault_by(words):
        return _rejected(fault)
    if words & {"invalid_request_error", "content_filter", "content_policy_violation"}:
        return _rejected("validation")
    return unavailable("The language model reported an error.")


def refused(status: int, error: Any, headers: Mapping[str, str]) -> LLMError:
    fault = _fault_by(_words(error)) if 400 <= status < 500 else None
    if fault and (status != 429 or fault == "auth"):
        return _rejected(fault, status)
    if status >= 500 or status in _TRY_AGAIN:
        text = "is over its rate limit" if status == 429 else "is not available right now"
        return unavailable(f"The language model {text}.", retry_after_s(headers))
    if status in (401, 402, 403):
        return _rejected("auth", status)
    if status == 413:
        return _rejected("context", status)
    return _rejected("validation" if status in (400, 422) else "unknown", status)


def _words(error: Any) -> set[str]:
    """What an error calls itself, and "too_long" where its text says so."""
    if not isinstance(error, dict):
        return set()
    words = {str(error.get(key)).lower() for key in ("type", "code", "status")}
    message = str(error.get("message"))[:2000]
    if "credit balance is too low" in message:  # Anthropic says so in words alone
        words.add("billing_error")
    if _TOO_LONG.search(f"{words} {message}"):
        words.add("too_long")
    return words


def _fault_by(words: set[str]) -> Fault | None:
    if words & _SPENT_OUT or words & _NO_ENTRY:
        return "auth"
    return "context" if "too_long" in words or "request_too_large" in words else None


def _rejected(fault: Fault, status: int | None = None) -> LLMError:
    if fault == "context":
        reason = "the conversation is too long for it"
    elif fault == "auth":
        reason = "the key is not accepted" if status in (401, 403) else "the account has no access or no quota left"
    elif status == 404:
        reason = "the model is not known there"
    else:
        reason = f"status {status}" if status else "it is not valid"
    return LLMError("llm_rejected", f"The language model refused the request: {reason}.", fault=fault)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Read how long a server asks us to wait: in milliseconds, in seconds, or until a date."""
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        if not value:
            continue
        try:
            seconds = float(value) * unit_s
        except ValueError:
            try:
                seconds = parsedate_to_datetime(value).timestamp() - time.time()
            except (ValueError, TypeError, OverflowError):
                continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    return None
