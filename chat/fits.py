"""Whether a JSON value fits a JSON schema: what people answer, and what tools are called with."""

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator, SchemaError
from jsonschema.exceptions import ValidationError
from referencing import Registry
from referencing.exceptions import Unresolvable

TOLD = 10  # of all that is wrong
REASON_MAX = 200  # characters: the library quotes the value

# With the library's own registry a `$ref` would be fetched, from wherever it points to.
NOTHING_ELSEWHERE: Registry[Any] = Registry()


def misfits(value: object, schema: Any, place: str) -> dict[str, str]:
    """What is wrong with a value, by where: empty where it fits. Nothing fits a schema that is none."""
    found: dict[str, str] = {}
    try:
        if not _is_schema(json.dumps(schema)):
            return {place: "cannot be checked: its schema is none"}
        for problem in Draft202012Validator(schema, registry=NOTHING_ELSEWHERE).iter_errors(value):
            for part, reason in _told(problem):
                found.setdefault(f"{place}.{part}" if part else place, reason)
            if len(found) >= TOLD:
                break
    except Unresolvable:
        found = {place: "cannot be checked: its schema refers to what is elsewhere"}
    except RecursionError:
        found = {place: "is nested too deeply"}
    return found


@lru_cache(256)
def _is_schema(text: str) -> bool:
    """To check a schema takes ten times as long as to check a value by it, and there are as many as there are tools."""
    try:
        Draft202012Validator.check_schema(json.loads(text))
    except SchemaError:
        return False
    return True


def _told(problem: ValidationError) -> Iterator[tuple[str, str]]:
    path = [str(part) for part in problem.absolute_path]
    given: Any = problem.instance
    if problem.validator == "required":
        for name in problem.validator_value:
            if name not in given:
                yield ".".join([*path, name]), "is missing"
    elif problem.validator == "additionalProperties" and problem.validator_value is False:
        known = problem.schema.get("properties", {})
        for name in given:
            if name not in known:
                yield ".".join([*path, str(name)])[:REASON_MAX], "unknown"
    else:
        yield ".".join(path)[:REASON_MAX], problem.message[:REASON_MAX]
