"""Workers: which processes answer, whether they live, and how many runs they hold."""

from typing import Any

from django.contrib import admin
from django.db.models import BooleanField, Case, Count, Q, QuerySet, Value, When
from django.db.models.functions import Now
from django.http import HttpRequest
from django.utils import timezone

from chat.admin.base import ReadOnly, list_of
from chat.admin.site import site
from chat.models import Run, Worker


@admin.register(Worker, site=site)
class Workers(ReadOnly):
    list_display = ("name", "lives", "lease", "running", "started_at")
    ordering = ("-lease_until", "-pk")
    search_help_text = "An id or a part of a name"
    fields = ("id", "name", "started_at", "lease_until", "lease")
    readonly_fields = ("lease",)
    change_form_outer_after_template = "chat/admin/worker.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Worker]:
        found: QuerySet[Worker] = super().get_queryset(request)
        return found.annotate(
            alive=Case(  # by the database's clock, as the sweep judges it
                When(lease_until__gt=Now(), then=Value(True)), default=Value(False), output_field=BooleanField()
            ),
            held=Count("runs", filter=Q(runs__status=Run.Status.RUNNING)),
        )

    def search(self, request: HttpRequest, queryset: QuerySet[Any], words: str) -> QuerySet[Any]:
        return queryset.filter(name__icontains=words)

    @admin.display(description="Alive", boolean=True)
    def lives(self, worker: Any) -> bool:
        return bool(worker.alive)

    @admin.display(description="Lease")
    def lease(self, worker: Worker) -> str:
        left_s = (worker.lease_until - timezone.now()).total_seconds()
        return f"good for {left_s:.1f} s" if left_s > 0 else f"ran out {-left_s:.0f} s ago"

    @admin.display(description="Runs")
    def running(self, worker: Any) -> int:
        return int(worker.held)

    def show(self, request: HttpRequest, row: Worker) -> dict[str, Any]:
        if not request.user.has_perm("chat.view_run"):
            return {}
        runs = row.runs.select_related("session", "user").order_by("started_at")
        return {"held_runs": runs[:50], "all_runs": list_of(Run, worker__id__exact=row.pk)}
