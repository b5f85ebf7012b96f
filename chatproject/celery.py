"""The Celery application: a doorbell for rows that wait in the database."""

import os

from celery import Celery
from kombu.transport import TRANSPORT_ALIASES

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatproject.settings")

TRANSPORT_ALIASES |= {"redis": "chatproject.broker:Transport", "rediss": "chatproject.broker:Transport"}

app = Celery("chatproject")
app.config_from_object("celeryconfig")
