from django.db import migrations, models

import durable.models.fields

_UNRESOLVED = models.Q(state__in=["rejected", "rejected_canceled", "rejected_timedout"])
_PARKED = models.Q(state__in=["suspended", "halted"])


class Migration(migrations.Migration):
    dependencies = [
        ("durable", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="Token",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "name",
                    models.TextField(
                        help_text="Who it was issued to; shown as the starter of what it starts."
                    ),
                ),
                ("digest", models.TextField(unique=True)),
                ("prefix", models.TextField(blank=True, default="")),
                (
                    "role",
                    models.TextField(
                        blank=True,
                        choices=[("", ""), ("worker", "worker"), ("admin", "admin")],
                        default="",
                    ),
                ),
                (
                    "groups",
                    models.JSONField(
                        default=list,
                        help_text="Worker groups it may poll beside those that begin with the prefix.",
                    ),
                ),
                ("created_at", models.BigIntegerField()),
                ("expires_at", models.BigIntegerField(null=True)),
                ("revoked_at", models.BigIntegerField(null=True)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("revoked_at__isnull", True)),
                        fields=("name",),
                        name="durable_token_name",
                    )
                ],
            },
        ),
        migrations.AddIndex(
            model_name="promise",
            index=models.Index(
                condition=models.Q(("state", "pending")),
                fields=["id"],
                name="durable_promise_pending",
            ),
        ),
        migrations.AddIndex(
            model_name="promise",
            index=models.Index(
                condition=_UNRESOLVED, fields=["state", "id"], name="durable_promise_unresolved"
            ),
        ),
        migrations.AddIndex(
            model_name="promise",
            index=models.Index(
                durable.models.fields.OriginTag("tags"),
                condition=models.Q(
                    durable.models.fields.Differs(
                        durable.models.fields.OriginTag("tags"), models.F("origin")
                    )
                ),
                name="durable_promise_other_origin",
            ),
        ),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(
                condition=_PARKED, fields=["state", "promise"], name="durable_task_parked"
            ),
        ),
    ]
