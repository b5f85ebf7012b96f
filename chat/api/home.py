"""The pages for people: signing in, how to talk to the server, and what it can be asked."""

from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LogoutView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from chat.api.sign_in import SignIn

sign_in = SignIn.as_view()
sign_out = LogoutView.as_view()


@require_safe
@login_required
def home(request: HttpRequest) -> HttpResponse:
    address = request.build_absolute_uri("/").rstrip("/")
    socket = "ws" + address.removeprefix("http") + "/ws/"
    return render(request, "chat/home.html", {"address": address, "socket": socket})


# Nothing from another host, no script but the files named there. Swagger UI draws its icons as data: URLs.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@require_safe
def docs(request: HttpRequest) -> HttpResponse:
    response = render(request, "chat/docs.html")
    response.headers["Content-Security-Policy"] = POLICY
    return response
