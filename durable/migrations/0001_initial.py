import django.db.models.deletion
from django.db import migrations, models

import durable.models.fields


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Promise",
            fields=[
                ("id", durable.models.fields.IdField(primary_key=True, serialize=False)),
                (
                    "state",
                    models.TextField(
                        choices=[
                            ("pending", "pending"),
                            ("resolved", "resolved"),
                            ("rejected", "rejected"),
                            ("rejected_canceled", "rejected_canceled"),
                            ("rejected_timedout", "rejected_timedout"),
                        ]
                    ),
                ),
                ("timeout_at", models.BigIntegerField()),
                ("created_at", models.BigIntegerField()),
                ("settled_at", models.BigIntegerField(null=True)),
                ("param_data", models.TextField(null=True)),
                ("param_headers", models.JSONField(null=True)),
                ("value_data", models.TextField(null=True)),
                ("value_headers", models.JSONField(null=True)),
                ("tags", models.JSONField()),
                (
                    "origin",
                    durable.models.fields.IdField(
                        help_text="Root of the lineage: the origin tag, else the id itself."
                    ),
                ),
                (
                    "replayed_by",
                    durable.models.fields.IdField(
                        help_text="The task whose replay asks for this promise; null for roots.",
                        null=True,
                    ),
                ),
                (
                    "function",
                    models.TextField(
                        help_text="Name of the function called, from param.", null=True
                    ),
                ),
                (
                    "is_external",
                    models.BooleanField(
                        help_text="Settled from outside its task: deadline is armed."
                    ),
                ),
                ("is_root", models.BooleanField(help_text="Has no parent but itself.")),
                (
                    "is_undrained",
                    models.BooleanField(
                        default=False,
                        help_text="Settled, with callbacks or listeners not told yet.",
                    ),
                ),
                ("started_at", models.BigIntegerField(null=True)),
                ("attempts", models.PositiveIntegerField(null=True)),
                ("last_error", models.TextField(null=True)),
                ("started_by", models.TextField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name="Callback",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "awaited",
                        "awaiter",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "awaited",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="callbacks",
                        to="durable.promise",
                    ),
                ),
                (
                    "awaiter",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="awaits",
                        to="durable.promise",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Listener",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "promise",
                        "address",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("address", durable.models.fields.IdField()),
                (
                    "promise",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="listeners",
                        to="durable.promise",
                    ),
                ),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="Schedule",
            fields=[
                ("id", durable.models.fields.IdField(primary_key=True, serialize=False)),
                ("cron", models.TextField()),
                (
                    "promise_id",
                    models.TextField(help_text="Template of the ids of the promises it creates."),
                ),
                ("promise_timeout", models.BigIntegerField()),
                ("promise_param_data", models.TextField(null=True)),
                ("promise_param_headers", models.JSONField(null=True)),
                ("promise_tags", models.JSONField()),
                ("created_at", models.BigIntegerField()),
                ("next_run_at", models.BigIntegerField()),
                ("last_run_at", models.BigIntegerField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name="Worker",
            fields=[
                (
                    "pid",
                    models.TextField(
                        help_text="The pid of its leases, not the system's.",
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("groups", models.JSONField(default=list)),
                ("host", models.TextField()),
                ("system_pid", models.PositiveIntegerField()),
                ("concurrency", models.PositiveIntegerField()),
                ("started_at", models.BigIntegerField()),
                ("seen_at", models.BigIntegerField(db_index=True)),
                ("is_draining", models.BooleanField(default=False)),
                (
                    "running",
                    models.JSONField(
                        default=list,
                        help_text="What runs now: task, promise, function, attempt, since (epoch ms).",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="HistoryEvent",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("task_id", durable.models.fields.IdField()),
                (
                    "event",
                    models.SmallIntegerField(
                        choices=[
                            (1, "acquired"),
                            (2, "suspended"),
                            (3, "resumed"),
                            (4, "released"),
                            (5, "lease expired"),
                            (6, "halted"),
                            (7, "continued"),
                        ]
                    ),
                ),
                ("at", models.BigIntegerField()),
                ("version", models.PositiveIntegerField()),
                ("pid", models.TextField(null=True)),
            ],
            options={
                "indexes": [models.Index(fields=["task_id", "id"], name="durable_history_task")],
            },
        ),
        migrations.CreateModel(
            name="OutboxMessage",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("promise_id", durable.models.fields.IdField()),
                ("address", durable.models.fields.IdField()),
                ("version", models.PositiveIntegerField(null=True)),
                ("record", models.JSONField(null=True)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("record__isnull", True), ("version__isnull", False)),
                            models.Q(("record__isnull", False), ("version__isnull", True)),
                            _connector="OR",
                        ),
                        name="durable_outbox_execute_or_unblock",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("version__isnull", False)),
                        fields=("promise_id",),
                        name="durable_outbox_execute_key",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("version__isnull", True)),
                        fields=("promise_id", "address"),
                        name="durable_outbox_unblock_key",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Task",
            fields=[
                (
                    "promise",
                    models.OneToOneField(
                        db_column="id",
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        primary_key=True,
                        serialize=False,
                        to="durable.promise",
                    ),
                ),
                (
                    "state",
                    models.TextField(
                        choices=[
                            ("pending", "pending"),
                            ("acquired", "acquired"),
                            ("suspended", "suspended"),
                            ("halted", "halted"),
                            ("fulfilled", "fulfilled"),
                        ]
                    ),
                ),
                ("version", models.PositiveIntegerField()),
                ("resumes", models.JSONField(default=list)),
                ("pid", models.TextField(null=True)),
                ("ttl", models.BigIntegerField(null=True)),
                ("expires_at", models.BigIntegerField(null=True)),
                ("retry_at", models.BigIntegerField(null=True)),
                (
                    "queue",
                    models.TextField(
                        help_text="Group that the target names; null for URLs.", null=True
                    ),
                ),
                (
                    "not_before",
                    models.BigIntegerField(
                        default=0,
                        help_text="Workers leave the task alone until then: delay or back-off.",
                    ),
                ),
                (
                    "releases",
                    models.PositiveIntegerField(
                        default=0, help_text="Times given back in a row without progress."
                    ),
                ),
                (
                    "stuck",
                    models.TextField(
                        help_text="Why the task cannot go on, in a sentence.", null=True
                    ),
                ),
            ],
        ),
        migrations.AddIndex(
            model_name="promise",
            index=models.Index(
                condition=models.Q(("state", "pending"), ("is_external", True)),
                fields=["timeout_at"],
                name="durable_promise_deadline",
            ),
        ),
        migrations.AddIndex(
            model_name="promise",
            index=models.Index(
                condition=models.Q(("is_undrained", True)),
                fields=["id"],
                name="durable_promise_undrained",
            ),
        ),
        migrations.AddIndex(
            model_name="promise",
            index=models.Index(fields=["origin", "replayed_by"], name="durable_promise_lineage"),
        ),
        migrations.AddIndex(
            model_name="promise",
            index=models.Index(
                condition=models.Q(("is_root", True)),
                fields=["-created_at", "id"],
                name="durable_promise_roots",
            ),
        ),
        migrations.AddConstraint(
            model_name="promise",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "state__in",
                        [
                            "pending",
                            "resolved",
                            "rejected",
                            "rejected_canceled",
                            "rejected_timedout",
                        ],
                    )
                ),
                name="durable_promise_state_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="promise",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "pending"), ("settled_at__isnull", True)),
                    models.Q(
                        models.Q(("state", "pending"), _negated=True), ("settled_at__isnull", False)
                    ),
                    _connector="OR",
                ),
                name="durable_promise_settled_iff_not_pending",
            ),
        ),
        migrations.AddConstraint(
            model_name="promise",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "pending"), _negated=True),
                    models.Q(("value_data__isnull", True), ("value_headers__isnull", True)),
                    _connector="OR",
                ),
                name="durable_promise_pending_has_no_value",
            ),
        ),
        migrations.AddConstraint(
            model_name="promise",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("created_at__lte", models.F("timeout_at")),
                    models.Q(
                        ("settled_at__isnull", True),
                        models.Q(
                            ("settled_at__gte", models.F("created_at")),
                            ("settled_at__lte", models.F("timeout_at")),
                        ),
                        _connector="OR",
                    ),
                ),
                name="durable_promise_times_in_order",
            ),
        ),
        migrations.AddConstraint(
            model_name="promise",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "rejected_timedout"), _negated=True),
                    ("settled_at", models.F("timeout_at")),
                    _connector="OR",
                ),
                name="durable_promise_timedout_at_deadline",
            ),
        ),
        migrations.AddIndex(
            model_name="schedule",
            index=models.Index(fields=["next_run_at"], name="durable_schedule_due"),
        ),
        migrations.AddConstraint(
            model_name="schedule",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("created_at__lte", models.F("next_run_at")),
                    models.Q(
                        ("last_run_at__isnull", True),
                        ("last_run_at__lt", models.F("next_run_at")),
                        _connector="OR",
                    ),
                ),
                name="durable_schedule_times_in_order",
            ),
        ),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(
                condition=models.Q(("state", "pending")),
                fields=["queue", "not_before"],
                name="durable_task_claim",
            ),
        ),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(
                condition=models.Q(("state", "pending")),
                fields=["retry_at"],
                name="durable_task_retry",
            ),
        ),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(
                condition=models.Q(("state", "acquired")),
                fields=["expires_at"],
                name="durable_task_lease",
            ),
        ),
        migrations.AddConstraint(
            model_name="task",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("state__in", ["pending", "acquired", "suspended", "halted", "fulfilled"])
                ),
                name="durable_task_state_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="task",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("state", "acquired"),
                        ("expires_at__isnull", False),
                        ("pid__isnull", False),
                        ("ttl__isnull", False),
                        ("version__gte", 1),
                    ),
                    models.Q(
                        models.Q(("state", "acquired"), _negated=True),
                        ("expires_at__isnull", True),
                        ("pid__isnull", True),
                        ("ttl__isnull", True),
                    ),
                    _connector="OR",
                ),
                name="durable_task_leased_iff_acquired",
            ),
        ),
        migrations.AddConstraint(
            model_name="task",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state", "pending"), ("retry_at__isnull", False)),
                    models.Q(
                        models.Q(("state", "pending"), _negated=True), ("retry_at__isnull", True)
                    ),
                    _connector="OR",
                ),
                name="durable_task_retried_iff_pending",
            ),
        ),
        migrations.AddIndex(
            model_name="callback",
            index=models.Index(fields=["awaiter"], name="durable_callback_awaiter"),
        ),
        migrations.AddConstraint(
            model_name="callback",
            constraint=models.CheckConstraint(
                condition=models.Q(("awaited", models.F("awaiter")), _negated=True),
                name="durable_callback_awaiter_is_not_self",
            ),
        ),
    ]
