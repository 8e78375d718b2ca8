"""What somebody does not want to see for a while."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from dashboard.models.human_task import HumanTask


class Snooze(models.Model):
    """An open question that one person has put off. Instants are epoch ms.

    The row goes with the question's settlement. One whose time has come says nothing any more.
    """

    id = models.BigAutoField(primary_key=True)
    task = models.ForeignKey(
        HumanTask, on_delete=models.CASCADE, db_constraint=False, related_name="snoozes"
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        db_constraint=False,
        db_index=False,
        related_name="+",
    )
    until = models.BigIntegerField()
    made_at = models.BigIntegerField()

    class Meta:
        verbose_name = _("snoozed question")
        verbose_name_plural = _("snoozed questions")
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(name="signoff_snooze_once", fields=["user", "task"]),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} {self.task_id}"
