"""Personal links to questions, as they stand in mails."""

import uuid
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from dashboard.models.human_task import HumanTask


class DecisionLink(models.Model):
    """A link that was made for a person; what it allows is signed in its address, too.

    Instants are epoch ms.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    task = models.ForeignKey(
        HumanTask, on_delete=models.CASCADE, db_constraint=False, related_name="links"
    )
    recipient = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, db_constraint=False, related_name="+"
    )
    made_at = models.BigIntegerField()
    expires_at = models.BigIntegerField()
    revoked_at = models.BigIntegerField(null=True)

    class Meta:
        verbose_name = _("link")
        verbose_name_plural = _("links")
        default_permissions = ("view",)
        permissions: ClassVar = [("make_links", _("Can make links for others"))]
        indexes: ClassVar = [models.Index(name="signoff_link_expiry", fields=["expires_at"])]

    def __str__(self) -> str:
        return f"{self.task_id} {self.recipient_id}"
