"""Messages to workers and listeners (protocol.md 6.2), as they travel."""

from json import dumps
from typing import Any

import msgspec
from msgspec import json

from durable.protocol.records import PromiseRecord

EXECUTE = "execute"
UNBLOCK = "unblock"


def execute(task_id: str, version: int, server_url: str = "") -> dict[str, Any]:
    """Ask a worker to take a task; ``version`` is the stored one, not the one to be granted."""
    head = {"serverUrl": server_url} if server_url else {}
    return {"kind": EXECUTE, "head": head, "data": {"task": {"id": task_id, "version": version}}}


def unblock(promise: PromiseRecord) -> dict[str, Any]:
    """Tell a listener how a promise ended."""
    return {"kind": UNBLOCK, "head": {}, "data": {"promise": promise}}


def encode(message: dict[str, Any]) -> bytes:
    """Return a message as JSON on one line, ASCII only.

    SDKs split a stream where its chunks end, and drop a chunk that ends inside a character.
    """
    encoded = json.encode(message)
    if encoded.isascii():
        return encoded
    return dumps(msgspec.to_builtins(message), separators=(",", ":")).encode()


def sse_event(encoded: bytes) -> bytes:
    """Return one event of a stream (protocol.md 6.3): LF only, nothing but data."""
    return b"data: " + encoded + b"\n\n"


KEEPALIVE = b": keepalive\n\n"
