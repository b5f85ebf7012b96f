"""Signing in: a password for tokens, and who one is."""

from functools import cache, partial
from typing import Annotated

from django.contrib.auth import authenticate
from django.http import HttpResponse
from pydantic import StringConstraints

from chat.actions import tokens
from chat.api.doors import Door, done, reply
from chat.database import Pool, writing
from chat.errors import NotAuthenticated
from chat.models import User
from chat.protocol.commands import Body


class SignIn(Body):
    username: Annotated[str, StringConstraints(min_length=1, max_length=150)]
    password: Annotated[str, StringConstraints(min_length=1, max_length=4096)]


class Refresh(Body):
    refresh: Annotated[str, StringConstraints(min_length=1, max_length=8192)]


@cache
def _doorkeepers() -> Pool:
    # To check a password takes a core for a long moment, on purpose: it must not keep others from the database.
    return Pool("password", 2)


class Token(Door):
    signed_in = False

    async def post(self, body: SignIn) -> HttpResponse:
        user = await _doorkeepers().run(partial(authenticate, username=body.username, password=body.password))
        if not isinstance(user, User):
            raise NotAuthenticated("The name or the password is wrong.")
        return reply((await writing(tokens.issue_tokens, user))._asdict())


class TokenRefresh(Door):
    signed_in = False

    async def post(self, body: Refresh) -> HttpResponse:
        return reply((await writing(tokens.rotate_token, body.refresh))._asdict())


class TokenRevoke(Door):
    signed_in = False

    async def post(self, body: Refresh) -> HttpResponse:
        await writing(tokens.revoke_token, body.refresh)
        return done()


class Me(Door):
    async def get(self) -> HttpResponse:
        return reply({**self.user.as_data(), "is_staff": self.user.is_staff})
