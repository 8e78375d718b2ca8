"""The gateway as ordinary Django views, for a project that embeds it: the same service.

Served by Django's handler, so slower than ``durable.gateway.asgi`` and without event streams.
"""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

from django.db import transaction
from django.http import HttpRequest, HttpResponse, UnreadablePostError
from django.views.decorators.csrf import csrf_exempt

from durable import conf
from durable.gateway import cors
from durable.gateway.auth import Caller
from durable.gateway.health import is_ready
from durable.gateway.replies import GONE, NOT_FOUND, too_large, unreadable
from durable.gateway.service import get_service

type View = Callable[..., Awaitable[HttpResponse]]
type AnyView = Callable[..., Any]

_JSON = "application/json"


def _gateway_view(view: View) -> AnyView:
    """Leave out what is made for pages: CSRF tokens, and a transaction around each request.

    Such a transaction would hold back the commit that the view waits for.
    """

    @wraps(view)
    async def serve(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        if not conf.is_gateway_on():
            return HttpResponse(NOT_FOUND, status=404, content_type=_JSON)
        return await view(request, *args, **kwargs)

    outside = transaction.non_atomic_requests(using=conf.database_alias())
    exempt: AnyView = csrf_exempt(outside(serve))
    return exempt


@_gateway_view
async def protocol(request: HttpRequest) -> HttpResponse:
    """Answer ``POST``, one envelope a request."""
    caller = Caller(
        request.headers.get("authorization"),
        request.headers.get("origin"),
        request.headers.get("host"),
        request.META.get("REMOTE_ADDR", ""),
    )
    origins = conf.cors_origins()
    if request.method == "OPTIONS":
        is_private = "access-control-request-private-network" in request.headers
        headers = cors.preflight_headers(caller.origin, origins, is_private=is_private)
        return HttpResponse(status=204, headers=dict(headers))
    if request.method != "POST":
        return HttpResponse(NOT_FOUND, status=404, content_type=_JSON)
    headers = [("cache-control", "no-store"), *cors.response_headers(caller.origin, origins)]
    status, body = await _answer(request, caller)
    return HttpResponse(body, status=status, content_type=_JSON, headers=dict(headers))


async def _answer(request: HttpRequest, caller: Caller) -> tuple[int, bytes]:
    limit = conf.max_body_bytes()
    try:
        body = request.read(limit + 1)
    except UnreadablePostError:
        return 400, unreadable("the body did not come", 400)
    if len(body) > limit:
        return 413, too_large(limit)
    return await get_service().handle(body, caller)


@_gateway_view
async def health(_request: HttpRequest) -> HttpResponse:
    """Say that the process lives."""
    return HttpResponse(content_type="text/plain; charset=utf-8")


@_gateway_view
async def ready(_request: HttpRequest) -> HttpResponse:
    """Say whether it can serve."""
    status = 200 if await is_ready() else 503
    return HttpResponse(status=status, content_type="text/plain; charset=utf-8")


@_gateway_view
async def retired(_request: HttpRequest, **_rest: object) -> HttpResponse:
    """Answer the REST API of old."""
    return HttpResponse(GONE, status=410, content_type=_JSON)
