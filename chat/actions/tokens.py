"""Tokens for programs: a short one that opens the doors, and a long one that is exchanged, once, for the next pair."""

from datetime import timedelta
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models.signals import pre_save
from django.dispatch import receiver
from django.utils import timezone
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.token_blacklist.models import OutstandingToken
from rest_framework_simplejwt.tokens import RefreshToken
from rest_framework_simplejwt.utils import get_md5_hash_password

from chat.actions.events import action
from chat.actions.forget import delete_some
from chat.errors import NotAuthenticated
from chat.models import User
from chat.protocol.shapes import TokensData

# How long a token is remembered that ran out: the leeway still takes it, and so does a host whose clock is behind.
REMEMBERED = timedelta(hours=1)
INVALID = "The token is not valid, was used or has run out."


@receiver(pre_save, sender=OutstandingToken)
def forget_token(instance: Any, **_: object) -> None:
    """The package would store each token whole, and looks for its jti alone: a stolen table opens nothing."""
    instance.token = ""


class Tokens(NamedTuple):
    access: str
    refresh: str
    expires_in_s: int  # of the access token

    def as_data(self) -> TokensData:
        return {"access": self.access, "refresh": self.refresh, "expires_in_s": self.expires_in_s}


def issue_tokens(user: User) -> Tokens:
    refresh = RefreshToken.for_user(user)
    return Tokens(str(refresh.access_token), str(refresh), int(api_settings.ACCESS_TOKEN_LIFETIME.total_seconds()))


@action
def rotate_token(refresh: str) -> Tokens:
    """Exchange a refresh token for a new pair. It serves once, and not after its user's password was changed.

    Raises `NotAuthenticated`.
    """
    with transaction.atomic():
        old = _checked(refresh)
        user = User.objects.filter(pk=old[api_settings.USER_ID_CLAIM], is_active=True).first()
        if user is None or old.get(api_settings.REVOKE_TOKEN_CLAIM) != get_md5_hash_password(user.password):
            raise NotAuthenticated(INVALID)
        _use_up(old)
        return issue_tokens(user)


@action
def revoke_token(refresh: str) -> None:
    """Make a refresh token worthless. Raises `NotAuthenticated`."""
    with transaction.atomic():
        _use_up(_checked(refresh))


def prune_tokens() -> None:
    """Forget refresh tokens that ran out a while ago, and their use: their date alone makes them worthless."""
    seen, old = 0, OutstandingToken.objects.filter(expires_at__lt=timezone.now() - REMEMBERED).order_by("pk")
    while some := delete_some(old.filter(pk__gt=seen)):
        seen = some[-1]  # no index knows their dates: so each is looked at once


def _checked(refresh: str) -> RefreshToken:
    try:
        return RefreshToken(refresh)  # type: ignore[arg-type]
    except TokenError:
        raise NotAuthenticated(INVALID) from None


def _use_up(token: RefreshToken) -> None:
    """Of two that try at the same time one makes the row."""
    made: object = token.blacklist()
    if isinstance(made, tuple) and not made[1]:
        raise NotAuthenticated(INVALID)
