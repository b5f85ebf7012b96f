"""How every process writes its log: one form for Django's lines, Celery's, daphne's and ours, and no secret in any.

A line says what happened and whom it concerns, by ids: never what people or language models wrote. An exception is told
by its kind and its place in the code, because its words may hold anything, a row or a provider's answer included. The
last step takes out what looks like a secret all the same.
"""

import logging
import os
import re
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from chat.without import without

with without("rich", "twisted"):  # up to 6 MB, for colours in tracebacks and a log of Twisted
    import structlog
    from structlog.stdlib import ProcessorFormatter
    from structlog.typing import EventDict, Processor

part = "manage"  # which part of a server this process is: web, worker, beat

# Their words name things of the program, and whoever repairs it needs them.
PLAIN = (AttributeError, ImportError, ImproperlyConfigured, NameError, TypeError)

SHAPES = re.compile(
    r"(?i)\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*"  # a JWT
    r"|\b(?:ck_|sk-)[\w-]{8,}"  # an API key, ours or a provider's
    r"|(?<=bearer )[^\s'\",)]+|(?<=bearer\.)[^\s'\",)]+|(?<=basic )[\w+/=]{8,}"
    r"|(?<=\?)[\w.-]+=[^\s'\">]*"  # a query string: a ticket, or what somebody looked for
    r"|(?<=ticket=)[^&\s'\"]+|(?<=sessionid=)[^;\s'\"]+|(?<=csrftoken=)[^;\s'\"]+"
    r"|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"  # a name and a password in a URL
)
SECRET_NAMES = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|AUTHORIZATION|_HEADERS")
HIDDEN = "[hidden]"
_REPR = re.compile(r"(exception=\w+)\(.*\)(?=>)", re.DOTALL)  # how asyncio shows a task that failed
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")

# What others log at DEBUG or INFO holds requests with their headers and bodies.
QUIET = ("aiohttp", "httpx2", "httpcore2", "urllib3", "requests", "twisted", "daphne.server")


def settings(form: str, level: str) -> dict[str, Any]:
    """Django's LOGGING. `level` is for our own lines; those of others begin at INFO."""
    if form not in {"json", "console"}:
        raise ImproperlyConfigured(f"CHAT_LOG must be json or console; it is {form!r}")
    level = level.upper()
    if level not in {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}:
        raise ImproperlyConfigured(f"CHAT_LOG_LEVEL must be DEBUG, INFO, WARNING, ERROR or CRITICAL; it is {level!r}")
    others = "INFO" if level == "DEBUG" else level
    redact = Redaction(os.environ)
    tail: list[Processor] = [_show_exception, redact]
    if form == "json":
        tail += [structlog.processors.EventRenamer("event"), structlog.processors.JSONRenderer(default=str)]
    else:
        tail += [structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0, sort_keys=False)]
    structlog.configure(
        processors=[*SHARED, ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"wordless": {"()": Wordless}},
        "formatters": {
            "line": {
                "()": ProcessorFormatter,
                "foreign_pre_chain": SHARED,
                "processors": [ProcessorFormatter.remove_processors_meta, *tail],
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["wordless"]}},
        "root": {"handlers": ["stderr"], "level": others},
        "loggers": {
            **{name: {"level": level} for name in ("chat", "chatproject", "workers")},
            **{name: {"level": max("WARNING", level, key=_weight)} for name in QUIET},
            # One line a request is ours, and has no query string. Whatever runs the application, these add nothing.
            "django": {"handlers": [], "level": others, "propagate": True},
            "django.request": {"level": max("ERROR", level, key=_weight)},
            "django.channels.server": {"level": "ERROR"},
            "django.server": {"handlers": [], "level": "ERROR", "propagate": True},
            "uvicorn": {"handlers": [], "level": others, "propagate": True},
            "uvicorn.access": {"handlers": [], "level": "CRITICAL", "propagate": False},
            # A task is a doorbell: what follows is told by the run's own lines.
            "celery.worker.strategy": {"level": _unless_debug(level)},
            "celery.app.trace": {"level": _unless_debug(level)},
            "celery.beat": {"level": _unless_debug(level)},
        },
    }


def _weight(level: str) -> int:
    return logging.getLevelNamesMapping()[level]


def _unless_debug(level: str) -> str:
    return "INFO" if level == "DEBUG" else max("WARNING", level, key=_weight)


def begin(name: str) -> None:
    """Say which part this process is, and have its crashes logged like everything else."""
    global part  # noqa: PLW0603 - one a process
    part = name
    logging.captureWarnings(True)
    log = logging.getLogger("chatproject")
    sys.excepthook = lambda *problem: log.critical("the process fails", exc_info=problem)
    threading.excepthook = lambda told: log.critical(
        "a thread failed", exc_info=(told.exc_type, told.exc_value or told.exc_type(), told.exc_traceback)
    )
    if "twisted.internet.reactor" in sys.modules:
        from twisted.logger import STDLibLogObserver, globalLogPublisher

        observer: Any = STDLibLogObserver()
        globalLogPublisher.addObserver(observer)  # daphne begins its logging, and hears nothing of it


class Wordless(logging.Filter):
    """Takes an exception's words out of a line that was given the exception itself."""

    def filter(self, record: logging.LogRecord) -> bool:
        args = record.args
        if isinstance(args, tuple) and any(isinstance(one, BaseException) for one in args):
            record.args = tuple(type(one).__name__ if isinstance(one, BaseException) else one for one in args)
        elif isinstance(args, Mapping) and "exc" in args:  # Celery's, of a task that failed
            record.args = {**args, "exc": "it failed", "args": "", "kwargs": ""}
        return True


# --- the steps of a line ----------------------------------------------------------------------------------------------
def _add_part(_: Any, __: str, event: EventDict) -> EventDict:
    event["part"], event["pid"] = part, os.getpid()
    return event


SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    _add_part,
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
]


def _show_exception(_: Any, __: str, event: EventDict) -> EventDict:
    found = event.pop("exc_info", None)
    if found is True:
        found = sys.exc_info()
    if isinstance(found, tuple):
        found = found[1]
    if isinstance(found, BaseException):
        event["exception"] = describe(found)
    event.pop("exc_text", None)
    return event


def describe(problem: BaseException) -> str:
    """An exception with what led to it, oldest first: kinds, and places in the code."""
    lines: list[str] = []
    chain: list[BaseException] = []
    found: BaseException | None = problem
    while found is not None and found not in chain:
        chain.append(found)
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)
    for one in reversed(chain):
        kind = f"{type(one).__module__}.{type(one).__qualname__}"
        lines.append(f"{kind}: {one}" if isinstance(one, PLAIN) else kind)
        places = traceback.walk_tb(one.__traceback__)
        lines += [f"  {frame.f_code.co_filename}:{line} {frame.f_code.co_qualname}" for frame, line in places]
    return "\n".join(lines)


class Redaction:
    """The last step: hides what looks like a secret, and what the environment names one."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        known = {value for name, value in environ.items() if SECRET_NAMES.search(name) and len(value) >= 8}
        self._known = re.compile("|".join(map(re.escape, sorted(known, key=len, reverse=True)))) if known else None

    def __call__(self, _: Any, __: str, event: EventDict) -> EventDict:
        for name, value in event.items():
            if isinstance(value, str):
                event[name] = self.hide(value)
        return event

    def hide(self, text: str) -> str:
        text = SHAPES.sub(HIDDEN, text)
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        if "exception=" in text:
            text = _REPR.sub(r"\1", text)
        return _CONTROL.sub(_escape, text)


_escape: Callable[[re.Match[str]], str] = lambda found: found[0].encode("unicode_escape").decode()  # noqa: E731
