import django.db.models.deletion
from django.db import migrations, models


def note_titles(apps, schema_editor):
    apps.get_model('chat', 'ChatSession').objects.exclude(title='').update(is_titled=True)


class Migration(migrations.Migration):

    dependencies = [
        ('chat', '0008_support'),
    ]

    operations = [
        migrations.AddField(
            model_name='chatsession',
            name='on_busy',
            field=models.CharField(choices=[('queue', 'Queue'), ('join', 'Join'), ('interrupt', 'Interrupt'), ('rollback', 'Rollback'), ('reject', 'Reject')], default='queue', max_length=10),
        ),
        migrations.AddField(
            model_name='chatsession',
            name='is_titled',
            field=models.BooleanField(default=False),
        ),
        migrations.AddIndex(
            model_name='chatsession',
            index=models.Index(fields=['status', 'active_at'], name='sessions_by_status'),
        ),
        migrations.AddField(
            model_name='message',
            name='joined',
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name='message',
            name='read_step',
            field=models.PositiveIntegerField(blank=True, null=True),
        ),
        migrations.AddIndex(
            model_name='message',
            index=models.Index(condition=models.Q(('joined', True), ('read_step', None)), fields=['session', 'seq'], name='messages_unread'),
        ),
        migrations.AlterField(
            model_name='usage',
            name='run',
            field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='spent', to='chat.run'),
        ),
        migrations.RunPython(note_titles, migrations.RunPython.noop),
    ]
