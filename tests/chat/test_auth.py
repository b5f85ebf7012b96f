"""Who may open a socket, from where, and with what: each credential, each origin."""

import time
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.test import RequestFactory
from django.utils import timezone
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

from chat import auth
from chat.actions import api_keys, tickets
from chat.auth import Credential, client_address, ended, identify, is_still_good
from chat.errors import ForbiddenOrigin, NotAuthenticated
from chat.models import ApiKey, Ticket, User
from chat.protocol.commands import NewApiKey
from tests.chat.signed_in import cookie_of, scope, token_of


def refused(**given: Any) -> None:
    with pytest.raises(NotAuthenticated):
        identify(scope(**given))


# --- credentials ------------------------------------------------------------------------------------------------------


def test_a_token_opens_the_door_by_header_and_by_subprotocol(ada: User) -> None:
    token = token_of(ada)
    for given in (
        {"authorization": f"Bearer {token}"},
        {"authorization": f"bearer  {token} "},
        {"subprotocols": ("chat.v1", f"bearer.{token}")},
        {"subprotocols": (f"bearer.{token}",)},
    ):
        credential = identify(scope(**given))  # type: ignore[arg-type]
        assert credential.user == ada and not credential.is_cookie
        assert credential.expires_at is not None and credential.expires_at > time.time()


def test_what_is_no_good_token_is_refused_even_where_another_credential_would_do(ada: User) -> None:
    good = {"cookie": cookie_of(ada), "origin": "http://chat.test"}
    refresh = RefreshToken()
    refresh["user_id"] = str(ada.pk)
    for bad in (
        "Bearer", "Bearer ", "Bearer nonsense", f"Basic {token_of(ada)}", f"Bearer {token_of(ada)}x",
        f"Bearer {token_of(ada, seconds=-6)}", f"Bearer {refresh}", "Bearer \xff\xfe", "",
    ):  # fmt: skip
        refused(authorization=bad, **good)
    refused(subprotocols=("chat.v1", "bearer."), **good)
    refused(subprotocols=("bearer.nonsense",), **good)
    refused(query="ticket=nonsense", **good)


def test_a_token_of_a_host_whose_clock_is_a_little_ahead_is_good(ada: User) -> None:
    token = AccessToken.for_user(ada)
    token.set_iat(at_time=timezone.now() + timedelta(seconds=3))
    assert identify(scope(authorization=f"Bearer {token}")).user == ada
    token.set_iat(at_time=timezone.now() + timedelta(seconds=60))
    refused(authorization=f"Bearer {token}")


def test_nobody_is_refused(db: None) -> None:
    refused()
    refused(cookie="sessionid=nonsense", origin="http://chat.test")
    refused(subprotocols=("chat.v1",))
    refused(query="ticket=")


def test_an_inactive_or_deleted_user_is_refused(ada: User, ben: User) -> None:
    given = [
        {"authorization": f"Bearer {token_of(ada)}"},
        {"cookie": cookie_of(ada), "origin": "http://chat.test"},
        {"query": f"ticket={tickets.issue_ticket(ada)[0]}"},
    ]
    gone = token_of(ben)
    User.objects.filter(pk=ada.pk).update(is_active=False)
    User.objects.filter(pk=ben.pk).delete()
    for one in given:
        refused(**one)
    refused(authorization=f"Bearer {gone}")


def test_a_ticket_is_good_once(ada: User) -> None:
    ticket, _ = tickets.issue_ticket(ada)
    assert identify(scope(query=f"x=1&ticket={ticket}")).user == ada
    refused(query=f"ticket={ticket}")
    late, _ = tickets.issue_ticket(ada)
    Ticket.objects.update(expires_at="2020-01-01T00:00:00Z")
    refused(query=f"ticket={late}")


# --- origins ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "is_ours"),
    [
        ("http://chat.test", True),
        ("https://CHAT.test", True),
        ("https://listed.test", True),
        ("https://elsewhere.test", False),
        ("https://chat.test.elsewhere.test", False),
        ("https://chat.test:8443", False),
        ("https://chat.test@elsewhere.test", False),
        ("null", False),
        ("", False),
        ("chat.test", False),
        ("http://[", False),
    ],
)
def test_a_page_must_be_ours_whatever_the_credential(ada: User, settings: Any, origin: str, is_ours: bool) -> None:
    settings.CHAT_ORIGINS = ["https://listed.test"]
    credentials: list[dict[str, Any]] = [{"cookie": cookie_of(ada)}, {"authorization": f"Bearer {token_of(ada)}"}]
    for given in credentials:
        if is_ours:
            assert identify(scope(origin=origin, **given)).user == ada
        else:
            with pytest.raises(ForbiddenOrigin):
                identify(scope(origin=origin, **given))


def test_without_an_origin_a_cookie_is_refused_and_no_other_credential(ada: User) -> None:
    with pytest.raises(ForbiddenOrigin):
        identify(scope(cookie=cookie_of(ada)))
    identify(scope(authorization=f"Bearer {token_of(ada)}"))
    identify(scope(query=f"ticket={tickets.issue_ticket(ada)[0]}"))


def test_an_empty_host_is_nobodys_origin(ada: User) -> None:
    with pytest.raises(ForbiddenOrigin):
        identify(scope(host="", origin="http://", cookie=cookie_of(ada)))


# --- whether they may stay --------------------------------------------------------------------------------------------


def test_a_credential_is_good_until_its_token_runs_out(ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    credential = identify(scope(authorization=f"Bearer {token_of(ada, seconds=100)}"))
    assert is_still_good(credential)
    later = time.time() + 101
    monkeypatch.setattr(auth.time, "time", lambda: later)
    assert not is_still_good(credential)


@pytest.mark.parametrize("by", ["token", "cookie", "ticket"])
@pytest.mark.parametrize("change", ["inactive", "deleted"])
def test_a_credential_is_no_good_when_its_user_is_gone(ada: User, by: str, change: str) -> None:
    given: dict[str, Any] = {
        "token": {"authorization": f"Bearer {token_of(ada)}"},
        "cookie": {"cookie": cookie_of(ada), "origin": "http://chat.test"},
        "ticket": {"query": f"ticket={tickets.issue_ticket(ada)[0]}"},
    }[by]
    credential = identify(scope(**given))
    assert is_still_good(credential)
    if change == "inactive":
        User.objects.filter(pk=ada.pk).update(is_active=False)
    else:
        User.objects.filter(pk=ada.pk).delete()
    assert not is_still_good(credential)


def test_a_new_password_ends_cookies_and_tokens(ada: User) -> None:
    by_cookie = identify(scope(cookie=cookie_of(ada), origin="http://chat.test"))
    by_token = identify(scope(authorization=f"Bearer {token_of(ada)}"))
    ada.set_password("another one")
    ada.save()
    assert not is_still_good(by_cookie)
    assert not is_still_good(by_token)


def test_a_sign_out_ends_the_cookie(ada: User) -> None:
    cookie = cookie_of(ada)
    credential = identify(scope(cookie=cookie, origin="http://chat.test"))
    SessionStore(cookie.rpartition("=")[2]).delete()
    assert not is_still_good(credential)


def test_a_cookie_that_is_somebody_elses_by_now_is_no_good(ada: User, ben: User) -> None:
    cookie = cookie_of(ben)
    assert not is_still_good(Credential(ada, session_key=cookie.rpartition("=")[2]))


def test_however_many_there_are_they_are_asked_about_at_once(
    ada: User, ben: User, eve: User, django_assert_num_queries: Any
) -> None:
    def all_of(user: User) -> list[Credential]:
        key = api_keys.create_key(user, NewApiKey(name="mine"))[1]
        given: list[dict[str, Any]] = [
            {"authorization": f"Bearer {token_of(user)}"},
            {"authorization": f"Bearer {key}"},
        ]
        given.append({"cookie": cookie_of(user), "origin": "http://chat.test"})
        return [identify(scope(**one)) for one in given]

    adas, bens, eves = all_of(ada), all_of(ben), all_of(eve)
    SessionStore(adas[2].session_key).delete()
    api_keys.delete_key(ada, adas[1].key_id)  # type: ignore[arg-type]
    User.objects.filter(pk=eve.pk).update(is_active=False)
    with django_assert_num_queries(3):
        assert ended([*adas, *bens, *eves]) == {adas[1], adas[2], *eves}
    with django_assert_num_queries(1):
        assert ended([adas[0], bens[0]]) == set()


def test_a_key_that_holds_a_socket_open_is_in_use(ada: User) -> None:
    _, key = api_keys.create_key(ada, NewApiKey(name="mine"))
    credential = identify(scope(authorization=f"Bearer {key}"))
    long_ago = timezone.now() - timedelta(hours=1)
    ApiKey.objects.update(used_at=long_ago)
    assert is_still_good(credential)
    used_at = ApiKey.objects.get().used_at
    assert used_at is not None and used_at > long_ago


# --- from where -------------------------------------------------------------------------------------------------------


def test_the_address_is_what_the_own_proxy_saw(settings: Any) -> None:
    request = RequestFactory().get("/", REMOTE_ADDR="10.0.0.1", headers={"X-Forwarded-For": "1.2.3.4, 5.6.7.8"})
    settings.CHAT_BEHIND_PROXY = False
    assert client_address(request) == "10.0.0.1"
    settings.CHAT_BEHIND_PROXY = True
    assert client_address(request) == "5.6.7.8"
    assert client_address(RequestFactory().get("/", REMOTE_ADDR="10.0.0.1")) == "10.0.0.1"
