"""What a Django form has cleaned, as JSON."""

import datetime as dt
import uuid
from decimal import Decimal
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.db.models import Model, QuerySet
from django.utils.functional import Promise

from dashboard.answer_forms.files import read_upload


def to_json(value: Any) -> Any:
    """Return a cleaned value as JSON: decimals, times and ids as text, rows as their keys.

    Raises ``TypeError`` for what has no JSON, ``ValidationError`` for a file that is too large.
    """
    match value:
        case None | bool() | int() | float() | str():
            return value
        case dict():
            return {str(key): to_json(one) for key, one in value.items()}
        case Model():
            return to_json(value.pk)
        case QuerySet() | list() | tuple() | set() | frozenset():
            return [to_json(one) for one in value]
        case dt.datetime() | dt.date() | dt.time():
            return value.isoformat()
        case Decimal() | uuid.UUID() | dt.timedelta() | Promise():
            return str(value)
        case UploadedFile():
            return read_upload(value)
    msg = f"{type(value).__name__} has no JSON; give the form a method to_values()"
    raise TypeError(msg)
