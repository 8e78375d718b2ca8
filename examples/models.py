"""What the examples write: the ledger of approved purchases."""

from typing import ClassVar

from django.db import models


class LedgerEntry(models.Model):
    """One approved purchase. Written once, in the transaction that records the step."""

    order_id = models.TextField()
    item = models.TextField()
    supplier = models.TextField()
    amount = models.DecimalField(max_digits=12, decimal_places=2)
    currency = models.CharField(max_length=3)
    approved_by = models.TextField()
    booked_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "ledger entries"
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        return f"{self.order_id}: {self.amount} {self.currency}"
