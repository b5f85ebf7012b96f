"""Lists in pages: `{results, next, previous}`.

A page is found by the last row of the one before and not by a count of rows, so that nothing is shown twice or left out
when new rows come first, and a late page costs as little as the first.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

from django.core import signing
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from pydantic import Field

from chat.api.doors import Query
from chat.errors import InvalidInput
from chat.protocol.shapes import PageData

LIMIT, LIMIT_MAX = 50, 200

M = TypeVar("M", bound=Model)
D = TypeVar("D")
Way = Literal["after", "before"]
Limit = Annotated[int, Field(ge=1, le=LIMIT_MAX)]


class PageQuery(Query):
    limit: Limit = LIMIT
    cursor: Annotated[str, Field(min_length=1, max_length=1000)] | None = None


def page(
    request: HttpRequest,
    query: PageQuery,
    rows: QuerySet[M],
    order: tuple[str, ...],
    shape: Callable[[M], D],
) -> PageData[D]:
    """Read one page of rows. In a database thread.

    `order` names columns, all of them falling ("-") or all rising, that tell any two rows apart.
    """
    salt = f"page of {rows.model._meta.label} by {order}"
    way, place = _read_cursor(query.cursor, salt) if query.cursor else ("after", None)
    falling = order[0].startswith("-")
    names = [name.removeprefix("-") for name in order]
    if place is not None:
        rows = rows.filter(_beyond(names, place, smaller=falling == (way == "after")))
    rows = rows.order_by(*(order if way == "after" else _turned(order)))
    found = list(rows[: query.limit + 1])
    more = len(found) > query.limit
    found = found[: query.limit]
    if way == "before":
        found.reverse()

    first = _place(found[0], names) if found else place
    last = _place(found[-1], names) if found else place
    has_next = more if way == "after" else True
    has_previous = place is not None if way == "after" else more
    return {
        "results": [shape(row) for row in found],
        "next": _url(request, salt, "after", last) if has_next else None,
        "previous": _url(request, salt, "before", first) if has_previous else None,
    }


def _turned(order: tuple[str, ...]) -> list[str]:
    return [name.removeprefix("-") if name.startswith("-") else f"-{name}" for name in order]


def _beyond(names: list[str], place: list[Any], *, smaller: bool) -> Q:
    """Rows that come after a place: the first column differs, or it is equal and the second differs, and so on."""
    side = "lt" if smaller else "gt"
    found = Q()
    for index, (name, value) in enumerate(zip(names, place, strict=True)):
        found |= Q(**dict(zip(names[:index], place[:index], strict=True)), **{f"{name}__{side}": value})
    # The alternatives imply this already; written out, it lets an index be used.
    return Q(**{f"{names[0]}__{side}e": place[0]}) & found


def _place(row: Model, names: list[str]) -> list[Any]:
    values = []
    for name in names:
        value: Any = row
        for part in name.split("__"):
            value = getattr(value, part)
        values.append(value)
    return values


def _url(request: HttpRequest, salt: str, way: Way, place: list[Any] | None) -> str:
    asked = request.GET.copy()
    asked["cursor"] = _write_cursor(way, place or [], salt)
    return request.build_absolute_uri(f"{request.path}?{asked.urlencode()}")


def _write_cursor(way: Way, place: list[Any], salt: str) -> str:
    # Signed: what comes back is what went out, and for the same list.
    return signing.dumps([way, *(_as_json(value) for value in place)], salt=salt)


def _read_cursor(cursor: str, salt: str) -> tuple[Way, list[Any]]:
    try:
        way, *place = signing.loads(cursor, salt=salt)
    except signing.BadSignature:
        raise InvalidInput("Follow next and previous as they were given.", fields={"cursor": "unknown"}) from None
    return way, [_from_json(value) for value in place]


def _as_json(value: object) -> object:
    if isinstance(value, datetime):
        return {"time": value.isoformat()}
    return {"id": str(value)} if isinstance(value, UUID) else value


def _from_json(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return datetime.fromisoformat(value["time"]) if "time" in value else UUID(value["id"])
