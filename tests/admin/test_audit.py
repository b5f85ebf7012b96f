"""The audit: read by those who may, changed and deleted by nobody, and it outlives what it names."""

from collections.abc import Callable
from typing import Any

from chat.actions import sessions
from chat.models import AuditEntry
from tests.admin.conftest import Browser, looks
from tests.inside import Talk

LIST = "/admin/chat/auditentry/"


def test_entries_are_listed_and_found_by_session_and_person(talk: Talk, olga: Browser) -> None:
    olga.get(f"/admin/chat/chatsession/{talk.pk}/change/")
    for query in ("", f"?q={talk.pk}", "?q=olg", f"?q={olga.user and olga.user.pk}", "?at_from=2020-01-01"):
        assert "olga session" in olga.text(LIST + query), query
    assert "olga session" not in olga.text(f"{LIST}?q=ada")


def test_nobody_changes_or_deletes_an_entry(talk: Talk, olga: Browser) -> None:
    olga.get(f"/admin/chat/chatsession/{talk.pk}/change/")
    entry = AuditEntry.objects.get()
    olga.get(f"{LIST}{entry.pk}/delete/", 403)
    olga.post(f"{LIST}{entry.pk}/change/", {"username": "nobody"}, 403)
    olga.act("auditentry", "delete_selected", entry, status=200, post="yes")
    assert looks() == [("olga", "session", str(talk.pk))]


def test_an_entry_outlives_the_session_and_the_account(talk: Talk, staff: Callable[..., Browser], eve: Any) -> None:
    staff("view_chatsession", user=eve).get(f"/admin/chat/chatsession/{talk.pk}/change/")
    sessions.delete_session(talk.ada, talk.pk)
    eve.delete()
    assert looks() == [("eve", "session", str(talk.pk))]


def test_behind_a_proxy_the_address_is_the_proxys_word_and_not_the_clients(
    talk: Talk, olga: Browser, settings: Any
) -> None:
    forged = {"X-Forwarded-For": "6.6.6.6, 10.0.0.7"}
    path = f"/admin/chat/chatsession/{talk.pk}/change/"
    olga.client.get(path, headers=forged)
    settings.CHAT_BEHIND_PROXY = True
    olga.client.get(path, headers=forged)
    assert list(AuditEntry.objects.order_by("pk").values_list("address", flat=True)) == ["127.0.0.1", "10.0.0.7"]
