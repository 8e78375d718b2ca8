"""Tokens that an operator issued for the gateway."""

from typing import ClassVar

from django.db import models
from django.db.models import Q


class Token(models.Model):
    """An opaque token, kept as a digest of its secret only; instants are epoch milliseconds.

    ``prefix`` is what the ids it may touch begin with; everything when empty.
    """

    ROLES: ClassVar = ["", "worker", "admin"]

    name = models.TextField(
        help_text="Who it was issued to; shown as the starter of what it starts."
    )
    digest = models.TextField(unique=True)
    prefix = models.TextField(blank=True, default="")
    role = models.TextField(blank=True, default="", choices=[(role, role) for role in ROLES])
    groups = models.JSONField(
        default=list, help_text="Worker groups it may poll beside those that begin with the prefix."
    )
    created_at = models.BigIntegerField()
    expires_at = models.BigIntegerField(null=True)
    revoked_at = models.BigIntegerField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                name="durable_token_name", fields=["name"], condition=Q(revoked_at__isnull=True)
            )
        ]

    def __str__(self) -> str:
        return self.name
