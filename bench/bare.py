"""Settings with which ``manage.py serve`` serves a bare ASGI callable, all else being equal."""

from typing import Any

from dashboard.project.settings import *  # noqa: F403

ASGI_APPLICATION = "bench.bare.application"

_BODY = b'{"kind":"promise.create","head":{"corrId":"1","status":200,"version":"2026-04-01"}}'
_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [
        (b"content-type", b"application/json"),
        (b"cache-control", b"no-store"),
        (b"content-length", str(len(_BODY)).encode()),
    ],
}


async def application(_scope: Any, receive: Any, send: Any) -> None:
    """Read the body of a request and answer a constant."""
    while (await receive()).get("more_body"):
        pass
    await send(_START)
    await send({"type": "http.response.body", "body": _BODY})
