"""Which serve process holds which event stream, as the processes of one database see it."""

from typing import ClassVar

from django.db import models

from durable.models.fields import IdField


class GatewayProcess(models.Model):
    """A process that serves event streams; gone when ``seen_at`` (epoch ms) is long past."""

    id = models.TextField(primary_key=True)
    host = models.TextField()
    started_at = models.BigIntegerField()
    seen_at = models.BigIntegerField()

    def __str__(self) -> str:
        return self.id


class Stream(models.Model):
    """An open event stream of a worker; of two with the same group and id the newest counts."""

    id = models.TextField(primary_key=True)
    gateway = models.ForeignKey(
        GatewayProcess, on_delete=models.DO_NOTHING, db_constraint=False, related_name="streams"
    )
    queue = IdField(help_text="The worker's group.")
    worker = IdField(help_text="The worker's own id: the pid of its leases.")
    opened_at = models.BigIntegerField()

    class Meta:
        indexes: ClassVar = [models.Index(name="durable_stream_worker", fields=["queue", "worker"])]

    def __str__(self) -> str:
        return f"{self.worker} of {self.queue}"
