"""Signing in: tokens, their renewal and their end."""

import asyncio
from datetime import timedelta

import pytest
from django.contrib.auth.hashers import make_password
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

from chat.models import User
from tests.api.conftest import Caller, Row

TOKEN, REFRESH, REVOKE = "/api/auth/token/", "/api/auth/token/refresh/", "/api/auth/token/revoke/"


@pytest.fixture
def password(ada: Caller) -> str:
    User.objects.filter(pk=ada.id).update(password=make_password("correct horse"), first_name="Ada", is_staff=True)
    return "correct horse"


@pytest.fixture
def _cheap_passwords(settings: object) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # type: ignore[attr-defined]


pytestmark = pytest.mark.usefixtures("_cheap_passwords")


async def _sign_in(nobody: Caller, password: str) -> Row:
    tokens: Row = await nobody.post(TOKEN, {"username": "ada", "password": password})
    return tokens


async def test_a_password_is_exchanged_for_tokens_that_tell_who_one_is(
    nobody: Caller, ada: Caller, password: str
) -> None:
    tokens = await _sign_in(nobody, password)
    assert set(tokens) == {"access", "refresh", "expires_in_s"}
    assert tokens["expires_in_s"] == 900
    me = await nobody.get("/api/me/", Authorization=f"Bearer {tokens['access']}")
    assert me == {"user_id": ada.id, "username": "ada", "name": "Ada", "is_staff": True}


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER  "])
async def test_the_word_before_a_token_may_be_written_either_way(nobody: Caller, ada: Caller, scheme: str) -> None:
    assert ada.user is not None
    me = await nobody.get("/api/me/", Authorization=f"{scheme}{AccessToken.for_user(ada.user)}")
    assert me["user_id"] == ada.id


async def test_what_is_wrong_about_a_sign_in_is_not_told(nobody: Caller, eve: Caller, password: str) -> None:
    wrong = [("ada", "wrong"), ("nobody", password), ("eve", password), ("ada", f"{password} ")]
    told = [await nobody.ask("POST", TOKEN, {"username": name, "password": word}) for name, word in wrong]
    await User.objects.filter(username="ada").aupdate(is_active=False)
    told.append(await nobody.ask("POST", TOKEN, {"username": "ada", "password": password}))
    assert {response.status_code for response in told} == {401}
    assert len({response.content for response in told}) == 1


async def test_a_sign_in_without_a_name_is_invalid_input(nobody: Caller) -> None:
    for body in ({}, {"username": "ada"}, {"username": "", "password": "x"}, {"username": 1, "password": "x"}):
        assert await nobody.refused("POST", TOKEN, body) == (400, "invalid_input")


async def test_a_refresh_token_serves_once(nobody: Caller, password: str) -> None:
    first = await _sign_in(nobody, password)
    second = await nobody.post(REFRESH, {"refresh": first["refresh"]})
    assert set(second) == {"access", "refresh", "expires_in_s"}
    assert second["refresh"] != first["refresh"]
    await nobody.get("/api/me/", Authorization=f"Bearer {second['access']}")
    assert await nobody.refused("POST", REFRESH, {"refresh": first["refresh"]}) == (401, "not_authenticated")
    await nobody.post(REFRESH, {"refresh": second["refresh"]})


@pytest.mark.postgres
async def test_of_several_who_use_a_refresh_token_at_once_one_wins(nobody: Caller, password: str) -> None:
    tokens = await _sign_in(nobody, password)
    asked = [nobody.ask("POST", REFRESH, {"refresh": tokens["refresh"]}) for _ in range(5)]
    statuses = sorted(response.status_code for response in await asyncio.gather(*asked))
    assert statuses == [200, 401, 401, 401, 401]


async def test_a_revoked_refresh_token_is_worthless(nobody: Caller, password: str) -> None:
    tokens = await _sign_in(nobody, password)
    await nobody.call("POST", REVOKE, {"refresh": tokens["refresh"]}, 204)
    assert await nobody.refused("POST", REFRESH, {"refresh": tokens["refresh"]}) == (401, "not_authenticated")
    assert await nobody.refused("POST", REVOKE, {"refresh": tokens["refresh"]}) == (401, "not_authenticated")


async def test_a_changed_password_ends_all_tokens(nobody: Caller, password: str) -> None:
    tokens = await _sign_in(nobody, password)
    await User.objects.filter(username="ada").aupdate(password=make_password("another"))
    assert await nobody.refused("POST", REFRESH, {"refresh": tokens["refresh"]}) == (401, "not_authenticated")
    bearer = f"Bearer {tokens['access']}"
    assert await nobody.refused("GET", "/api/me/", Authorization=bearer) == (401, "not_authenticated")


async def test_somebody_made_inactive_gets_no_new_token(nobody: Caller, password: str) -> None:
    tokens = await _sign_in(nobody, password)
    await User.objects.filter(username="ada").aupdate(is_active=False)
    assert await nobody.refused("POST", REFRESH, {"refresh": tokens["refresh"]}) == (401, "not_authenticated")


async def test_each_token_opens_its_own_door_alone(nobody: Caller, password: str) -> None:
    tokens = await _sign_in(nobody, password)
    bearer = f"Bearer {tokens['refresh']}"
    assert await nobody.refused("GET", "/api/me/", Authorization=bearer) == (401, "not_authenticated")
    assert await nobody.refused("POST", REFRESH, {"refresh": tokens["access"]}) == (401, "not_authenticated")
    assert await nobody.refused("POST", REFRESH, {"refresh": "x.y.z"}) == (401, "not_authenticated")


async def test_tokens_run_out(nobody: Caller, ada: Caller) -> None:
    assert ada.user is not None
    access = AccessToken.for_user(ada.user)
    access.set_exp(lifetime=timedelta(seconds=-6))
    assert await nobody.refused("GET", "/api/me/", Authorization=f"Bearer {access}") == (401, "not_authenticated")
    refresh = RefreshToken()
    refresh["user_id"] = ada.id
    refresh.set_exp(lifetime=timedelta(seconds=-6))
    assert await nobody.refused("POST", REFRESH, {"refresh": str(refresh)}) == (401, "not_authenticated")


async def test_eve_is_told_of_herself_alone(ada: Caller, eve: Caller) -> None:
    assert (await eve.get("/api/me/"))["user_id"] == eve.id
    assert (await eve.get(f"/api/me/?user_id={ada.id}"))["user_id"] == eve.id
