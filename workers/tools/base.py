"""A tool: a typed function with a docstring, and what must be known to call it again or not at all.

    @tool(effect="once", access="write")
    def cancel_order(context: ToolContext, order_id: int) -> str:
        \"\"\"Cancel an order that was not sent yet.\"\"\"

The signature is the schema. What the LLM writes is checked strictly before a call ("5" is no number, 1 is no yes), and
what the function gives is checked after it.
"""

import inspect
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, get_type_hints
from uuid import UUID

from pydantic import BaseModel, ConfigDict, PydanticUserError, TypeAdapter, ValidationError, create_model

from chat.clean import clean_json
from chat.protocol.commands import ARGS_MAX
from workers.llm.base import ToolSpec

if TYPE_CHECKING:
    from chat.models import User

Effect = Literal["pure", "idempotent", "once"]
Access = Literal["read", "write"]
Database = Literal["read", "write"]

TIMEOUT_S = 30.0
OUTPUT_CHARS = 20_000
ERRORS_SHOWN = 8

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")  # what every LLM's wire takes
_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())


class ToolError(Exception):
    """The tool cannot do it, and nothing has happened. The LLM reads the message, and people may."""


class BadArgs(Exception):
    """What the LLM wrote are no arguments for this tool; it reads the message."""


class BadResult(Exception):
    """What a tool gave is not what it says that it gives: a mistake in the tool."""


@dataclass(frozen=True, slots=True)
class ToolContext:
    """For whom a tool is called: what the LLM does not see and cannot change."""

    session_id: UUID
    run_id: UUID
    tool_call_id: UUID
    user: "User"  # who asked
    key: str  # the same whenever the same call is made again: pass it on to where the effect is


@dataclass(frozen=True, slots=True)
class Output:
    """What a call gave: as people see it, and as the LLM reads it."""

    result: Any  # JSON
    text: str


@dataclass(frozen=True, eq=False)
class Tool:
    """A function that agents may call. It still is one: a test calls it as it is."""

    name: str
    description: str
    function: Callable[..., Any]
    effect: Effect
    access: Access
    needs_approval: bool
    timeout_s: float
    output_chars: int
    database: Database | None
    context_name: str | None  # of the parameter that is given the context
    args_model: type[BaseModel]
    result_type: TypeAdapter[Any]
    asks: bool = False  # it is a question to people: what they answer is its result

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    @cached_property
    def is_async(self) -> bool:
        return inspect.iscoroutinefunction(self.function)

    @cached_property
    def args_schema(self) -> dict[str, Any]:
        schema: dict[str, Any] = _without_titles(self.args_model.model_json_schema())
        schema.setdefault("properties", {})
        return schema

    @cached_property
    def spec(self) -> ToolSpec:
        return ToolSpec(self.name, self.description, self.args_schema)

    def read_args(self, args_json: str) -> dict[str, Any]:
        """Check what the LLM wrote, and give it with what it left out. Raises: BadArgs."""
        if len(args_json) > ARGS_MAX:
            raise BadArgs(f"The arguments are longer than {ARGS_MAX} characters.")
        try:
            args = json.loads(args_json or "{}", parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            raise BadArgs("The arguments are no JSON.") from None
        if not isinstance(args, dict):
            raise BadArgs("The arguments are no JSON object.")
        return self.check_args(args)

    def check_args(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """Check arguments, and give them with what was left out. Raises: BadArgs."""
        return _dumped(self._checked(args))

    def keeps(self, args: Mapping[str, Any]) -> bool:
        """Whether to check arguments changes nothing of them. Raises: BadArgs."""
        return self._keeps(args, self._checked(args))

    def _keeps(self, args: Mapping[str, Any], checked: BaseModel) -> bool:
        dumped = _dumped(checked)
        # A set is written in any order, and is the same when it is read.
        return dumped == args or (_unordered(dumped) == _unordered(args) and self._checked(dumped) == checked)

    def bind(self, args: Mapping[str, Any], context: ToolContext) -> Callable[[], Any]:
        """Give the call, to be made: with arguments as the function wants them. Raises: BadArgs.

        They are those that were checked before, and perhaps approved. To check them must change nothing any more.
        """
        checked = self._checked(args)
        if not self._keeps(args, checked):
            raise BadArgs("This was not called: the tool makes others of these arguments each time they are checked.")
        values = {name: getattr(checked, name) for name in type(checked).model_fields}
        if self.context_name:
            values[self.context_name] = context
        return lambda: self.function(**values)

    def _checked(self, args: Mapping[str, Any]) -> BaseModel:
        try:
            # As JSON: there a date is a text that says one, also where all else is strict.
            return self.args_model.model_validate_json(json.dumps(clean_json(dict(args)), allow_nan=False), strict=True)
        except ValidationError as problem:
            raise BadArgs(f"The arguments do not fit. {_told(problem)}") from None
        except (ValueError, RecursionError):
            raise BadArgs("The arguments hold what is no JSON.") from None

    def read_result(self, given: Any) -> Output:
        """Check what the function gave, and cut what is too long. Raises: BadResult."""
        try:
            result = self.result_type.dump_python(self.result_type.validate_python(given, strict=True), mode="json")
            result = clean_json(result)
            text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False, allow_nan=False)
        except ValidationError as problem:
            # Not where: the keys of what it gave may be people's words.
            raise BadResult(", ".join(sorted({one["type"] for one in problem.errors()})[:ERRORS_SHOWN])) from None
        except (ValueError, TypeError, RecursionError) as problem:
            raise BadResult(type(problem).__name__) from None
        if len(text) <= self.output_chars:
            return Output(result, text)
        cut = f"{text[: self.output_chars]}… (cut here: {len(text)} characters in all)"
        return Output(cut, cut)


def tool(
    *,
    effect: Effect,
    access: Access,
    needs_approval: bool | None = None,
    timeout_s: float = TIMEOUT_S,
    output_chars: int = OUTPUT_CHARS,
    database: Database | None = None,
    name: str = "",
    asks: bool = False,
) -> Callable[[Callable[..., Any]], Tool]:
    """Make a function a tool.

    - `effect`: *pure* has none and may be called again; *idempotent* may be called again with the same key; *once* is
      never called again unless a person says so.
    - `needs_approval`: whether a person is asked before each call; left out: where it writes.
    - `timeout_s`: a function that takes longer has failed. A thread cannot be stopped and may go on all the same.
    - `database`: it only asks or changes rows, quickly: it is run in a thread that has a connection.

    Raises: TypeError, where the function is no tool.
    """

    def make(function: Callable[..., Any]) -> Tool:
        return _made(
            function,
            name=name or getattr(function, "__name__", ""),
            effect=effect,
            access=access,
            needs_approval=access == "write" if needs_approval is None else needs_approval,
            timeout_s=timeout_s,
            output_chars=output_chars,
            database=database,
            asks=asks,
        )

    return make


def _made(function: Callable[..., Any], *, name: str, **options: Any) -> Tool:
    if not _NAME.fullmatch(name):
        raise TypeError(f"{name!r} is no name for a tool: a letter, then up to 63 letters, digits, _ and -.")
    description = inspect.cleandoc(function.__doc__ or "").strip()
    if not description:
        raise TypeError(f"The tool {name} has no docstring: it is all that an LLM knows of it.")
    if options["effect"] not in ("pure", "idempotent", "once") or options["access"] not in ("read", "write"):
        raise TypeError(f"The tool {name} must be pure, idempotent or once, and read or write.")
    if options["effect"] == "pure" and options["access"] == "write":
        raise TypeError(f"The tool {name} is said to be pure and to write: one of the two is wrong.")
    if options["timeout_s"] <= 0 or options["output_chars"] <= 0:
        raise TypeError(f"The limits of the tool {name} must be more than 0.")
    if options["database"] and inspect.iscoroutinefunction(function):
        raise TypeError(f"The tool {name} is async: it must not use Django's rows, which would hold up everybody.")
    hints = get_type_hints(function, include_extras=True)
    context_name, fields = None, {}
    for index, parameter in enumerate(inspect.signature(function).parameters.values()):
        if parameter.name not in hints:
            raise TypeError(f"The tool {name} does not say what type {parameter.name} has.")
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise TypeError(f"The tool {name} takes {parameter}: an LLM names each argument.")
        if hints[parameter.name] is ToolContext:
            if index:
                raise TypeError(f"The context of the tool {name} must come first.")
            context_name = parameter.name
        else:
            default = ... if parameter.default is parameter.empty else parameter.default
            fields[parameter.name] = (hints[parameter.name], default)
    try:
        args_model = create_model(f"Args of {name}", __config__=_STRICT, **fields)  # type: ignore[call-overload]
        result_type = TypeAdapter(hints.get("return", Any))
        args_model.model_json_schema()
    except PydanticUserError as problem:
        raise TypeError(f"The tool {name} takes or gives what cannot be written as JSON.") from problem
    return Tool(
        name=name,
        description=description,
        function=function,
        context_name=context_name,
        args_model=args_model,
        result_type=result_type,
        **options,
    )


def _unordered(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _unordered(one) for name, one in value.items()}
    return sorted(map(_unordered, value), key=json.dumps) if isinstance(value, list) else value


def _dumped(checked: BaseModel) -> dict[str, Any]:
    """Arguments as JSON, under the names that their schema has: an LLM writes these, and they are checked again."""
    dumped: dict[str, Any] = checked.model_dump(mode="json", by_alias=True)
    return dumped


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _told(problem: ValidationError) -> str:
    """Say what is wrong, without what was written."""
    found = problem.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, one['loc'])) or 'all'}: {one['msg']}" for one in found[:ERRORS_SHOWN])


def _without_titles(schema: Any) -> Any:
    """Leave out what pydantic makes up of the names: it costs tokens and says nothing."""
    if isinstance(schema, list):
        return [_without_titles(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: {key: _without_titles(one) for key, one in value.items()}
        if name in ("properties", "$defs")
        else _without_titles(value)
        for name, value in schema.items()
        if not (name == "title" and isinstance(value, str))
    }
