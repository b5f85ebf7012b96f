"""The lease of a worker process: one row for all the runs that it holds."""

from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db.models.functions import Now
from django.utils import timezone

from chat.models import Run, Worker
from chat.models.workers import lease_end


def register_worker(name: str) -> UUID:
    return Worker.objects.create(name=name, lease_until=lease_end(settings.CHAT_LEASE_S)).pk


def renew_lease(worker_id: UUID, name: str = "") -> bool:
    """Extend the lease. False where it had run out: others may have taken the runs over."""
    alive = Worker.objects.filter(pk=worker_id, lease_until__gt=Now())
    if alive.update(lease_until=lease_end(settings.CHAT_LEASE_S)):
        return True
    if not Worker.objects.filter(pk=worker_id).update(lease_until=lease_end(settings.CHAT_LEASE_S)):
        # Pruned while this process slept for days. Without the row none of its claims could be stored, ever again.
        Worker.objects.create(pk=worker_id, name=name, lease_until=lease_end(settings.CHAT_LEASE_S))
    return False


def end_lease(worker_id: UUID) -> None:
    Worker.objects.filter(pk=worker_id).update(lease_until=Now())


def held_runs(worker_id: UUID) -> dict[UUID, int]:
    """The attempts that a worker holds, by run: what it does not know of was claimed by a lost reply."""
    return dict(Run.objects.filter(worker_id=worker_id, status=Run.Status.RUNNING).values_list("id", "attempt"))


def still_held(worker_id: UUID, attempts: Mapping[UUID, int]) -> set[UUID]:
    """Those of the runs whose attempt is still this worker's."""
    held = held_runs(worker_id)
    return {run_id for run_id, attempt in attempts.items() if held.get(run_id) == attempt}


def prune_workers() -> None:
    """Forget processes that ended long ago."""
    Worker.objects.filter(lease_until__lt=timezone.now() - timedelta(days=1), runs__isnull=True).delete()
