"""Checks who signed a request: the raw body under a secret, and when that was. Pure.

Every comparison takes the same time whatever was sent.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

ALGORITHMS = ("sha256", "sha512", "sha1")
ENCODINGS = ("hex", "base64")
TIMESTAMP = "{timestamp}"
BODY = "{body}"
TOLERANCE_SECONDS = 300
MAX_SIGNATURES = 10
"""A header may hold several, while the sender rotates secrets."""
_MAX_DIGITS = 15


class Verdict(StrEnum):
    """What became of a check.

    GENUINE: one of the secrets signed these bytes, lately. WRONG: none of them did.
    STALE: signed, but longer ago or further ahead than is tolerated.
    """

    GENUINE = "genuine"
    UNSIGNED = "unsigned"
    UNDATED = "undated"
    WRONG = "wrong"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class Scheme:
    """How a sender signs.

    header: holds the signature, or several with commas between them.
    prefix: stands before each signature, as in ``sha256=``; parts without it are passed over.
    signed: what is signed, of ``{timestamp}`` and ``{body}``.
    timestamp: the header with the time in epoch seconds; with a ``=`` at its end, as in ``t=``, it
    is the beginning of another part of the signature's header. Empty: the sender gives no time.
    tolerance: how far that time may be off, in seconds.
    """

    header: str
    algorithm: str = "sha256"
    encoding: str = "hex"
    prefix: str = ""
    signed: str = BODY
    timestamp: str = ""
    tolerance: int = TOLERANCE_SECONDS


def sign(scheme: Scheme, secret: str, body: bytes, timestamp: str = "") -> str:
    """Return the signature of a body, with its prefix."""
    return scheme.prefix + _digest(scheme, secret, body, timestamp)


def check(
    scheme: Scheme, secrets: Sequence[str], headers: Mapping[str, str], body: bytes, now: float
) -> Verdict:
    """Say whether one of the secrets signed a body. ``now`` is in epoch seconds.

    ``headers`` are looked up without regard to case.
    """
    found = {name.lower(): text for name, text in headers.items()}
    parts = [part.strip() for part in found.get(scheme.header.lower(), "").split(",")]
    given = [part.removeprefix(scheme.prefix) for part in parts if part.startswith(scheme.prefix)]
    given = [one for one in given if one][:MAX_SIGNATURES]
    if not given:
        return Verdict.UNSIGNED
    timestamp = _timestamp(scheme, found, parts)
    if timestamp is None:
        return Verdict.UNDATED
    matches = [
        hmac.compare_digest(_normal(scheme, one).encode(), expected.encode())
        for expected in [_digest(scheme, secret, body, timestamp) for secret in secrets]
        for one in given
    ]
    if not any(matches):
        return Verdict.WRONG
    if timestamp and abs(now - int(timestamp)) > scheme.tolerance:
        return Verdict.STALE
    return Verdict.GENUINE


def _timestamp(scheme: Scheme, headers: Mapping[str, str], parts: Sequence[str]) -> str | None:
    """Return the time as it was sent; empty where none is due, None where it is missing."""
    name = scheme.timestamp
    if not name:
        return ""
    if name.endswith("="):
        text = next((part.removeprefix(name) for part in parts if part.startswith(name)), "")
    else:
        text = headers.get(name.lower(), "").strip()
    is_number = text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
    return text if is_number else None


def _digest(scheme: Scheme, secret: str, body: bytes, timestamp: str) -> str:
    before, _mark, after = scheme.signed.partition(BODY)
    around = [part.replace(TIMESTAMP, timestamp).encode() for part in (before, after)]
    signed = body.join(around)
    digest = hmac.new(secret.encode(), signed, getattr(hashlib, scheme.algorithm))
    if scheme.encoding == "base64":
        return base64.b64encode(digest.digest()).decode()
    return digest.hexdigest()


def _normal(scheme: Scheme, signature: str) -> str:
    return signature.lower() if scheme.encoding == "hex" else signature
