"""Indexes over the rows that are looked for alone: open runs, waiting ones, joined messages."""

import django.db.models.deletion
from django.db import migrations, models

from chat.migrations._beside import AddIndex, DropIndex


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ('chat', '0011_ticket_proof'),
    ]

    operations = [
        DropIndex(
            model_name='run',
            name='retry_of',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='retries', to='chat.run'),
        ),
        DropIndex(
            model_name='run',
            name='worker',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='runs', to='chat.worker'),
        ),
        AddIndex(
            model_name='message',
            index=models.Index(condition=models.Q(('joined', True)), fields=['run', 'seq'], name='messages_joined'),
        ),
        AddIndex(
            model_name='run',
            index=models.Index(condition=models.Q(('status__in', ('queued', 'running', 'interrupted'))), fields=['session', 'position'], name='runs_open'),
        ),
        AddIndex(
            model_name='run',
            index=models.Index(condition=models.Q(('status', 'queued')), fields=['user', 'queued_at'], name='runs_that_wait'),
        ),
        AddIndex(
            model_name='run',
            index=models.Index(condition=models.Q(('worker__isnull', False)), fields=['worker'], name='runs_of_a_worker'),
        ),
        AddIndex(
            model_name='run',
            index=models.Index(condition=models.Q(('retry_of__isnull', False)), fields=['retry_of'], name='runs_again'),
        ),
    ]
