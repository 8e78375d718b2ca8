"""The gateway as an ASGI callable beside Django's handler, which costs many times as much.

``mount_gateway`` puts it in front of an application: ``POST /``, ``GET /poll/…``, ``/health``,
``/ready`` and the retired paths are answered here, everything else passes through.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from importlib import import_module
from typing import Any

from django.urls import Resolver404, resolve

from durable import conf
from durable.gateway import cors
from durable.gateway.auth import Caller
from durable.gateway.health import is_ready
from durable.gateway.replies import GONE, NOT_FOUND, is_retired, too_large, unreadable
from durable.gateway.service import Service, get_service

type Message = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[Message]]
type Send = Callable[[Message], Awaitable[None]]
type Application = Callable[[Any, Any, Any], Awaitable[Any]]
type Headers = Iterable[tuple[str, str]]

_BODY_SECONDS = 30.0
_JSON = ("content-type", "application/json")
_TEXT = ("content-type", "text/plain; charset=utf-8")


class BodyError(Exception):
    """The body is not one that can be read; carries the answer."""

    def __init__(self, status: int, body: bytes) -> None:
        """``body`` is the answer's."""
        super().__init__(status)
        self.status = status
        self.body = body


class ClientLeftError(Exception):
    """The client went away: nobody waits for an answer."""


class Gateway:
    """Serves HTTP scopes; ``inner`` gets what is not the gateway's."""

    def __init__(
        self,
        inner: Application,
        *,
        poll: Application | None = None,
        service: Service | None = None,
    ) -> None:
        """``poll`` serves event streams, and asks for the token of a stream itself."""
        self._inner = inner
        self._poll = poll
        self._service = service

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", "").rstrip("/"))
        method = scope["method"]
        if path in {"/", "//", ""} and method in {"POST", "OPTIONS"}:
            await self._protocol(scope, receive, send)
        elif path == "/health":
            await _respond(send, 200, b"", [_TEXT])
        elif path == "/ready":
            await _respond(send, 200 if await is_ready() else 503, b"", [_TEXT])
        elif path.lstrip("/").startswith("poll/") and self._poll is not None:
            await self._poll(scope, receive, send)
        elif is_retired(path) and not _is_page(path, method):
            await _respond(send, 410, GONE, [_JSON])
        elif method == "POST" and not _is_page(path, method):
            await _respond(send, 404, NOT_FOUND, [_JSON])
        else:
            await self._inner(scope, receive, send)

    async def _protocol(self, scope: Any, receive: Receive, send: Send) -> None:
        caller = caller_of(scope)
        if scope["method"] == "OPTIONS":
            await _preflight(scope, caller, send)
            return
        headers = [_JSON, ("cache-control", "no-store"), *_readable_by(caller)]
        try:
            body = await _read_body(scope, receive, limit=conf.max_body_bytes())
        except BodyError as error:
            await _respond(send, error.status, error.body, [*headers, ("connection", "close")])
            return
        except ClientLeftError:
            return
        service = self._service or get_service()
        answer = await service.handle(body, caller)
        await _respond(send, answer.status, answer.body, headers)


def mount_gateway(inner: Application) -> Application:
    """Return an application that answers the protocol, and passes the rest on to ``inner``.

    ``DURABLE_GATEWAY=off`` returns ``inner`` itself.
    """
    if not conf.is_gateway_on():
        return inner
    consumers = import_module("durable.gateway.consumers")
    return Gateway(inner, poll=consumers.PollConsumer.as_asgi())


def caller_of(scope: Any) -> Caller:
    """Return what headers and connection say of who calls."""
    found = {
        name: value.decode("latin-1")
        for name, value in scope["headers"]
        if name in {b"authorization", b"origin", b"host"}
    }
    return Caller(
        found.get(b"authorization"),
        found.get(b"origin"),
        found.get(b"host"),
        client[0] if (client := scope.get("client")) else "",
    )


def _is_page(path: str, method: str) -> bool:
    """Whether the project has a page there, perhaps with a slash at the end."""
    paths = [path, f"{path}/"] if method in {"GET", "HEAD"} else [path]
    for one in paths:
        try:
            resolve(one)
        except Resolver404:
            continue
        return True
    return False


async def _read_body(scope: Any, receive: Receive, *, limit: int) -> bytes:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value[:20]) > limit:
            raise BodyError(413, too_large(limit))
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientLeftError
                chunk: bytes = message.get("body", b"")
                size += len(chunk)
                if size > limit:
                    raise BodyError(413, too_large(limit))
                chunks.append(chunk)
                if not message.get("more_body"):
                    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
    except TimeoutError as error:
        raise BodyError(408, unreadable("the body did not come in time")) from error


async def _preflight(scope: Any, caller: Caller, send: Send) -> None:
    is_private = any(
        name == b"access-control-request-private-network" for name, _ in scope["headers"]
    )
    headers = cors.preflight_headers(caller.origin, conf.cors_origins(), is_private=is_private)
    await _respond(send, 204, b"", headers)


def _readable_by(caller: Caller) -> list[tuple[str, str]]:
    return cors.response_headers(caller.origin, conf.cors_origins())


async def _respond(send: Send, status: int, body: bytes, headers: Headers) -> None:
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    if status != 204:
        encoded.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})
