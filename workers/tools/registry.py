"""All tools of this worker, by name: its own, and those of installed packages.

A package says where its tools are by an entry point of the group `chat.tools`, which names a tool or a module of them.
"""

import logging
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType

from workers.tools.base import Tool

log = logging.getLogger(__name__)

GROUP = "chat.tools"
OWN = ("workers.tools.people", "workers.tools.shop")  # the modules whose tools come with this server


@cache
def load_tools() -> dict[str, Tool]:
    """Find all tools. Loads packages, which may take seconds: not on an event loop, unless it was done before."""
    found: dict[str, Tool] = {}
    for path in OWN:
        _add(found, path, _tools_in(import_module(path)))
    for point in sorted(entry_points(group=GROUP), key=lambda one: (one.name, one.value)):
        _add(found, f"the package {_package(point)}", _loaded(point))
    return found


def tools_named(names: Iterable[str]) -> dict[str, Tool]:
    """The tools that an agent may call. One that is not there is told in the log, and missing."""
    known = load_tools()
    chosen = {name: known[name] for name in dict.fromkeys(names) if name in known}
    if missing := sorted(set(names) - set(chosen)):
        log.warning("there are no tools named %s", ", ".join(missing))
    return chosen


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist else point.value


def _loaded(point: EntryPoint) -> Sequence[Tool]:
    """The tools of an entry point. What is broken in a package must cost its own tools and nothing else."""
    try:
        loaded = point.load()
    except (Exception, SystemExit):
        log.exception("the tools of the package %s cannot be loaded (%s)", _package(point), point.value)
        return ()
    tools = [loaded] if isinstance(loaded, Tool) else _tools_in(loaded) if isinstance(loaded, ModuleType) else []
    if not tools:
        log.error("the package %s names %s, which is no tool and no module with tools", _package(point), point.value)
    return tools


def _tools_in(module: ModuleType) -> list[Tool]:
    """The tools that a module has made; what it only imports is another's."""
    return [
        one for one in vars(module).values() if isinstance(one, Tool) and one.function.__module__ == module.__name__
    ]


def _add(found: dict[str, Tool], whose: str, tools: Iterable[Tool]) -> None:
    for one in tools:
        if found.setdefault(one.name, one) is not one:
            log.error("%s has a tool named %s, but there is one already: it is left out", whose, one.name)
