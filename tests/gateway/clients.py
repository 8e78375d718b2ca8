"""Clients of a gateway in this process, and what every answer must look like."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pytest
from asgiref.testing import ApplicationCommunicator
from django.test import Client as DjangoClient
from msgspec import json

from durable.gateway import views
from durable.gateway.asgi import Gateway
from durable.gateway.auth import Access
from durable.gateway.debug import DebugSurface
from durable.gateway.service import Service
from durable.gateway.tokens import KeyRing, TokenTable
from durable.machine.state import Config
from durable.protocol.envelope import VERSION
from durable.store.database import DatabaseStore
from tests.store.timing import Clock

HOST = "testserver"
TIMEOUT = 10.0

type MakeClient = Callable[..., "Client"]


class Response(NamedTuple):
    """An HTTP response; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def envelope(self) -> dict[str, Any]:
        """The body as an envelope."""
        found: dict[str, Any] = json.decode(self.body)
        return found


class Answered(NamedTuple):
    """A checked answer of the protocol."""

    status: int
    data: Any


def open_access(**changes: Any) -> Access:
    """Access without authentication."""
    given: dict[str, Any] = {
        "is_required": False,
        "keys": KeyRing([]),
        "tokens": TokenTable("default"),
        "hosts": [HOST],
    }
    return Access(**(given | changes))


class Clients:
    """Makes clients and ends what they need."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, set_urlconf: Callable[[str], object]
    ) -> None:
        """``set_urlconf`` names the root of the views, and is undone by who gave it."""
        self._monkeypatch = monkeypatch
        self._set_urlconf = set_urlconf
        self._runner = asyncio.Runner()
        self._closing: list[Callable[[], object]] = []

    def make(
        self,
        way_in: str = "asgi",
        *,
        config: Config | None = None,
        access: Access | None = None,
        has_debug_surface: bool = True,
    ) -> "Client":
        """Make a gateway and a client of it."""
        store = DatabaseStore("default", config or Config())
        surface = None
        if has_debug_surface:
            surface = DebugSurface("default", store.config, clock=Clock(0))
            self._closing.append(surface.close)
        self._closing.append(store.close)
        service = Service(lambda: store, access or open_access(), surface)
        if way_in == "asgi":
            return AsgiClient(service, store, self._runner)
        self._monkeypatch.setattr(views, "get_service", lambda: service)
        self._set_urlconf("tests.gateway.urls")
        return ViewClient(service, store)

    def close(self) -> None:
        """Close in the reverse order."""
        for close in reversed(self._closing):
            close()
        self._runner.close()


class Client:
    """Sends envelopes and checks the form of every answer."""

    def __init__(self, service: Service, store: DatabaseStore) -> None:
        self.service = service
        self.store = store

    def send(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Send one HTTP request."""
        raise NotImplementedError

    def post(self, body: bytes, **headers: str) -> Response:
        """Post to the protocol's endpoint."""
        return self.send("POST", "/", body, headers)

    def call(
        self,
        kind: str,
        data: Any = None,
        *,
        at: int | None = None,
        auth: str | None = None,
        corr_id: str = "c-1",
        **headers: str,
    ) -> Answered:
        """Send one request of the protocol; the answer has been checked for what all have."""
        head: dict[str, Any] = {"corrId": corr_id, "version": VERSION}
        if auth is not None:
            head["auth"] = auth
        if at is not None:
            head["resonate:debug_time"] = at
        body = json.encode({"kind": kind, "head": head, "data": {} if data is None else data})
        return check(self.post(body, **headers), kind=kind, corr_id=corr_id)


def check(response: Response, *, kind: str, corr_id: str) -> Answered:
    """Check the form of an answer (protocol.md 1.3, 2): every one, whatever was asked."""
    assert response.headers["content-type"] == "application/json"
    envelope = response.envelope
    assert set(envelope) == {"kind", "head", "data"}
    assert envelope["head"] == {"corrId": corr_id, "status": response.status, "version": VERSION}
    assert envelope["kind"] == kind
    status, data = response.status, envelope["data"]
    if status in {200, 300}:
        assert isinstance(data, list if kind == "debug.tick" else dict)
        assert has_no_null(data)
    else:
        assert isinstance(data, str)
        assert data
    return Answered(status, data)


def has_no_null(data: Any) -> bool:
    """Whether nothing in it is null."""
    match data:
        case None:
            return False
        case dict():
            return all(map(has_no_null, data.values()))
        case list():
            return all(map(has_no_null, data))
    return True


class AsgiClient(Client):
    """Through the ASGI callable."""

    def __init__(self, service: Service, store: DatabaseStore, runner: asyncio.Runner) -> None:
        super().__init__(service, store)
        self._runner = runner
        self.application = Gateway(_answer_inner, service=service)

    def send(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        return self._runner.run(self.exchange(method, path, body, headers))

    async def exchange(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> Response:
        """Send one HTTP request; for use beside others in one event loop."""
        communicator = ApplicationCommunicator(
            self.application, scope_of(method, path, {"host": HOST} | dict(headers or {}))
        )
        await communicator.send_input({"type": "http.request", "body": body})
        start = await communicator.receive_output(TIMEOUT)
        content = await communicator.receive_output(TIMEOUT)
        await communicator.wait(TIMEOUT)
        assert start["type"] == "http.response.start"
        assert not content.get("more_body")
        given = {name.decode(): value.decode() for name, value in start["headers"]}
        return Response(start["status"], given, content["body"])


def scope_of(method: str, path: str, headers: Mapping[str, str]) -> dict[str, Any]:
    """The scope of a request; a header that is empty is left out."""
    return {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [
            (name.replace("_", "-").encode(), value.encode())
            for name, value in headers.items()
            if value
        ],
    }


async def _answer_inner(scope: Any, receive: Any, send: Any) -> None:
    """Stand for Django's handler."""
    await send({"type": "http.response.start", "status": 299, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


class ViewClient(Client):
    """Through Django's handler and the view."""

    def __init__(self, service: Service, store: DatabaseStore) -> None:
        super().__init__(service, store)
        self._client = DjangoClient(enforce_csrf_checks=True)

    def send(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        given = {"host": HOST} | dict(headers or {})
        response = self._client.generic(
            method,
            path,
            body,
            content_type="application/json",
            headers={name.replace("_", "-"): value for name, value in given.items() if value},
        )
        found = {name.lower(): value for name, value in response.headers.items()}
        return Response(response.status_code, found, response.content)
