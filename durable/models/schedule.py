"""Schedules: promises made at every instant of a cron expression."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from durable.models.fields import IdField, ProtocolModel


class Schedule(ProtocolModel):
    """A schedule as stored (protocol.md 2.4); instants in epoch ms, ``promise_timeout`` in ms."""

    id = IdField(primary_key=True)
    cron = models.TextField()
    promise_id = models.TextField(help_text="Template of the ids of the promises it creates.")
    promise_timeout = models.BigIntegerField()
    promise_param_data = models.TextField(null=True)
    promise_param_headers = models.JSONField(null=True)
    promise_tags = models.JSONField()
    created_at = models.BigIntegerField()
    next_run_at = models.BigIntegerField()
    last_run_at = models.BigIntegerField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                name="durable_schedule_times_in_order",
                condition=Q(created_at__lte=models.F("next_run_at"))
                & (Q(last_run_at__isnull=True) | Q(last_run_at__lt=models.F("next_run_at"))),
            )
        ]
        indexes: ClassVar = [models.Index(name="durable_schedule_due", fields=["next_run_at"])]

    def __str__(self) -> str:
        return self.id
