"""Place the messages that are there, some at a time, so that nobody waits for all of them."""

from django.db import migrations, transaction
from django.db.models import OuterRef, Subquery

AT_ONCE = 1000


def place_messages(apps, schema_editor):
    Message, Run = apps.get_model('chat', 'Message'), apps.get_model('chat', 'Run')
    unplaced = Message.objects.filter(position=None, run__isnull=False)
    position = Run.objects.filter(pk=OuterRef('run_id')).values('position')
    while ids := list(unplaced.values_list('pk', flat=True)[:AT_ONCE]):
        with transaction.atomic():
            unplaced.filter(pk__in=ids).update(position=Subquery(position))


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ('chat', '0013_positions'),
    ]

    operations = [
        migrations.RunPython(place_messages, migrations.RunPython.noop),
    ]
