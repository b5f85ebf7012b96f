"""The agent that every new session talks to."""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def add_assistant(apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    apps.get_model("chat", "Agent").objects.get_or_create(
        name="assistant",
        defaults={
            "title": "Assistant",
            "color": "#4f6bed",
            "instructions": (
                "You are a helpful assistant in a shared chat. Answer in the language of the question, be brief and "
                "concrete, and say so when you do not know."
            ),
        },
    )


class Migration(migrations.Migration):
    dependencies = [("chat", "0001_first")]
    operations = [migrations.RunPython(add_assistant, migrations.RunPython.noop)]
