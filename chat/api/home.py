"""The pages for people: signing in, and how to talk to the server."""

from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

sign_in = LoginView.as_view(template_name="chat/login.html", redirect_authenticated_user=True)
sign_out = LogoutView.as_view()


@require_safe
@login_required
def home(request: HttpRequest) -> HttpResponse:
    address = request.build_absolute_uri("/").rstrip("/")
    socket = "ws" + address.removeprefix("http") + "/ws/"
    return render(request, "chat/home.html", {"address": address, "socket": socket})
