"""A picture from elsewhere, in a page of its own, which the chat shows in a frame when somebody asks for it.

So the chat's own policy stays shut: this page may load from that one host, runs nothing, and does not say who asks.
"""

import re
import secrets
from urllib.parse import urlsplit

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

# It becomes a part of the policy: a host that held a blank or a semicolon would write rules of its own.
_PLACE = re.compile(r"(?:[a-z0-9_.-]+|\[[0-9a-f:]+\])(?::\d{1,5})?", re.IGNORECASE | re.ASCII)


@require_safe
@login_required
@never_cache
def picture(request: HttpRequest) -> HttpResponse:
    """`?address=` is the picture's; the browser asks its host, we never do."""
    address = request.GET.get("address", "")
    place, nonce = _place(address), secrets.token_urlsafe(16)
    if place is None:
        raise Http404
    response = render(request, "chat/picture.html", {"address": address, "nonce": nonce})
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; img-src {place}; style-src 'nonce-{nonce}'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'self'; sandbox"
    )
    response.headers["X-Frame-Options"] = "SAMEORIGIN"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _place(address: str) -> str | None:
    """Scheme and host of an address, as a policy names them; None where it may not be one of a picture."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"} or not _PLACE.fullmatch(parts.netloc):
        return None
    return f"{parts.scheme}://{parts.netloc}"
