"""Refresh tokens: each serves once, also when what is known of it is about to be forgotten."""

from datetime import timedelta

import pytest
from django.utils import timezone
from rest_framework_simplejwt.token_blacklist.models import OutstandingToken

from chat.actions import tokens
from chat.errors import NotAuthenticated
from chat.models import User


def test_a_used_token_that_the_leeway_would_still_take_serves_no_second_time(ada: User) -> None:
    refresh = tokens.issue_tokens(ada).refresh
    tokens.rotate_token(refresh)
    # For who prunes it has just run out, for who is shown it not yet.
    OutstandingToken.objects.update(expires_at=timezone.now() - timedelta(seconds=4))
    tokens.prune_tokens()
    with pytest.raises(NotAuthenticated):
        tokens.rotate_token(refresh)
