from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('chat', '0010_chosen_llm'),
    ]

    operations = [
        migrations.AddField(
            model_name='ticket',
            name='proof',
            field=models.JSONField(default=dict),
        ),
    ]
