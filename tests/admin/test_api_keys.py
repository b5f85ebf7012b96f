"""API keys: seen and revoked, and never shown."""

from collections.abc import Callable

from chat.actions import api_keys
from chat.models import ApiKey, User
from chat.protocol.commands import NewApiKey
from tests.admin.conftest import Browser

LIST = "/admin/chat/apikey/"


def key_of(user: User) -> ApiKey:
    return ApiKey.objects.create(user=user, name="Pipeline", start="ck_abcdefg", digest="d1" * 32)


def test_keys_are_listed_without_what_opens_anything(olga: Browser, eve: User) -> None:
    key = key_of(eve)
    for path in (LIST, f"{LIST}?q=ck_abcdefghijklmnop", f"{LIST}?q=ev", f"{LIST}{key.pk}/change/"):
        page = olga.get(path)
        assert "Pipeline" in page and key.digest not in page, path


def test_a_key_is_found_by_itself_and_by_its_start(olga: Browser, eve: User, ada: User) -> None:
    _, key = api_keys.create_key(eve, NewApiKey(name="Pipeline"))
    _, other = api_keys.create_key(ada, NewApiKey(name="Nightly"))
    for words in (key, key[:12], key[: api_keys.SHOWN], key[:7]):
        page = olga.text(f"{LIST}?q={words}")
        assert "Pipeline" in page and "Nightly" not in page, words
    assert "Pipeline" not in olga.text(f"{LIST}?q={other}")


def test_a_key_is_revoked(olga: Browser, eve: User) -> None:
    key = key_of(eve)
    olga.post(f"{LIST}{key.pk}/delete/", {"post": "yes"})
    assert not ApiKey.objects.exists()


def test_who_may_only_look_revokes_nothing(staff: Callable[..., Browser], eve: User) -> None:
    key = key_of(eve)
    ben = staff("view_apikey")
    ben.post(f"{LIST}{key.pk}/delete/", {"post": "yes"}, 403)
    ben.act("apikey", "delete_selected", key, status=200, post="yes")
    assert ApiKey.objects.exists()
