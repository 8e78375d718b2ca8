"""What the payloads of promises say (protocol.md 10.3): base64 of JSON, or anything at all.

Every payload that a page shows goes through ``decode`` or ``preview``.
"""

import base64
import binascii
import json
from collections.abc import Collection
from typing import Any, NamedTuple

from django.utils.formats import number_format
from django.utils.translation import ngettext

from dashboard.masking import KEY, MASK, mask, mask_payload

PREVIEW_SOURCE = 1200
"""How much of a stored payload a preview needs; a multiple of four, as base64 comes."""
PREVIEW_LENGTH = 90
MAX_DECODED = 1_000_000
"""Payloads larger than this many stored characters are not decoded for a page."""


class Payload(NamedTuple):
    """A decoded payload: a JSON ``value``, or ``text`` that is no JSON, or nothing at all."""

    is_empty: bool = True
    is_json: bool = False
    value: Any = None
    text: str = ""


NOTHING = Payload()


class Failure(NamedTuple):
    """An error as a worker reported it."""

    name: str
    message: str
    trace: str = ""


def decode(data: str | None, secrets: Collection[str] = ()) -> Payload:
    """Return what a stored payload says; ``secrets`` are paths to what it may not say."""
    payload = _decode(data)
    if not secrets or payload.is_empty:
        return payload
    if payload.is_json:
        return payload._replace(value=mask(payload.value, secrets))
    return payload._replace(text=MASK)


def _decode(data: str | None) -> Payload:
    if not data:
        return Payload()
    if len(data) > MAX_DECODED:
        beginning = MASK if _describes(_begin(data[:MAX_DECODED])) else data[:2000]
        return Payload(is_empty=False, text=f"{beginning}… {characters(len(data))}")
    try:
        text = base64.b64decode(data, validate=True).decode()
    except (binascii.Error, ValueError):
        return Payload(is_empty=False, text=data)
    if not text:
        return Payload()
    try:
        return Payload(is_empty=False, is_json=True, value=mask_payload(json.loads(text)))
    except (ValueError, RecursionError):
        return Payload(is_empty=False, text=text)


def characters(number: int) -> str:
    """Say how long a text is of which only the beginning is shown."""
    text = ngettext("(%(count)s character)", "(%(count)s characters)", number)
    return text % {"count": number_format(number, force_grouping=True)}


def failure_of(payload: Payload, fallback: str = "Failed") -> Failure:
    """Return the error in a rejection; ``fallback`` names it when the payload does not."""
    if not payload.is_json:
        return Failure(fallback, payload.text)
    value = payload.value
    if not isinstance(value, dict):
        return Failure(fallback, "" if value is None else json.dumps(value, ensure_ascii=False))
    name = _text(value.get("name")) or _text(value.get("type")) or fallback
    message = _text(value.get("message")) or _text(value.get("comment"))
    if not message and not isinstance(value.get("message"), str):
        message = json.dumps(value, ensure_ascii=False)
    return Failure(name, message, _text(value.get("stack")) or _text(value.get("traceback")))


def preview(
    data: str | None, secrets: Collection[str] | None = (), *, is_error: bool = False
) -> str:
    """Return one short line for a payload, of which perhaps only the beginning is known.

    ``secrets`` are paths to what it may not say.
    """
    if not data:
        return ""
    payload = decode(data, secrets or ())
    if payload.is_json and is_error:
        name, message, _ = failure_of(payload, "Error")
        return _cut(f"{name}: {message}" if message else name)
    if payload.is_json:
        return "" if payload.value is None else _cut(_one_line(payload.value))
    text = payload.text if secrets else _begin(data)
    return _cut(MASK if _describes(text) else text)  # its secrets are named further on


def call_of(payload: Payload) -> tuple[list[Any], dict[str, Any]] | None:
    """Return the arguments of an invocation; None when the payload is none."""
    value = payload.value
    if not isinstance(value, dict) or "func" not in value:
        return None
    args, kwargs = value.get("args"), value.get("kwargs")
    return (
        args if isinstance(args, list) else [] if args is None else [args],
        kwargs if isinstance(kwargs, dict) else {},
    )


def _begin(data: str) -> str:
    """Decode the beginning of a payload that was cut; what is not encoded is as it is."""
    whole = data[: len(data) // 4 * 4]
    try:
        return base64.b64decode(whole, validate=True).decode(errors="ignore")
    except binascii.Error:
        return data


def _describes(text: str) -> bool:
    return f'"{KEY}"' in text


def _one_line(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= PREVIEW_LENGTH else f"{line[: PREVIEW_LENGTH - 1]}…"


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
