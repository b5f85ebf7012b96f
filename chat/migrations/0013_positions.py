"""Write a message's place in the talk beside it: the newest lines are found without a look at all others."""

from django.db import migrations, models

from chat.migrations._beside import AddField, AddIndex


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ('chat', '0012_what_is_looked_for'),
    ]

    operations = [
        AddField(
            model_name='message',
            name='position',
            field=models.BigIntegerField(blank=True, editable=False, null=True),
        ),
        AddIndex(
            model_name='message',
            index=models.Index(condition=models.Q(('deleted_at', None), ('kind', 'text'), ('role__in', ('user', 'assistant'))), fields=['session', 'position', 'seq'], name='messages_of_the_talk'),
        ),
        AddIndex(
            model_name='message',
            index=models.Index(condition=models.Q(('position', None), ('run__isnull', False)), fields=['run'], name='messages_without_position'),
        ),
    ]
