"""The ledger of approved purchases: rows in the database, and a CSV file made from them."""

import csv
import tempfile
from pathlib import Path

from django.conf import settings

from examples.models import LedgerEntry
from examples.orders import Order

_HEADER = ("order_id", "item", "supplier", "amount", "currency", "approved_by", "booked_at")


def book(order: Order, approved_by: str) -> int:
    """Add an entry and return its number; to be run inside a transaction."""
    entry = LedgerEntry.objects.create(
        order_id=order.order_id,
        item=order.item,
        supplier=order.supplier,
        amount=order.amount,
        currency=order.currency,
        approved_by=approved_by,
    )
    return entry.pk


def export() -> int:
    """Write the whole ledger to its file and return the number of entries.

    The file is replaced at once, so doing it twice, or dying half-way, harms nothing.
    """
    path = ledger_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    entries = LedgerEntry.objects.values_list(*_HEADER)
    with tempfile.NamedTemporaryFile(
        "w", newline="", encoding="utf-8", dir=path.parent, delete=False
    ) as file:
        writer = csv.writer(file)
        writer.writerow(_HEADER)
        count = 0
        for entry in entries:
            writer.writerow(entry)
            count += 1
    Path(file.name).replace(path)
    return count


def ledger_path() -> Path:
    """Return where the ledger's file is."""
    return Path(settings.VAR_DIR) / "ledger.csv"
