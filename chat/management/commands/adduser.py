"""`manage.py adduser NAME [--staff]`: make an account; the password is CHAT_PASSWORD's, or asked for twice."""

import getpass
import os
import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import IntegrityError, transaction


class Command(BaseCommand):
    help = "Make an account. The password is CHAT_PASSWORD's; where that is not set it is asked for, twice."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME", help="what the person signs in with")
        parser.add_argument("--staff", action="store_true", help="may enter the admin")

    def handle(self, *args: Any, **options: Any) -> None:
        users = get_user_model()._default_manager
        name = users.model.normalize_username(options["name"])
        user = users.model(username=name, is_staff=options["staff"])
        try:
            # Before the password is asked for: whoever must choose another name should not have to type it first.
            user.full_clean(exclude=["password"], validate_unique=False)
        except ValidationError as error:
            raise CommandError(f"{name!r} is not a name: {' '.join(error.messages)}") from None
        taken = f"The name {name!r} is taken."
        if users.filter(username=name).exists():
            raise CommandError(taken)
        password = _password()
        try:
            validate_password(password, user)
        except ValidationError as error:
            if not settings.LOCAL:
                raise CommandError(" ".join(error.messages)) from None
            self.stderr.write(self.style.WARNING(f"A weak password, taken in local mode: {' '.join(error.messages)}"))
        user.set_password(password)
        try:
            with transaction.atomic():
                user.save(force_insert=True)
        except IntegrityError:  # somebody was quicker
            raise CommandError(taken) from None
        self.stdout.write(f"{name} can sign in now{' and is staff' if user.is_staff else ''}.")


def _password() -> str:
    given = os.environ.get("CHAT_PASSWORD")
    if given is None:
        if not sys.stdin.isatty():
            raise CommandError("CHAT_PASSWORD must hold the password where there is no terminal to ask on.")
        given = getpass.getpass("Password: ")
        if given != getpass.getpass("Again: "):
            raise CommandError("The two passwords differ.")
    if not given.strip():
        raise CommandError("The password is empty.")
    return given
