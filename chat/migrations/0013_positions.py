"""Write a message's place in the talk beside it: the newest lines are found without a look at all others."""

from django.db import migrations, models
from django.db.models import OuterRef, Subquery


def place_messages(apps, schema_editor):
    position = apps.get_model('chat', 'Run').objects.filter(pk=OuterRef('run_id')).values('position')
    unplaced = apps.get_model('chat', 'Message').objects.filter(position=None, run__isnull=False)
    unplaced.update(position=Subquery(position))


class Migration(migrations.Migration):

    dependencies = [
        ('chat', '0012_what_is_looked_for'),
    ]

    operations = [
        migrations.AddField(
            model_name='message',
            name='position',
            field=models.BigIntegerField(blank=True, editable=False, null=True),
        ),
        migrations.AddIndex(
            model_name='message',
            index=models.Index(condition=models.Q(('deleted_at', None), ('kind', 'text'), ('role__in', ('user', 'assistant'))), fields=['session', 'position', 'seq'], name='messages_of_the_talk'),
        ),
        migrations.AddIndex(
            model_name='message',
            index=models.Index(condition=models.Q(('position', None), ('run__isnull', False)), fields=['run'], name='messages_without_position'),
        ),
        migrations.RunPython(place_messages, migrations.RunPython.noop),
    ]
