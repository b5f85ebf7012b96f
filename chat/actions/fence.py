"""The fence: a worker writes of a run only while that is its own, in the attempt that it has claimed."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from chat.actions.events import Log, locked
from chat.errors import Fenced, NotFound
from chat.models import Run
from chat.prepared import Asked, Given, Prepared, together

_HELD = Prepared(lambda: Run.objects.held_by(Given("held_by"), Given("held_attempt")).filter(pk=Given("pk")))


def _claim(run: Run) -> dict[str, Any]:
    assert run.worker_id is not None
    return {"pk": run.pk, "held_by": run.worker_id, "held_attempt": run.attempt}


def held(run: Run) -> Asked[Run]:
    """Its row, where it is still this attempt's."""
    return _HELD.ask(**_claim(run))


@contextmanager
def locked_for(run: Run, *also: Asked[Any]) -> Iterator[Log]:
    """The lock of a run's session. Raises `Fenced` where it was deleted: the claim went with it."""
    try:
        with locked(run.session_id, *also) as log:
            yield log
    except NotFound:
        raise Fenced from None


def hold(run: Run, columns: Mapping[str, Any], *also: Asked[Any]) -> None:
    """Write columns of a run, in one round trip with what goes along. Raises `Fenced`, which undoes that as well.

    It is a statement of its own: as a subquery of another, Postgres would judge it by an older snapshot.
    """
    fence = _HELD.change(columns, **_claim(run))
    together(fence, *also)
    if fence.count != 1:
        raise Fenced
