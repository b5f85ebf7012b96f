"""Changes of large tables beside those who work with them: each takes one lock, and for a short time.

In one transaction they would hold locks on two tables, and actions take those in either order. So such a migration is
not atomic. One that was broken off is done again, and so is each change: what is there by then is no error.
"""

from django.db import migrations, transaction
from django.db.models import Index


class AddField(migrations.AddField):
    atomic = True

    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        model = to_state.apps.get_model(app_label, self.model_name)
        connection = schema_editor.connection
        with connection.cursor() as cursor:
            there = connection.introspection.get_table_description(cursor, model._meta.db_table)
        if model._meta.get_field(self.name).column not in {column.name for column in there}:
            super().database_forwards(app_label, schema_editor, from_state, to_state)


class AddIndex(migrations.AddIndex):
    """On Postgres nobody waits for it, on SQLite who writes does."""

    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        model = to_state.apps.get_model(app_label, self.model_name)
        if schema_editor.connection.vendor == 'postgresql':
            schema_editor.remove_index(model, self.index, concurrently=True)  # one that was broken off is of no use
            schema_editor.add_index(model, self.index, concurrently=True)
        else:
            with transaction.atomic(schema_editor.connection.alias):
                schema_editor.execute(f'DROP INDEX IF EXISTS {schema_editor.quote_name(self.index.name)}')
                schema_editor.add_index(model, self.index)


class DropIndex(migrations.AlterField):
    """Take its index from a foreign key, and no more: `AlterField` would check each row anew, or copy the table."""

    atomic = True

    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        model = from_state.apps.get_model(app_label, self.model_name)
        column = model._meta.get_field(self.name).column
        for name in schema_editor._constraint_names(model, [column], index=True, type_=Index.suffix):
            schema_editor.execute(schema_editor._delete_index_sql(model, name))

    def database_backwards(self, app_label, schema_editor, from_state, to_state):
        super().database_forwards(app_label, schema_editor, from_state, to_state)
