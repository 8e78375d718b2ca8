"""Answers that wait a little before they count, so that whoever gave them can take them back."""

import uuid
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from dashboard.models.human_task import HumanTask


class HeldAnswer(models.Model):
    """An answer on its way. Instants are epoch ms.

    Once sent, the row stays only where it came to nothing, to tell whoever gave it.
    """

    class Result(models.TextChoices):
        WAITING = "waiting", _("on its way")
        LATE = "late", _("too late")
        REFUSED = "refused", _("refused")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    task = models.ForeignKey(
        HumanTask, on_delete=models.CASCADE, db_constraint=False, related_name="held_answers"
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, db_constraint=False, related_name="+"
    )
    actor = models.JSONField(default=dict, help_text=_("How they were signed in."))
    answer = models.TextField()
    comment = models.TextField(blank=True)
    values = models.JSONField(default=dict)
    request_key = models.TextField(blank=True)
    fields = models.JSONField(default=dict, help_text=_("The form as it was filled in."))
    held_at = models.BigIntegerField()
    sends_at = models.BigIntegerField()
    result = models.TextField(choices=Result, default=Result.WAITING)
    problem = models.TextField(blank=True, help_text=_("Why it was refused."))

    class Meta:
        verbose_name = _("held answer")
        verbose_name_plural = _("held answers")
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(name="signoff_held_once", fields=["task", "user"]),
        ]
        indexes: ClassVar = [
            models.Index(
                name="signoff_held_waiting",
                fields=["sends_at"],
                condition=Q(result="waiting"),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} {self.answer} {self.task_id}"
