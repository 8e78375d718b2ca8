"""What people have begun to write, and what they say to each other about a question."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from dashboard.models.human_task import HumanTask


class Draft(models.Model):
    """An answer that was not sent yet: the fields of the form, as they were."""

    id = models.BigAutoField(primary_key=True)
    task = models.ForeignKey(
        HumanTask, on_delete=models.CASCADE, db_constraint=False, related_name="drafts"
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, db_constraint=False, related_name="+"
    )
    fields = models.JSONField(default=dict)
    saved_at = models.BigIntegerField()

    class Meta:
        verbose_name = _("draft")
        verbose_name_plural = _("drafts")
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(name="signoff_draft_once", fields=["task", "user"]),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} {self.task_id}"


class Comment(models.Model):
    """A remark, or a question back to whoever asked and the reply to it."""

    class Kind(models.TextChoices):
        REMARK = "remark", _("remark")
        ASKED = "asked", _("question to the requester")
        REPLIED = "replied", _("reply of the requester")

    id = models.BigAutoField(primary_key=True)
    task = models.ForeignKey(
        HumanTask, on_delete=models.CASCADE, db_constraint=False, related_name="comments"
    )
    kind = models.TextField(choices=Kind, default=Kind.REMARK)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.SET_NULL,
        db_constraint=False,
        related_name="+",
    )
    user_name = models.TextField()
    text = models.TextField()
    written_at = models.BigIntegerField()

    class Meta:
        verbose_name = _("comment")
        verbose_name_plural = _("comments")
        default_permissions = ()

    def __str__(self) -> str:
        return self.text[:60]
