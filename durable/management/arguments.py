"""Texts of the client command's options as what the protocol takes."""

import base64
import re
from argparse import ArgumentTypeError
from typing import Any

from msgspec import DecodeError, json

from durable.protocol import tags

_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_PART = re.compile(r"(\d+)(ms|s|m|h|d)")
_DURATION = re.compile(r"(?:\d+(?:ms|s|m|h|d))+")
_AWAITABLE = (tags.TARGET, tags.TIMER, tags.EXTERNAL, tags.SCOPE)


def duration(text: str) -> int:
    """Return milliseconds of ``1m30s`` and the like."""
    if _DURATION.fullmatch(text):
        total = sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(text))
        if total > 0:
            return total
    message = f"{text!r} is no duration: write 500ms, 10s, 1m30s, 2h or 1d"
    raise ArgumentTypeError(message)


def json_value(text: str) -> Any:
    """Return what a JSON text says."""
    try:
        return json.decode(text)
    except DecodeError as error:
        message = f"not JSON: {error}"
        raise ArgumentTypeError(message) from error


def json_object(text: str) -> dict[str, Any]:
    """Return a JSON object."""
    value = json_value(text)
    if not isinstance(value, dict):
        message = "not a JSON object"
        raise ArgumentTypeError(message)
    return value


def json_array(text: str) -> list[Any]:
    """Return a JSON array."""
    value = json_value(text)
    if not isinstance(value, list):
        message = "not a JSON array"
        raise ArgumentTypeError(message)
    return value


def json_or_text(text: str) -> Any:
    """Return what a JSON text says, or the text."""
    try:
        return json.decode(text)
    except DecodeError:
        return text


def encode(data: Any) -> str:
    """Return JSON as SDKs store it: base64."""
    return base64.b64encode(json.encode(data)).decode()


def encoded_value(given: Any) -> dict[str, Any]:
    """Return a Value of what ``--value`` or ``--param`` holds.

    An object of ``data`` and ``headers`` is a Value, whose data may be any JSON; everything else is
    the data itself. Data always travels as base64 of JSON.
    """
    if given is None:
        return {}
    if not (isinstance(given, dict) and given and given.keys() <= {"data", "headers"}):
        given = {"data": given}
    value = {"headers": given.get("headers") or {}}
    if "data" in given:
        value["data"] = encode(given["data"])
    return value


def awaitable_tags(given: dict[str, str] | None) -> dict[str, str]:
    """Return tags with which a promise made by hand can be waited for."""
    given = given or {}
    if any(name in given for name in _AWAITABLE):
        return given
    return {**given, tags.EXTERNAL: tags.TRUE}
