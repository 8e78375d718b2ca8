"""Who watches the time of a question, and what has happened at which of its times."""

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from dashboard.models.human_task import HumanTask
from durable.models.fields import IdField


class Attendance(models.Model):
    """The execution that waits for the times of a question. Instants are epoch ms."""

    task = models.OneToOneField(
        HumanTask,
        primary_key=True,
        on_delete=models.CASCADE,
        db_constraint=False,
        related_name="attendance",
    )
    execution = IdField(help_text=_("Id of the execution."))
    asked_at = models.BigIntegerField(
        help_text=_("When the question was asked: an id may be pruned and come back.")
    )
    started_at = models.BigIntegerField(
        help_text=_("What reminders and ladder count from: later than asked after a hand-over.")
    )
    expires_at = models.BigIntegerField(null=True)
    is_over = models.BooleanField(default=False)

    class Meta:
        verbose_name = _("attendance")
        verbose_name_plural = _("attendances")
        default_permissions = ()
        indexes: ClassVar = [
            models.Index(
                name="signoff_attendance_expiry",
                fields=["expires_at"],
                condition=Q(is_over=False, expires_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.execution} for {self.task_id}"


class TaskMoment(models.Model):
    """Something that happened to a question at one of its times; written with its effects."""

    class Kind(models.TextChoices):
        REMIND = "remind", _("reminded")
        ADD = "add", _("others were added")
        TELL = "tell", _("others were told")
        EXPIRE = "expire", _("expired")
        RESTART = "restart", _("counted anew")

    id = models.BigAutoField(primary_key=True)
    task = models.ForeignKey(
        HumanTask,
        on_delete=models.CASCADE,
        db_constraint=False,
        db_index=False,
        related_name="moments",
    )
    key = models.TextField(help_text=_("Which of its times; each happens once."))
    kind = models.TextField(choices=Kind)
    at = models.BigIntegerField(help_text=_("When it happened, epoch ms."))
    added = models.JSONField(default=dict, help_text=_("Users and groups added, by name."))
    told = models.JSONField(default=dict, help_text=_("Users and groups told, by name."))

    class Meta:
        verbose_name = _("moment of a task")
        verbose_name_plural = _("moments of tasks")
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(name="signoff_moment_once", fields=["task", "key"]),
        ]

    def __str__(self) -> str:
        return f"{self.task_id} {self.kind} {self.key}"
