"""The formats of JSON Schema that are checked: a name, and what raises or says no. Pure."""

import ipaddress
import uuid
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.core.validators import validate_email


def _is_date(text: str) -> bool:
    date.fromisoformat(text)
    return len(text) == len("2026-05-31")


def _is_instant(text: str) -> bool:
    return text[10:11] in {"T", "t"} and datetime.fromisoformat(text).tzinfo is not None


def _is_time(text: str) -> bool:
    return len(text) >= len("14:00:00Z") and time.fromisoformat(text).tzinfo is not None


def _is_email(text: str) -> bool:
    try:
        validate_email(text)
    except ValidationError:
        return False
    return True


def _is_uri(text: str) -> bool:
    parts = urlsplit(text)
    is_whole = bool(parts.scheme and (parts.netloc or parts.path))
    return is_whole and not any(one.isspace() for one in text)


def _is_uuid(text: str) -> bool:
    return str(uuid.UUID(text)) == text.lower()


def _for_text(check: Callable[[str], object]) -> Callable[[object], bool]:
    """Return a check that has nothing to say of what is not text."""
    return lambda value: not isinstance(value, str) or bool(check(value))


FORMATS: Mapping[str, Callable[[object], bool]] = {
    "date": _for_text(_is_date),
    "date-time": _for_text(_is_instant),
    "email": _for_text(_is_email),
    "ipv4": _for_text(ipaddress.IPv4Address),
    "ipv6": _for_text(ipaddress.IPv6Address),
    "time": _for_text(_is_time),
    "uri": _for_text(_is_uri),
    "uuid": _for_text(_is_uuid),
}
