#!/usr/bin/env python3
"""Django's command line for this project."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatproject.settings")
    from django.core.management import execute_from_command_line

    from chatproject.environment import adopt_running_stack

    adopt_running_stack()
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
