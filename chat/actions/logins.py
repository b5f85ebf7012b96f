"""Login sessions: what a browser's cookie names."""

from collections.abc import Collection

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.utils import timezone

from chat.actions.forget import delete_some


def owners(session_keys: Collection[str]) -> dict[str, str]:
    """Who is signed in by them, by id, in one query. Where somebody signed out, nobody is."""
    if not session_keys:
        return {}
    rows = Session.objects.filter(pk__in=session_keys, expire_date__gt=timezone.now())
    decode = SessionStore().decode
    return {key: decode(data).get(SESSION_KEY, "") for key, data in rows.values_list("pk", "session_data")}


def prune_logins() -> None:
    """Forget those that ran out: no cookie opens anything with them any more."""
    while delete_some(Session.objects.filter(expire_date__lt=timezone.now()).order_by("expire_date")):
        pass
