"""Django's synchronous pages, made in a few threads: Django would take one, and a connection, for each request."""

import logging
import math
from collections.abc import Callable
from functools import partial
from typing import Any

from django.db import Error as AnyDatabaseError
from django.http import HttpResponse
from django.http.response import HttpResponseBase

from chat.database import Pool
from chat.errors import Unavailable

log = logging.getLogger(__name__)


async def made_by(pool: Pool, view: Callable[[], Any]) -> HttpResponseBase:
    """Make a page. Where the database does not answer, nobody waits for long, and they are told so."""
    try:
        return await pool.run(partial(rendered, view))
    except Unavailable as problem:
        told = problem
    except AnyDatabaseError as problem:
        log.warning("the database failed: %s", type(problem).__name__, exc_info=problem)
        told = Unavailable()
    later = {"Retry-After": str(math.ceil(told.retry_after_s))}
    return HttpResponse(str(told), status=told.status, content_type="text/plain", headers=later)


def rendered(view: Callable[[], Any]) -> HttpResponseBase:
    response: Any = view()
    return response.render() if hasattr(response, "render") else response  # else Django would, in another thread
