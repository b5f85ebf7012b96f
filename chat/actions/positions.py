"""A message's place in the talk: that of its run, written beside it by whoever writes either."""

from django.db.models import OuterRef, Subquery

from chat.actions.retention import Step
from chat.models import Message, Run

AT_ONCE = 1000


def place_messages() -> Step:
    """Place what an older version wrote, which still runs beside this one while a server is upgraded."""
    found = Message.objects.filter(position=None, run__isnull=False)
    ids = list(found.values_list("pk", flat=True)[:AT_ONCE])
    position = Run.objects.filter(pk=OuterRef("run_id")).values("position")
    done = Message.objects.filter(pk__in=ids, position=None).update(position=Subquery(position)) if ids else 0
    return Step(done, more=len(ids) == AT_ONCE)
