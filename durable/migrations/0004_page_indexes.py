from django.db import migrations, models

import durable.models.fields


class Migration(migrations.Migration):
    dependencies = [
        ("durable", "0003_delivery"),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name="promise",
            name="durable_promise_roots",
        ),
        migrations.AddIndex(
            model_name="promise",
            index=models.Index(
                condition=models.Q(("is_root", True), durable.models.fields.IsTargeted("tags")),
                fields=["-created_at", "id"],
                name="durable_promise_roots",
            ),
        ),
        migrations.AddIndex(
            model_name="promise",
            index=models.Index(
                condition=models.Q(("is_root", True), durable.models.fields.IsTargeted("tags")),
                fields=["state", "-created_at", "id"],
                name="durable_promise_root_state",
            ),
        ),
        migrations.AddIndex(
            model_name="promise",
            index=models.Index(
                condition=models.Q(("is_root", True), durable.models.fields.IsTargeted("tags")),
                fields=["function", "state", "-created_at", "id"],
                name="durable_promise_root_call",
            ),
        ),
        migrations.AddIndex(
            model_name="promise",
            index=models.Index(
                condition=models.Q(("state", "pending"), ("is_external", True)),
                fields=["origin"],
                name="durable_promise_open",
            ),
        ),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(
                condition=models.Q(("stuck__isnull", False), ("state", "halted"), _connector="OR"),
                fields=["promise"],
                name="durable_task_stuck",
            ),
        ),
    ]
