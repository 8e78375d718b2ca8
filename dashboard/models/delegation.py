"""Who answers in whose place, and when."""

from typing import ClassVar

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _


class Delegation(models.Model):
    """A person is away, and another answers for them. Instants are epoch ms, the end is open.

    With a group only what that group was asked goes to the deputy, with a type only such questions.
    """

    id = models.BigAutoField(primary_key=True)
    principal = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="signoff_delegations"
    )
    deputy = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="signoff_deputyships"
    )
    starts_at = models.BigIntegerField()
    ends_at = models.BigIntegerField()
    group = models.ForeignKey(Group, null=True, on_delete=models.CASCADE, related_name="+")
    task_type = models.TextField(blank=True)
    made_at = models.BigIntegerField()
    revoked_at = models.BigIntegerField(null=True)

    class Meta:
        verbose_name = _("delegation")
        verbose_name_plural = _("delegations")
        default_permissions = ("view",)
        permissions: ClassVar = [("manage_delegations", _("Can end anybody's delegation"))]
        constraints: ClassVar = [
            models.CheckConstraint(
                name="signoff_delegation_not_to_oneself", condition=~Q(principal=F("deputy"))
            ),
            models.CheckConstraint(
                name="signoff_delegation_ends", condition=Q(ends_at__gt=F("starts_at"))
            ),
        ]

    def __str__(self) -> str:
        return f"{self.principal_id} → {self.deputy_id}"
