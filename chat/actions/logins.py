"""Login sessions: what a browser's cookie names."""

from django.contrib.sessions.models import Session
from django.utils import timezone

BATCH = 500


def prune_logins() -> None:
    """Forget those that ran out: no cookie opens anything with them any more."""
    while True:  # a little at a time, since nobody else can write to SQLite meanwhile
        some = Session.objects.filter(expire_date__lt=timezone.now()).order_by("expire_date")
        old = list(some.values_list("pk", flat=True)[:BATCH])
        Session.objects.filter(pk__in=old).delete()
        if len(old) < BATCH:
            return
