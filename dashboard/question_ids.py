"""Ids of promises as one segment of a path, and as a part of an element's id."""

import re
import string

_PLAIN = frozenset(string.ascii_letters + string.digits + "-_.:")
_ESCAPED = re.compile(r"~([0-9A-F]{2})")

PATTERN = r"[A-Za-z0-9_.:~-]+"
RESERVED = frozenset({"badge", "changes"})
"""Words that stand where an id does in the addresses of the inbox."""


def encode(promise_id: str) -> str:
    """Write what is not a letter, a digit or one of ``-_.:`` as ``~2F``.

    Percent signs would not do: servers, proxies and browsers decode and normalise them, so that an
    id with a slash, or one that is two dots, would arrive as another path.
    """
    encoded = "".join(
        char if char in _PLAIN else "".join(f"~{byte:02X}" for byte in char.encode())
        for char in promise_id
    )
    # What browsers resolve, and our own words.
    if encoded in RESERVED or not encoded.strip("."):
        return f"~{ord(encoded[0]):02X}{encoded[1:]}" if encoded else ""
    return encoded


def decode(text: str) -> str:
    """Return the id; raises ``ValueError`` for what ``encode`` would not write."""
    raw = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)
    promise_id = raw.encode("latin-1").decode()
    if encode(promise_id) != text:
        raise ValueError(text)
    return promise_id
