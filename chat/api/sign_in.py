"""Signing in with a form, on the chat's own page and the admin's: likewise bounded, and clear about it."""

from typing import Any

from django.conf import settings
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from unfold.forms import AuthenticationForm as AdminsForm

from chat import limits
from chat.api.errors import headers_for
from chat.errors import RateLimited


def address_of(request: HttpRequest | None) -> str:
    """Where a request comes from. Behind a proxy: what that proxy saw, and not what the client said before."""
    if request is None:  # a form that is filled in by a program
        return ""
    seen: str = request.META.get("REMOTE_ADDR") or ""
    if settings.SECURE_PROXY_SSL_HEADER:
        seen = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip() or seen
    return seen


class Bounded(AuthenticationForm):
    """A form that looks at no password when too many were wrong."""

    problem: RateLimited | None = None

    def clean(self) -> dict[str, Any]:
        try:
            spent = limits.spend_sign_in(self.cleaned_data.get("username", ""), address_of(self.request))
        except RateLimited as problem:
            self.problem = problem
            raise ValidationError(f"{problem} Try again in {headers_for(problem)['Retry-After']} s.") from None
        found: dict[str, Any] = super().clean()
        if self.user_cache is not None:
            for one in spent:
                limits.give_back(one)
        return found


class AdminForm(Bounded, AdminsForm):
    pass


class SignIn(LoginView):
    template_name = "chat/login.html"
    form_class = Bounded
    redirect_authenticated_user = True

    def form_invalid(self, form: Any) -> HttpResponse:
        response = super().form_invalid(form)
        if form.problem is not None:
            response.status_code = form.problem.status
            for name, value in headers_for(form.problem).items():
                response.headers[name] = value
        return response
