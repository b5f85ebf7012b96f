"""Bring the database up to date and, in local mode, make the demo account: one process, so Django loads once."""

import os

import django
from django.conf import settings
from django.core.management import call_command


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatproject.settings")
    django.setup()
    call_command("migrate", interactive=False, verbosity=1)
    if settings.LOCAL:
        call_command("ensure_demo")


if __name__ == "__main__":
    main()
