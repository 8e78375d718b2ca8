"""What people said of questions that need more than one of them."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from dashboard.models.human_task import HumanTask


class Vote(models.Model):
    """The newest answer of one person; it may change until the question is settled."""

    id = models.BigAutoField(primary_key=True)
    task = models.ForeignKey(
        HumanTask, on_delete=models.CASCADE, db_constraint=False, related_name="votes"
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        db_constraint=False,
        related_name="+",
        help_text=_("The person that it counts for."),
    )
    user_name = models.TextField()
    cast_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.SET_NULL,
        db_constraint=False,
        related_name="+",
        help_text=_("The deputy who answered in the person's place."),
    )
    cast_by_name = models.TextField(blank=True)
    only_groups = models.JSONField(
        null=True,
        help_text=_("Ids of the groups for which the deputy answers; empty for all of the person."),
    )
    answer = models.TextField()
    approves = models.BooleanField()
    comment = models.TextField(blank=True)
    values = models.JSONField(default=dict)
    voted_at = models.BigIntegerField()

    class Meta:
        verbose_name = _("vote")
        verbose_name_plural = _("votes")
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(name="signoff_vote_once", fields=["task", "user"]),
        ]

    def __str__(self) -> str:
        return f"{self.user_name}: {self.answer}"
