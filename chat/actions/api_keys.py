"""Keys for programs: shown once, kept as a digest, good until they are deleted."""

import hashlib
import logging
import secrets
from collections.abc import Collection
from datetime import timedelta
from uuid import UUID

from django.db import DatabaseError, transaction
from django.db.models import Q
from django.utils import timezone

from chat.actions.events import action
from chat.errors import Conflict, NotFound
from chat.models import ApiKey, User
from chat.protocol.commands import NewApiKey

log = logging.getLogger(__name__)

PREFIX = "ck_"
KEYS_MAX = 50  # of a user
SHOWN = 10  # characters that a key is recognised by
USED_EVERY = timedelta(minutes=1)


@action
def create_key(user: User, new: NewApiKey) -> tuple[ApiKey, str]:
    """Make a key. Returns its row and, this once, the key itself. Raises `Conflict` where there are too many."""
    secret = PREFIX + secrets.token_urlsafe(32)
    with transaction.atomic():
        User.objects.select_for_update(no_key=True).get(pk=user.pk)  # two at once are counted one after the other
        if ApiKey.objects.filter(user=user).count() >= KEYS_MAX:
            raise Conflict(f"There may be {KEYS_MAX} keys: delete one that is not used first.")
        row = ApiKey.objects.create(user=user, name=new.name, start=secret[:SHOWN], digest=_digest(secret))
    return row, secret


@action
def delete_key(user: User, key_id: UUID) -> None:
    """Make a key worthless. Raises `NotFound`."""
    if not ApiKey.objects.filter(pk=key_id, user=user).delete()[0]:
        raise NotFound


def use_key(secret: str) -> ApiKey | None:
    """The key, with its user, if it still opens anything. Notes that it was used, about once a minute."""
    key = ApiKey.objects.select_related("user").filter(digest=_digest(secret), user__is_active=True).first()
    if key is not None:
        _note_use([key])
    return key


def living(key_ids: Collection[UUID]) -> set[UUID]:
    """Those that were not deleted. Whoever asks uses them."""
    keys = list(ApiKey.objects.filter(pk__in=key_ids).only("pk", "used_at")) if key_ids else []
    _note_use(keys)
    return {key.pk for key in keys}


def _note_use(keys: Collection[ApiKey]) -> None:
    now = timezone.now()
    stale = [key.pk for key in keys if key.used_at is None or key.used_at < now - USED_EVERY]
    if not stale:
        return
    try:
        ApiKey.objects.filter(Q(used_at=None) | Q(used_at__lt=now - USED_EVERY), pk__in=stale).update(used_at=now)
    except DatabaseError as problem:  # a key opens the door all the same
        log.warning("the use of a key could not be noted: %s", type(problem).__name__)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()
