"""One answer to many questions, as a job that is followed and can be stopped."""

import uuid
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _


class BulkJob(models.Model):
    """An answer, by whom, and how far it got. Instants are epoch ms."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, db_constraint=False, related_name="+"
    )
    actor = models.JSONField(help_text=_("How the person was signed in, and from where."))
    answer = models.TextField(blank=True, help_text=_("Empty until it is chosen."))
    comment = models.TextField(blank=True)
    values = models.JSONField(default=dict)
    total = models.IntegerField()
    made_at = models.BigIntegerField()
    started_at = models.BigIntegerField(null=True)
    stopped_at = models.BigIntegerField(null=True)
    ended_at = models.BigIntegerField(null=True)

    class Meta:
        verbose_name = _("bulk answer")
        verbose_name_plural = _("bulk answers")
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.answer} x {self.total}"

    @property
    def is_running(self) -> bool:
        """Whether answers are still to be given."""
        return self.started_at is not None and self.ended_at is None


class BulkItem(models.Model):
    """One question of a job, and what became of it."""

    class Result(models.TextChoices):
        WAITING = "waiting", _("waiting")
        DONE = "done", _("done")
        VOTED = "voted", _("counted")
        SETTLED = "settled", _("already settled")
        REFUSED = "refused", _("refused")
        GONE = "gone", _("not found")
        FAILED = "failed", _("failed")

    id = models.BigAutoField(primary_key=True)
    job = models.ForeignKey(BulkJob, on_delete=models.CASCADE, related_name="items")
    task_id = models.TextField()
    title = models.TextField(blank=True)
    asked_at = models.BigIntegerField(
        null=True, help_text=_("Of the question as it was read, epoch ms.")
    )
    result = models.TextField(choices=Result, default=Result.WAITING)
    problem = models.TextField(blank=True)

    class Meta:
        verbose_name = _("bulk item")
        verbose_name_plural = _("bulk items")
        default_permissions = ()
        indexes: ClassVar = [
            models.Index(name="signoff_bulk_result", fields=["job", "result", "id"]),
        ]

    def __str__(self) -> str:
        return self.task_id
