"""Forgetting old rows a little at a time: nobody else can write to SQLite meanwhile."""

from typing import Any

from django.db.models import QuerySet

BATCH = 500


def delete_some(old: QuerySet[Any]) -> list[Any]:
    """Delete the first rows of many, by their order. Returns their keys, or none where there are no more."""
    some = list(old.values_list("pk", flat=True)[:BATCH])
    old.model._default_manager.filter(pk__in=some).delete()
    return some if len(some) == BATCH else []
