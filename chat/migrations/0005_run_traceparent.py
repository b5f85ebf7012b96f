from django.db import migrations, models

import chat.tracing


class Migration(migrations.Migration):

    dependencies = [
        ('chat', '0004_audit'),
    ]

    operations = [
        migrations.AddField(
            model_name='run',
            name='traceparent',
            field=models.CharField(blank=True, default=chat.tracing.traceparent, editable=False, max_length=55, null=True),
        ),
    ]
