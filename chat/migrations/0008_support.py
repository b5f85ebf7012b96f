"""The tools that workers tell of, a small shop, and the agent that looks after it."""

import django.core.validators
import django.db.models.deletion
import django.utils.timezone
from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from chat.actions.shop import first_orders


def open_shop(apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    orders = apps.get_model("chat", "Order")
    known = {field.name for field in orders._meta.fields}
    for columns in first_orders(django.utils.timezone.now()):
        orders.objects.create(**{name: value for name, value in columns.items() if name in known})


def add_support(apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    apps.get_model("chat", "Agent").objects.get_or_create(
        name="support",
        defaults={
            "title": "Customer support",
            "color": "#0f8a6c",
            "mode": "react",
            "tools": ["get_order_status", "get_tracking_info", "cancel_order", "apply_discount", "ask_human"],
            "instructions": (
                "You help the people at the support desk of a small shop. Look orders up with your tools and never "
                "make up what they would tell you. Everything that was asked for in one message belongs into one "
                "answer: call several tools at once where that is possible.\n\n"
                "To cancel an order or to give a discount, call the tool at once: a person is shown the call and "
                "approves or refuses it, so do not ask for permission in words. When it was refused, say so, and do "
                "not try again unless you are asked to. Ask with ask_human only what you cannot look up.\n\n"
                "Answer in the language of the question, be friendly and brief, and name order numbers, amounts and "
                "dates as they are."
            ),
        },
    )


class Migration(migrations.Migration):

    dependencies = [
        ('chat', '0007_agents_that_act'),
    ]

    operations = [
        migrations.CreateModel(
            name='Order',
            fields=[
                ('id', models.CharField(max_length=20, primary_key=True, serialize=False, verbose_name='order')),
                ('customer', models.CharField(max_length=120)),
                ('items', models.JSONField(default=list)),
                ('status', models.CharField(choices=[('processing', 'Processing'), ('shipped', 'Shipped'), ('delivered', 'Delivered'), ('cancelled', 'Cancelled')], default='processing', max_length=10)),
                ('total', models.DecimalField(decimal_places=2, max_digits=10)),
                ('discount_percent', models.PositiveSmallIntegerField(default=0, validators=[django.core.validators.MaxValueValidator(100)])),
                ('carrier', models.CharField(blank=True, max_length=60)),
                ('tracking_number', models.CharField(blank=True, max_length=60)),
                ('ordered_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('shipped_at', models.DateTimeField(blank=True, null=True)),
                ('expected_at', models.DateTimeField(blank=True, null=True)),
                ('delivered_at', models.DateTimeField(blank=True, null=True)),
                ('cancelled_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'ordering': ('id',),
            },
        ),
        migrations.CreateModel(
            name='Tool',
            fields=[
                ('name', models.CharField(max_length=64, primary_key=True, serialize=False)),
                ('description', models.TextField(blank=True)),
                ('args_schema', models.JSONField(default=dict)),
                ('access', models.CharField(choices=[('read', 'Read'), ('write', 'Write')], max_length=5)),
                ('effect', models.CharField(choices=[('pure', 'Pure'), ('idempotent', 'Idempotent'), ('once', 'Once')], max_length=10)),
                ('needs_approval', models.BooleanField(default=False)),
                ('updated_at', models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                'ordering': ('name',),
            },
        ),
        migrations.CreateModel(
            name='OrderChange',
            fields=[
                ('key', models.CharField(max_length=100, primary_key=True, serialize=False)),
                ('what', models.CharField(max_length=40)),
                ('args', models.JSONField(default=dict)),
                ('result', models.JSONField(default=dict)),
                ('at', models.DateTimeField(default=django.utils.timezone.now)),
                ('order', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='changes', to='chat.order')),
            ],
        ),
        migrations.RunPython(open_shop, migrations.RunPython.noop),
        migrations.RunPython(add_support, migrations.RunPython.noop),
    ]
