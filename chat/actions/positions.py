"""A message's place in the talk: that of its run, written beside it by whoever writes either."""

from django.db.models import OuterRef, Subquery

from chat.actions.retention import Step
from chat.models import Message, Run

AT_ONCE = 1000


def place_question(run: Run) -> None:
    """Give a question, and what joined it, the place of its run before its LLM reads. The caller holds the lock.

    During an upgrade, a process from before migration 0013 writes it without a place, and moves the run alone.
    """
    if run.message.run_id == run.pk and run.message.position != run.position:
        Message.objects.filter(run_id=run.pk).update(position=run.position)


def place_messages() -> Step:
    """Place what a process from before migration 0013 wrote: during an upgrade it still runs beside this one."""
    found = Message.objects.filter(position=None, run__isnull=False)
    ids = list(found.values_list("pk", flat=True)[:AT_ONCE])
    position = Run.objects.filter(pk=OuterRef("run_id")).values("position")
    done = Message.objects.filter(pk__in=ids, position=None).update(position=Subquery(position)) if ids else 0
    return Step(done, more=len(ids) == AT_ONCE)
