"""The list of tools: each worker writes it at its start, so the newest start has the last word."""

from collections.abc import Sequence

from django.db import transaction

from chat.actions.events import action
from chat.models import Tool


@action
def announce_tools(tools: Sequence[Tool]) -> None:
    """Store what there is to choose from, and nothing else."""
    columns = [field.name for field in Tool._meta.fields if not field.primary_key]
    with transaction.atomic():
        Tool.objects.exclude(name__in=[tool.name for tool in tools]).delete()
        Tool.objects.bulk_create(tools, update_conflicts=True, unique_fields=["name"], update_fields=columns)
