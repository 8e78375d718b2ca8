"""What happened to tasks, append-only."""

from typing import ClassVar

from django.db import models

from durable.models.fields import IdField, ProtocolModel


class TaskEvent(models.IntegerChoices):
    """Kinds of events; the numbers are stored."""

    ACQUIRED = 1, "acquired"
    SUSPENDED = 2, "suspended"
    RESUMED = 3, "resumed"
    RELEASED = 4, "released"
    LEASE_EXPIRED = 5, "lease expired"
    HALTED = 6, "halted"
    CONTINUED = 7, "continued"


class HistoryEvent(ProtocolModel):
    """One event of one task: who, when, at which version; written with the change itself."""

    id = models.BigAutoField(primary_key=True)
    task_id = IdField()
    event = models.SmallIntegerField(choices=TaskEvent.choices)
    at = models.BigIntegerField()
    version = models.PositiveIntegerField()
    pid = models.TextField(null=True)

    class Meta:
        indexes: ClassVar = [models.Index(name="durable_history_task", fields=["task_id", "id"])]

    def __str__(self) -> str:
        return f"{self.task_id} {self.get_event_display()} at {self.at}"
