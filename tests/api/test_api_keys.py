"""Keys for programs, over HTTP."""

import hashlib
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError
from django.db.models import QuerySet
from django.utils import timezone

from chat.actions import api_keys
from chat.auth import identify as at_the_socket
from chat.auth import is_still_good
from chat.errors import NotAuthenticated
from chat.models import ApiKey, User
from tests.api.conftest import Caller

KEYS = "/api/api-keys/"


async def new_key(who: Caller, name: str = "A program") -> tuple[str, str]:
    made = await who.post(KEYS, {"name": name}, 201)
    return made["key_id"], made["key"]


def bearer(key: str) -> str:
    return f"Bearer {key}"


@pytest.mark.postgres
async def test_a_key_is_shown_once_and_kept_as_a_digest(ada: Caller) -> None:
    made = await ada.post(KEYS, {"name": "The pager"}, 201)
    key = made.pop("key")
    assert key.startswith("ck_") and len(key) == 3 + 43  # 256 bits
    assert made["name"] == "The pager" and key.startswith(made["start"]) and len(made["start"]) == 10
    assert (await ada.get(KEYS))["results"] == [made]
    row = await ApiKey.objects.aget()
    assert row.digest == hashlib.sha256(key.encode()).hexdigest()
    assert key not in str(vars(row))


async def test_keys_are_listed_newest_first_and_in_pages(ada: Caller) -> None:
    ids = [(await new_key(ada, str(number)))[0] for number in range(3)]
    first = await ada.get(f"{KEYS}?limit=2")
    assert [key["key_id"] for key in first["results"]] == ids[:0:-1]
    rest = await ada.get(first["next"].removeprefix("http://testserver"))
    assert [key["key_id"] for key in rest["results"]] == ids[:1]


@pytest.mark.postgres
async def test_a_key_opens_the_doors_until_it_is_deleted(ada: Caller, nobody: Caller) -> None:
    key_id, key = await new_key(ada)
    assert (await nobody.get("/api/me/", Authorization=bearer(key)))["username"] == "ada"
    session_id = (await nobody.post("/api/sessions/", {}, 201, Authorization=bearer(key)))["session_id"]
    await ada.get(f"/api/sessions/{session_id}/")
    await nobody.call("DELETE", f"{KEYS}{key_id}/", None, 204, Authorization=bearer(key))
    assert await nobody.refused("GET", "/api/me/", Authorization=bearer(key)) == (401, "not_authenticated")
    assert await ada.refused("DELETE", f"{KEYS}{key_id}/") == (404, "not_found")


async def test_what_is_almost_a_key_opens_nothing(ada: Caller, nobody: Caller) -> None:
    _, key = await new_key(ada)
    digest = (await ApiKey.objects.aget()).digest
    for other in (key[:-1], key + "x", key.removeprefix("ck_"), "ck_", f"ck_{digest}", key.upper(), "ck_\xff"):
        assert await nobody.refused("GET", "/api/me/", Authorization=bearer(other)) == (401, "not_authenticated")


async def test_somebody_elses_key_is_not_found(ada: Caller, eve: Caller, nobody: Caller) -> None:
    key_id, key = await new_key(ada)
    assert (await eve.get(KEYS))["results"] == []
    assert await eve.refused("DELETE", f"{KEYS}{key_id}/") == (404, "not_found")
    await nobody.get("/api/me/", Authorization=bearer(key))


async def test_a_key_of_somebody_made_inactive_opens_nothing(ada: Caller, nobody: Caller) -> None:
    _, key = await new_key(ada)
    await User.objects.filter(pk=ada.id).aupdate(is_active=False)
    assert await nobody.refused("GET", "/api/me/", Authorization=bearer(key)) == (401, "not_authenticated")


async def test_a_name_is_asked_for_and_bounded(ada: Caller) -> None:
    for body in ({}, {"name": ""}, {"name": "  "}, {"name": "x" * 121}, {"name": 7}, {"name": "x", "key": "ck_mine"}):
        assert await ada.refused("POST", KEYS, body) == (400, "invalid_input")
    await new_key(ada, "x" * 120)


@pytest.mark.postgres
async def test_there_may_be_so_many_keys(ada: Caller, eve: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_keys, "KEYS_MAX", 2)
    (key_id, _), _ = await new_key(ada), await new_key(ada)
    assert await ada.refused("POST", KEYS, {"name": "x"}) == (409, "conflict")
    await new_key(eve)
    await ada.call("DELETE", f"{KEYS}{key_id}/", None, 204)
    await new_key(ada)


async def test_the_use_of_a_key_is_noted_about_once_a_minute(
    ada: Caller, nobody: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, key = await new_key(ada)
    assert (await ada.get(KEYS))["results"][0]["used_at"] is None
    written = []
    update = QuerySet.update

    def noted(rows: QuerySet[ApiKey], **values: object) -> int:
        written.append(values)
        return update(rows, **values)

    monkeypatch.setattr(QuerySet, "update", noted)
    for _ in range(5):
        await nobody.get("/api/me/", Authorization=bearer(key))
    assert len(written) == 1
    used_at = (await ApiKey.objects.aget()).used_at
    assert used_at is not None and timezone.now() - used_at < timedelta(minutes=1)
    await ApiKey.objects.aupdate(used_at=used_at - timedelta(seconds=61))
    await nobody.get("/api/me/", Authorization=bearer(key))
    used_again_at = (await ApiKey.objects.aget()).used_at
    assert used_again_at is not None and used_again_at > used_at


async def test_a_key_opens_though_its_use_cannot_be_noted(
    ada: Caller, nobody: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(rows: object, **values: object) -> int:
        raise OperationalError("database is locked")

    _, key = await new_key(ada)
    monkeypatch.setattr(QuerySet, "update", locked)
    await nobody.get("/api/me/", Authorization=bearer(key))


@pytest.mark.parametrize("way", ["header", "subprotocol"])
async def test_a_key_opens_a_socket_until_it_is_deleted(way: str, ada: Caller) -> None:
    key_id, key = await new_key(ada)
    scope = {
        "headers": [(b"authorization", f"Bearer {key}".encode())] if way == "header" else [],
        "subprotocols": ["chat.v1", f"bearer.{key}"] if way == "subprotocol" else [],
        "query_string": b"",
    }
    credential = await sync_to_async(at_the_socket)(scope)
    assert credential.user == ada.user and not credential.is_cookie
    assert await sync_to_async(is_still_good)(credential)
    await ada.call("DELETE", f"{KEYS}{key_id}/", None, 204)
    assert not await sync_to_async(is_still_good)(credential)
    with pytest.raises(NotAuthenticated):
        await sync_to_async(at_the_socket)(scope)
