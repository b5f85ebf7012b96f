"""The Celery application: a doorbell for rows that wait in the database."""

import os

from celery import Celery
from celery.signals import beat_init, celeryd_init, setup_logging
from kombu.transport import TRANSPORT_ALIASES

from chatproject import logs, traces

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatproject.settings")
# Django's checks load every page of the admin and of the API: a second and 22 MB for each worker, and for beat, which
# serve none of them. `migrate` runs the checks before a new version starts, and so does each `manage.py check`.
os.environ.setdefault("CELERY_SKIP_CHECKS", "1")

TRANSPORT_ALIASES |= {"redis": "chatproject.broker:Transport", "rediss": "chatproject.broker:Transport"}

app = Celery("chatproject")
app.config_from_object("celeryconfig")


@setup_logging.connect
def keep_logging(**_: object) -> None:
    """Celery would set up lines of its own: with a receiver here it leaves logging to the settings."""


@celeryd_init.connect
def begin_worker(**_: object) -> None:
    logs.begin("worker")
    traces.begin("worker")


@beat_init.connect
def begin_beat(**_: object) -> None:
    logs.begin("beat")
