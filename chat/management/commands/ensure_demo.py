"""Make the account demo (password demo, staff, superuser), in local mode alone."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from chat.models import User

DEMO = "demo"


class Command(BaseCommand):
    help = __doc__

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.LOCAL:
            raise CommandError("The demo account exists in local mode alone (CHAT_ENV=local).")
        # An account that is there stays as it is: its password may have been changed on purpose.
        if not User.objects.filter(username=DEMO).exists():
            User.objects.create_superuser(DEMO, password=DEMO)
