"""Passes for WebSockets, and what they opened when what they were bought with has ended."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.sessions.backends.db import SessionStore
from rest_framework_simplejwt.tokens import AccessToken

from chat import auth
from chat.actions import api_keys, tickets
from chat.auth import identify, is_still_good
from chat.errors import NotAuthenticated
from chat.models import ApiKey, Ticket, User
from chat.protocol.commands import NewApiKey
from tests.api.conftest import Caller
from tests.chat.signed_in import cookie_of, scope


def opened_with(ticket: str) -> auth.Credential:
    return identify(scope(query=f"ticket={ticket}"))


async def test_a_ticket_serves_its_owner_once_and_for_a_minute(ada: Caller, eve: Caller) -> None:
    bought = await ada.post("/api/ws-tickets/", None, 201)
    assert set(bought) == {"ticket", "expires_at"}
    left = datetime.fromisoformat(bought["expires_at"]) - datetime.now(UTC)
    assert timedelta(seconds=55) < left <= timedelta(seconds=60)
    eves = await eve.post("/api/ws-tickets/", None, 201)
    assert (await sync_to_async(opened_with)(bought["ticket"])).user == ada.user
    with pytest.raises(NotAuthenticated):
        await sync_to_async(opened_with)(bought["ticket"])
    assert (await sync_to_async(opened_with)(eves["ticket"])).user == eve.user


# --- what a ticket was bought with ------------------------------------------------------------------------------------

End = Callable[[pytest.MonkeyPatch], None]


def new_password(user: User) -> None:
    changed = User.objects.get(pk=user.pk)
    changed.set_password("another one")
    changed.save()


def _with_cookie(user: User) -> tuple[dict[str, str], End]:
    cookie = cookie_of(user)
    return {"Cookie": cookie}, lambda patch: SessionStore(cookie.rpartition("=")[2]).delete()


def _with_key(user: User) -> tuple[dict[str, str], End]:
    row, key = api_keys.create_key(user, NewApiKey(name="mine"))
    return {"Authorization": f"Bearer {key}"}, lambda patch: api_keys.delete_key(user, row.pk)


def _with_token(user: User) -> tuple[dict[str, str], End]:
    later = time.time() + 2000  # an access token is good for 900 s
    token = AccessToken.for_user(user)
    return {"Authorization": f"Bearer {token}"}, lambda patch: patch.setattr(auth.time, "time", lambda: later)


def _with_password(user: User) -> tuple[dict[str, str], End]:
    return {"Authorization": f"Bearer {AccessToken.for_user(user)}"}, lambda patch: new_password(user)


WAYS: dict[str, Any] = {"cookie": _with_cookie, "key": _with_key, "token": _with_token, "password": _with_password}


async def _bought(way: str, ada: Caller) -> tuple[str, End]:
    assert ada.user is not None
    # As a page does: the cookie alone is not enough to buy, its request must not be forged.
    headers, end = await sync_to_async(WAYS[way])(ada.user)
    buyer = Caller()
    if "Cookie" in headers:
        headers |= {"Cookie": f"{headers['Cookie']}; csrftoken={'a' * 32}", "X_CSRFToken": "a" * 32}
    return (await buyer.post("/api/ws-tickets/", None, 201, **headers))["ticket"], end


@pytest.mark.parametrize("way", WAYS)
async def test_what_a_ticket_opened_ends_with_what_it_was_bought_with(
    way: str, ada: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket, end = await _bought(way, ada)
    credential = await sync_to_async(opened_with)(ticket)
    assert credential.user == ada.user and not credential.is_cookie
    assert await sync_to_async(is_still_good)(credential)
    await sync_to_async(end)(monkeypatch)
    assert not await sync_to_async(is_still_good)(credential)


@pytest.mark.parametrize("way", WAYS)
async def test_a_ticket_opens_nothing_after_the_end_of_what_it_was_bought_with(
    way: str, ada: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket, end = await _bought(way, ada)
    await sync_to_async(end)(monkeypatch)
    with pytest.raises(NotAuthenticated):
        await sync_to_async(opened_with)(ticket)


async def test_a_new_password_ends_no_key_and_nothing_that_it_bought(
    ada: Caller,
) -> None:
    ticket, _ = await _bought("key", ada)
    assert ada.user is not None
    await sync_to_async(new_password)(ada.user)
    assert await sync_to_async(is_still_good)(await sync_to_async(opened_with)(ticket))


async def test_a_ticket_holds_no_key_and_no_token(ada: Caller) -> None:
    assert ada.user is not None
    secrets = []
    for way in ("key", "token"):
        headers, _ = await sync_to_async(WAYS[way])(ada.user)
        await Caller().post("/api/ws-tickets/", None, 201, **headers)
        secrets.append(headers["Authorization"].removeprefix("Bearer "))
    kept = str([one.proof async for one in Ticket.objects.all()])
    digest = (await ApiKey.objects.aget()).digest
    assert not any(secret in kept for secret in (*secrets, digest, ada.user.password))


async def test_a_ticket_of_an_older_version_is_its_users(ada: Caller) -> None:
    assert ada.user is not None
    ticket, _ = await sync_to_async(tickets.issue_ticket)(ada.user)
    assert await sync_to_async(is_still_good)(await sync_to_async(opened_with)(ticket))
