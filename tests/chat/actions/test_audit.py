"""The trail of operators: kept as long as the operator wants it kept."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from chat.actions import audit, forget
from chat.models import AuditEntry, User


@pytest.fixture(autouse=True)
def _cleared(db: None) -> Iterator[None]:
    yield
    AuditEntry.objects.all().delete()


def test_entries_are_kept_for_ever_or_for_so_many_days(ada: User, settings: Any) -> None:
    visit = audit.Visit(ada, "/admin/", "127.0.0.1")
    audit.record_act(visit, [uuid4(), uuid4()], "cancel run")
    old = AuditEntry.objects.latest("pk")
    AuditEntry.objects.filter(pk=old.pk).update(at=timezone.now() - timedelta(days=8))
    audit.prune_audit()
    assert AuditEntry.objects.count() == 2
    settings.CHAT_AUDIT_DAYS = 7
    audit.prune_audit()
    assert old not in AuditEntry.objects.all() and AuditEntry.objects.count() == 1


def test_many_old_entries_are_forgotten_a_few_at_a_time(
    ada: User, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CHAT_AUDIT_DAYS = 7
    monkeypatch.setattr(forget, "BATCH", 2)
    audit.record_act(audit.Visit(ada, "/admin/", "127.0.0.1"), [uuid4() for _ in range(6)], "cancel run")
    young = AuditEntry.objects.latest("pk")
    AuditEntry.objects.exclude(pk=young.pk).update(at=timezone.now() - timedelta(days=8))
    with CaptureQueriesContext(connection) as queries:
        audit.prune_audit()
    assert AuditEntry.objects.get() == young
    assert sum(one["sql"].startswith("DELETE") for one in queries) == 3


def test_what_is_too_long_to_be_kept_is_kept_in_part(ada: User) -> None:
    """A long query must not make a page fail, nor go unrecorded."""
    audit.record_look(audit.Visit(ada, "/admin/?q=" + "x" * 1000, "a" * 100), [uuid4()], "list of messages")
    entry = AuditEntry.objects.get()
    assert (len(entry.path), len(entry.address)) == (300, 64)
