"""Ids of calls: the same on every replay, because they only count (protocol.md 10.2)."""

import re
from hashlib import sha256

SEPARATOR = ":"
_DIGEST = 16
_DETACHED = re.compile(r"d[0-9a-f]{14,}(\.|$)")


def child_id(parent: str, name: int | str) -> str:
    """Return ``parent:name`` on the first level and ``parent.name`` below."""
    return f"{parent}{'.' if SEPARATOR in parent else SEPARATOR}{name}"


def retry_id(step: str, attempt: int) -> str:
    """Return the id of the timer that waits after a failed attempt."""
    return child_id(step, f"r{attempt}")


def detached_id(origin: str, parent: str, number: int) -> str:
    """Return the id of a detached call, which stands on its own below the origin."""
    digest = sha256(f"{parent}\0{number}".encode()).hexdigest()[:_DIGEST]
    return f"{origin}{SEPARATOR}d{digest}"


def is_detached(origin: str, promise_id: str) -> bool:
    """Whether an id is that of a detached call of this origin, or is numbered below one."""
    prefix = f"{origin}{SEPARATOR}"
    return promise_id.startswith(prefix) and _DETACHED.match(promise_id, len(prefix)) is not None


def is_detached_call(origin: str, promise_id: str) -> bool:
    """Whether an id is that of a detached call of this origin itself, made by any SDK."""
    return is_detached(origin, promise_id) and "." not in promise_id[len(origin) :]


def origin_of(promise_id: str) -> str:
    """Return the root of an id's lineage."""
    return promise_id.partition(SEPARATOR)[0]


def number_below(parent: str, promise_id: str) -> int | None:
    """Return n when the id is the n-th call of ``parent``; None for any other id."""
    prefix = child_id(parent, "")
    if not promise_id.startswith(prefix):
        return None
    number = promise_id[len(prefix) :]
    return int(number) if number.isascii() and number.isdigit() else None


def attempt_below(step: str, promise_id: str) -> int | None:
    """Return k when the id is that of the timer after the k-th attempt of ``step``."""
    prefix = child_id(step, "r")
    if not promise_id.startswith(prefix):
        return None
    number = promise_id[len(prefix) :]
    return int(number) if number.isascii() and number.isdigit() else None
