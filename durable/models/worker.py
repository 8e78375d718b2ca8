"""Worker processes, as they last described themselves."""

from django.db import models


class Worker(models.Model):
    """One process that runs functions; gone when ``seen_at`` (epoch ms) is long past."""

    pid = models.TextField(primary_key=True, help_text="The pid of its leases, not the system's.")
    groups = models.JSONField(default=list)
    functions = models.JSONField(default=list, help_text="Names of the functions it knows.")
    host = models.TextField()
    system_pid = models.PositiveIntegerField()
    concurrency = models.PositiveIntegerField()
    started_at = models.BigIntegerField()
    seen_at = models.BigIntegerField(db_index=True)
    is_draining = models.BooleanField(default=False)
    running = models.JSONField(
        default=list, help_text="What runs now: task, promise, function, attempt, since (epoch ms)."
    )

    def __str__(self) -> str:
        return self.pid
