"""Signing in with a form, on the chat's own page and the admin's, and changing the password: bounded, and clear."""

from typing import Any

from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm
from django.contrib.auth.views import LoginView, PasswordChangeView
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext
from unfold.forms import AuthenticationForm as AdminsForm

from chat import limits
from chat.api.errors import headers_for
from chat.auth import client_address
from chat.errors import RateLimited
from chat.limits import Spent


class Counted:
    """A form that looks at no password when too many were wrong."""

    problem: RateLimited | None = None

    def spend(self, username: str, request: HttpRequest | None) -> list[Spent]:
        try:
            # None: a form that is filled in by a program.
            return limits.spend_sign_in(username, "" if request is None else client_address(request))
        except RateLimited as problem:
            self.problem = problem
            told = gettext("Too many attempts to sign in. Try again in %(seconds)s s.")
            raise ValidationError(told % {"seconds": headers_for(problem)["Retry-After"]}) from None


class Bounded(Counted, AuthenticationForm):
    def clean(self) -> dict[str, Any]:
        spent = self.spend(self.cleaned_data.get("username", ""), self.request)
        found: dict[str, Any] = super().clean()
        if self.user_cache is not None:
            for one in spent:
                limits.give_back(one)
        return found


class AdminForm(Bounded, AdminsForm):
    pass


class PasswordForm(Counted, PasswordChangeForm):
    """An open session is not yet the right to guess its password."""

    request: HttpRequest | None = None

    def clean_old_password(self) -> str:
        spent = self.spend(self.user.get_username(), self.request)
        found: str = super().clean_old_password()
        for one in spent:
            limits.give_back(one)
        return found


class Refusing:
    """A page with such a form: it says in its status, too, that one has to wait."""

    def form_invalid(self, form: Any) -> HttpResponse:
        response: HttpResponse = super().form_invalid(form)  # type: ignore[misc]
        if form.problem is not None:
            response.status_code = form.problem.status
            for name, value in headers_for(form.problem).items():
                response.headers[name] = value
        return response


class SignIn(Refusing, LoginView):
    template_name = "chat/login.html"
    form_class = Bounded
    redirect_authenticated_user = True


class ChangePassword(Refusing, PasswordChangeView):
    template_name = "chat/password.html"
    form_class = PasswordForm

    def get_form(self, form_class: Any = None) -> PasswordForm:
        form = PasswordForm(**self.get_form_kwargs())
        form.request = self.request
        return form

    def get_success_url(self) -> str:
        return reverse("password") + "?changed"
