"""For a project's ASGI application: the pages' event stream beside Django's handler."""

from collections.abc import Awaitable, Callable
from typing import Any

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from django.urls import path, re_path, reverse

from dashboard.streams import LiveConsumer

type Application = Callable[..., Awaitable[Any]]


def stream_routes() -> list[Any]:
    """Return the routes of the event streams, under the prefix that the project gave the pages."""
    stream: Any = AuthMiddlewareStack(LiveConsumer.as_asgi())
    return [path(reverse("signoff:live").lstrip("/"), stream)]


def with_streams(application: Any) -> Application:
    """Serve the event stream, and everything else by ``application`` (Django's own).

    Django's handler holds a thread for each open response; a stream here holds none. Without this
    the pages work and look every ten seconds.
    """
    routes = [*stream_routes(), re_path(r"", application)]
    return ProtocolTypeRouter({"http": URLRouter(routes)})
