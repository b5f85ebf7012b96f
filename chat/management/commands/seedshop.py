"""`manage.py seedshop`: put the demonstration's orders back to what they were at first."""

from typing import Any

from django.core.management.base import BaseCommand

from chat.actions.shop import reset_shop


class Command(BaseCommand):
    help = "Put the orders of the demonstration back to what they were at first; others are removed."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"The shop has {reset_shop()} orders.")
