"""Signing in: a password for tokens, and who one is."""

from functools import cache, partial
from typing import Annotated

from django.contrib.auth import authenticate
from pydantic import StringConstraints

from chat import limits
from chat.actions import tokens
from chat.api.answers import Answer, Done, raises
from chat.api.doors import Door
from chat.auth import client_address
from chat.database import PATIENT_S, Pool, reading, writing
from chat.errors import NotAuthenticated, RateLimited
from chat.models import User
from chat.protocol.commands import AsWritten, Body, Username
from chat.protocol.shapes import MeData, TokensData


class SignIn(Body):
    username: Username
    password: Annotated[str, StringConstraints(min_length=1, max_length=4096), AsWritten]


class Refresh(Body):
    refresh: Annotated[str, StringConstraints(min_length=1, max_length=8192)]


@cache
def _doorkeepers() -> Pool:
    # To check a password takes a core for a long moment, on purpose: it must not keep others from the database.
    return Pool("password", 2, within_s=PATIENT_S)


class Token(Door):
    signed_in = False

    @raises(NotAuthenticated, RateLimited)
    async def post(self, body: SignIn) -> Answer[TokensData]:
        """Sign in with a password, for a pair of tokens."""
        spent = await reading(limits.spend_sign_in, body.username, client_address(self.request))
        user = await _doorkeepers().run(partial(authenticate, username=body.username, password=body.password))
        if not isinstance(user, User):
            raise NotAuthenticated("The name or the password is wrong.")
        for one in spent:
            limits.give_back(one)
        return Answer((await writing(tokens.issue_tokens, user)).as_data())


class TokenRefresh(Door):
    signed_in = False

    @raises(NotAuthenticated)
    async def post(self, body: Refresh) -> Answer[TokensData]:
        """Exchange a refresh token, once, for the next pair."""
        return Answer((await writing(tokens.rotate_token, body.refresh)).as_data())


class TokenRevoke(Door):
    signed_in = False

    @raises(NotAuthenticated)
    async def post(self, body: Refresh) -> Done:
        """Make a refresh token worthless."""
        await writing(tokens.revoke_token, body.refresh)
        return Done()


class Me(Door):
    async def get(self) -> Answer[MeData]:
        """Tell who one is."""
        return Answer({**self.user.as_data(), "is_staff": self.user.is_staff})
