"""What the admin calls some columns. Nothing of this is in the database."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('chat', '0015_agent_names'),
    ]

    operations = [
        migrations.AlterField(
            model_name='agent',
            name='interrupt_expires_s',
            field=models.PositiveIntegerField(default=1800, help_text='0: its questions stay open for ever.', verbose_name='questions are open for, seconds'),
        ),
        migrations.AlterField(
            model_name='agent',
            name='llm',
            field=models.CharField(blank=True, help_text="Empty: the server's own (CHAT_LLM).", max_length=200, verbose_name='LLM'),
        ),
        migrations.AlterField(
            model_name='run',
            name='chosen_llm',
            field=models.CharField(blank=True, max_length=200, null=True, verbose_name='chosen LLM'),
        ),
        migrations.AlterField(
            model_name='run',
            name='cost_usd',
            field=models.DecimalField(decimal_places=6, default=0, max_digits=14, verbose_name='cost, USD'),
        ),
        migrations.AlterField(
            model_name='run',
            name='llm',
            field=models.CharField(blank=True, max_length=200, verbose_name='LLM'),
        ),
        migrations.AlterField(
            model_name='usage',
            name='cost_usd',
            field=models.DecimalField(decimal_places=6, default=None, max_digits=14, null=True, verbose_name='cost, USD'),
        ),
        migrations.AlterField(
            model_name='usage',
            name='llm',
            field=models.CharField(max_length=200, verbose_name='LLM'),
        ),
    ]
