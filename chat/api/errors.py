"""What goes wrong, whoever raised it, as HTTP tells it: `{"error": {code, message, temporary, …}}`."""

import logging
import math

from django.core.exceptions import BadRequest, DisallowedHost, PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import Error as DatabaseError  # InterfaceError, too, which Django's DatabaseError is not
from django.http import Http404, HttpRequest, HttpResponse
from django.http.request import UnreadablePostError
from django.views import defaults
from django.views.decorators.csrf import csrf_exempt
from rest_framework import exceptions

from chat import metrics
from chat.errors import (
    ChatError,
    Internal,
    InvalidInput,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    TooLarge,
    Unavailable,
)
from chat.protocol.frames import dumps

log = logging.getLogger(__name__)


def as_chat_error(problem: Exception) -> ChatError:
    """What a client may be told about an exception. What is our own fault is logged, and told without its words."""
    if isinstance(problem, ChatError):
        return problem
    if isinstance(problem, exceptions.APIException):
        return _of_rest_framework(problem)
    if isinstance(problem, Http404):
        return NotFound()
    if isinstance(problem, PermissionDenied):
        return NotAllowed("This is not allowed.")
    if isinstance(problem, RequestDataTooBig):
        return TooLarge()
    if isinstance(problem, DisallowedHost):
        return InvalidInput("The Host of the request is none of this server's names, or no name at all.")
    if isinstance(problem, (SuspiciousOperation, BadRequest, UnreadablePostError)):
        return InvalidInput()
    if isinstance(problem, DatabaseError):
        log.warning("the database failed: %s", type(problem).__name__, exc_info=problem)
        return Unavailable()
    log.error("a request failed", exc_info=problem)
    return Internal()


def _of_rest_framework(problem: exceptions.APIException) -> ChatError:
    """What its authenticators raise: no view is rest framework's."""
    if isinstance(problem, exceptions.NotAuthenticated):
        return NotAuthenticated()
    if isinstance(problem, exceptions.AuthenticationFailed):
        return NotAuthenticated("The token is not valid, or has run out.")
    if isinstance(problem, exceptions.PermissionDenied):
        return NotAllowed(str(problem.detail))
    if problem.status_code >= 500:
        log.error("a request failed", exc_info=problem)
        return Internal()
    return InvalidInput()


def headers_for(problem: ChatError) -> dict[str, str]:
    headers = {}
    if problem.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(problem.retry_after_s)))
    if isinstance(problem, NotAuthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    return headers


def error_response(problem: Exception) -> HttpResponse:
    told = as_chat_error(problem)
    metrics.ERRORS.labels("http", told.code).inc()
    text = dumps({"error": told.as_data()})
    return HttpResponse(text, content_type="application/json", status=told.status, headers=headers_for(told))


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """What Django refuses before any door or page is asked, such as a Host that is no name."""
    if f"{request.path_info}/".startswith("/api/"):
        return error_response(exception)
    return defaults.bad_request(request, exception)


@csrf_exempt  # or a program would be shown the page against forged requests, and not told what it missed
async def unknown_path(request: HttpRequest) -> HttpResponse:
    return error_response(NotFound())
