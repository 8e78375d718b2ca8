"""What requests name: a row by its number, a place in a list."""

from collections.abc import Callable
from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from dashboard.api.problems import not_found, refuse
from dashboard.api.values import MAX_NUMBER


def row_of(rows: QuerySet[Any], number: int) -> Any:
    """Return the row with a number, or end the request."""
    found = rows.filter(pk=number).first() if number <= MAX_NUMBER else None
    if found is None:
        raise not_found()
    return found


def place_of[T](name: str, text: str, read: Callable[[str], T | None]) -> T | None:
    """Return the place that the page before named, None for the beginning; or end the request."""
    if not text:
        return None
    if (found := read(text)) is None:
        refuse(name, _("This does not come from a page before."))
    return found
