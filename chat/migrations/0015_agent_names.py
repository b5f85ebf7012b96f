"""The name of an agent has no line break at its end. Nothing of this is in the database."""

import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('chat', '0014_messages_in_place'),
    ]

    operations = [
        migrations.AlterField(
            model_name='agent',
            name='name',
            field=models.CharField(max_length=64, primary_key=True, serialize=False, validators=[django.core.validators.RegexValidator('^[A-Za-z][A-Za-z0-9_-]*\\Z', 'a word')]),
        ),
    ]
