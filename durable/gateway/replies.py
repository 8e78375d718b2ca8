"""Answers that come before the service is asked, the same through either way in."""

from msgspec import json

from durable.protocol.envelope import UNKNOWN_CORR_ID, UNKNOWN_KIND, encode_reply

GONE = json.encode(
    {"error": "This endpoint is no longer supported. Please update to the latest SDK."}
)
NOT_FOUND = json.encode({"error": "Not found"})

_RETIRED = ("promises", "tasks", "schedules")


def is_retired(path: str) -> bool:
    """Whether a path belongs to the REST API of old, which answers 410 (protocol.md 1.1)."""
    first, _, _ = path.lstrip("/").partition("/")
    return first in _RETIRED


def too_large(limit: int) -> bytes:
    """Return the body of a 413."""
    text = f"Request body is longer than {limit} bytes"
    return encode_reply(UNKNOWN_KIND, UNKNOWN_CORR_ID, 413, text)


def unreadable(reason: str, status: int = 408) -> bytes:
    """Return the body for a request that did not arrive whole."""
    return encode_reply(
        UNKNOWN_KIND, UNKNOWN_CORR_ID, status, f"Invalid request envelope: {reason}"
    )
