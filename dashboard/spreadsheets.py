"""Comma-separated values that spreadsheets take for text, whatever people have written."""

import csv
import io
from collections.abc import Iterable

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""With these a spreadsheet begins to calculate; the last four are = + - @ in full width."""


def as_csv(rows: Iterable[Iterable[str]]) -> str:
    """Return rows as lines; a cell that a spreadsheet would take for a formula begins with a '."""
    buffer = io.StringIO()
    csv.writer(buffer).writerows([_harmless(cell) for cell in row] for row in rows)
    return buffer.getvalue()


def _harmless(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
