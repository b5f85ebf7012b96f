"""`manage.py chat`: talk to a server from the terminal, over its public wire."""

import os
import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from chat.terminal import start


class Command(BaseCommand):
    help = "Talk to a chat server from the terminal. Without a terminal a line is a message, answers go to stdout."
    requires_system_checks = ()  # the server may be another machine's: nothing of this folder is needed

    def add_arguments(self, parser: ArgumentParser) -> None:
        start.add_arguments(parser, _own_url())

    def handle(self, *args: Any, **options: Any) -> None:
        color = not options["no_color"] and not os.environ.get("NO_COLOR")
        sys.exit(start.chat(options["url"], options["user"], options["session"], options["agent"], color=color))


def _own_url() -> str:
    """The server of this folder: its settings know the port of the stack that runs."""
    host = str(getattr(settings, "HOST", "127.0.0.1"))
    if host in {"", "0.0.0.0", "::"}:  # noqa: S104 - read, not listened on
        host = "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{getattr(settings, 'PORT', 8000)}"
