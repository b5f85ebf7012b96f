"""Wiring: settings, the ASGI application, URLs, the Celery application. No logic."""

from chatproject.celery import app as celery_app

__all__ = ["celery_app"]
