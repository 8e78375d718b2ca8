"""Messages to workers and listeners that have not been handed over."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from durable.models.fields import IdField, ProtocolModel

_PUSHED = Q(address__lt="poll://") | Q(address__gte="poll:/0")
"""Addresses of every scheme but ``poll``: ``0`` is the character after the slash."""


class OutboxMessage(ProtocolModel):
    """An execute (``version`` set) or unblock (``record`` set) message (protocol.md 4.9).

    ``record`` is the whole promise record as it was when the message was enqueued. ``attempts`` and
    ``next_at`` (epoch ms) belong to delivery: nobody tries again before.
    """

    id = models.BigAutoField(primary_key=True)
    promise_id = IdField()
    address = IdField()
    version = models.PositiveIntegerField(null=True)
    record = models.JSONField(null=True)
    attempts = models.PositiveIntegerField(db_default=0)
    next_at = models.BigIntegerField(db_default=0)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                name="durable_outbox_execute_or_unblock",
                condition=Q(version__isnull=False, record__isnull=True)
                | Q(version__isnull=True, record__isnull=False),
            ),
            models.UniqueConstraint(
                name="durable_outbox_execute_key",
                fields=["promise_id"],
                condition=Q(version__isnull=False),
            ),
            models.UniqueConstraint(
                name="durable_outbox_unblock_key",
                fields=["promise_id", "address"],
                condition=Q(version__isnull=True),
            ),
        ]
        indexes: ClassVar = [
            models.Index(name="durable_outbox_address", fields=["address"]),
            models.Index(name="durable_outbox_push", fields=["next_at"], condition=_PUSHED),
        ]

    def __str__(self) -> str:
        return f"{self.promise_id} to {self.address}"
