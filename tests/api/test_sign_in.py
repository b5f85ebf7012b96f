"""Passwords cannot be guessed for long: not over HTTP, not in the form, not in the admin's."""

import json
from collections.abc import Iterator

import pytest
from django.test import AsyncClient
from pytest_django import Settings

from chat import limits
from chat.models import User
from chat.outbox import outbox
from tests.api.conftest import Caller
from tests.servers import Redis

TOKEN = "/api/auth/token/"


@pytest.fixture(autouse=True)
def _few(settings: Settings, redis_server: Redis) -> Iterator[None]:
    settings.CHAT_SIGN_INS_PER_MINUTE = 2
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    redis_server.flush()
    limits._windows.clear()
    yield
    limits._windows.clear()


@pytest.fixture
async def _passwords(ada: Caller, ben: Caller) -> None:
    for caller in (ada, ben):
        assert caller.user is not None
        caller.user.set_password(f"{caller.user.username}'s password")
        await caller.user.asave()


def wrong(name: str) -> dict[str, str]:
    return {"username": name, "password": "a guess"}


def right(name: str) -> dict[str, str]:
    return {"username": name, "password": f"{name}'s password"}


@pytest.mark.usefixtures("_passwords")
@pytest.mark.parametrize("redis", ["there", "away"])
async def test_after_so_many_wrong_passwords_none_is_looked_at(redis: str, nobody: Caller, redis_server: Redis) -> None:
    if redis == "away":
        redis_server.kill()
        outbox.pause()
    for _ in range(2):
        assert await nobody.refused("POST", TOKEN, wrong("ada")) == (401, "not_authenticated")
    for body in (wrong("ada"), right("ada")):
        response = await nobody.ask("POST", TOKEN, body)
        error = json.loads(response.content)["error"]
        assert (response.status_code, error["code"], error["temporary"]) == (429, "rate_limited", True)
        assert 0 < error["retry_after_s"] <= 60 and response.headers["Retry-After"]
    await nobody.post(TOKEN, right("ben"))


@pytest.mark.usefixtures("_passwords")
async def test_another_process_counts_on(nobody: Caller) -> None:
    for _ in range(2):
        await nobody.refused("POST", TOKEN, wrong("ada"))
        limits._windows.clear()  # what this process alone remembers
    assert await nobody.refused("POST", TOKEN, right("ada")) == (429, "rate_limited")


@pytest.mark.usefixtures("_passwords")
async def test_a_right_password_costs_nothing(nobody: Caller) -> None:
    for _ in range(5):
        await nobody.post(TOKEN, right("ada"))
        await outbox.flushing(10)


@pytest.mark.usefixtures("_passwords")
async def test_an_address_cannot_try_one_name_after_the_other(nobody: Caller) -> None:
    for number in range(2 * limits.NAMES_PER_ADDRESS):
        assert await nobody.refused("POST", TOKEN, wrong(f"name {number}")) == (401, "not_authenticated")
    assert await nobody.refused("POST", TOKEN, right("ada")) == (429, "rate_limited")


@pytest.mark.usefixtures("_passwords")
async def test_no_limit_is_none(nobody: Caller, settings: Settings) -> None:
    settings.CHAT_SIGN_INS_PER_MINUTE = 0
    for _ in range(20):
        assert await nobody.refused("POST", TOKEN, wrong("ada")) == (401, "not_authenticated")


@pytest.mark.usefixtures("_passwords")
@pytest.mark.parametrize("form", ["/login/", "/admin/login/"])
async def test_the_forms_count_too_and_say_when_to_come_back(form: str) -> None:
    await User.objects.aupdate(is_staff=True)
    client = AsyncClient()
    for _ in range(2):
        page = await client.post(form, wrong("ada"))
        assert "Try again in" not in page.content.decode()
    page = await client.post(form, right("ada"))
    assert "Too many attempts to sign in. Try again in" in page.content.decode()
    assert "a guess" not in page.content.decode()
    if form == "/login/":
        assert page.status_code == 429 and int(page.headers["Retry-After"]) <= 60
    assert (await client.post(form, right("ben"))).status_code == 302
