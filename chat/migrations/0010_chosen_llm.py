from django.conf import settings
from django.db import migrations, models
from django.db.models import F


def note_choices(apps, schema_editor):
    """Keep what was chosen for runs that are open, or may be asked for again.

    Of one that was interrupted, `llm` is what was asked last, perhaps a fallback: what was asked first is on its bill.
    Of one that has failed it may be what it failed of: asked for again, it asks its agent's.
    """
    runs = apps.get_model('chat', 'Run').objects
    runs.filter(status='failed').update(chosen_llm='')
    others = runs.exclude(status__in=('failed', 'succeeded'))
    others.filter(interrupted_at=None).update(chosen_llm=F('llm'))
    for run in others.exclude(interrupted_at=None).select_related('agent').iterator():
        first = run.spent.order_by('attempt', 'pk').values_list('llm', flat=True).first() or run.llm
        run.chosen_llm = '' if first == (run.agent.llm or settings.CHAT_LLM) else first
        run.save(update_fields=['chosen_llm'])


class Migration(migrations.Migration):

    dependencies = [
        ('chat', '0009_steering'),
    ]

    operations = [
        migrations.AddField(
            model_name='run',
            name='chosen_llm',
            field=models.CharField(blank=True, max_length=200, null=True),
        ),
        migrations.RunPython(note_choices, migrations.RunPython.noop),
    ]
