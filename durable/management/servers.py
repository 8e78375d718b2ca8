"""What the client command asks: the local database, or a server by its URL."""

import asyncio
import secrets
import urllib.error
import urllib.request
from typing import Any, Protocol
from urllib.parse import urlsplit

from msgspec import DecodeError, Raw, Struct, json

from durable import conf
from durable.gateway.auth import Access, Caller
from durable.gateway.service import Service
from durable.gateway.tokens import KeyRing, TokenTable
from durable.protocol.envelope import VERSION
from durable.store import get_store

_SECONDS = 60


class AskError(Exception):
    """A request was refused, or could not be sent; the text is for people."""


class Server(Protocol):
    """Answers requests."""

    def ask(self, kind: str, data: dict[str, Any]) -> Any:
        """Return the data of an answer; raise ``AskError``."""


class _Head(Struct):
    status: int


class _Answer(Struct):
    head: _Head
    data: Raw


class LocalServer:
    """The project's own database, as the gateway would answer to somebody who may do all."""

    def __init__(self) -> None:
        """Nobody is asked for a token who can run commands here."""
        access = Access(
            is_required=False,
            keys=KeyRing([], issuer="", audience=""),
            tokens=TokenTable(conf.database_alias()),
            hosts=["localhost"],
        )
        self._service = Service(get_store, access)

    def ask(self, kind: str, data: dict[str, Any]) -> Any:
        """Answer a request."""
        body = _envelope(kind, data, token="")
        answer = asyncio.run(self._service.handle(body, Caller(host="localhost")))
        return _data_of(answer.body)


class RemoteServer:
    """A server that speaks the protocol."""

    def __init__(self, url: str, token: str = "") -> None:
        """``token`` may be empty."""
        self._url = url.rstrip("/") + "/"
        self._token = token

    def ask(self, kind: str, data: dict[str, Any]) -> Any:
        """Send a request."""
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        body = _envelope(kind, data, token=self._token)
        if _scheme_of(self._url) not in {"http", "https"}:
            message = f"{self._url} is neither http nor https"
            raise AskError(message)
        try:
            request = urllib.request.Request(self._url, data=body, headers=headers)  # noqa: S310
            with urllib.request.urlopen(request, timeout=_SECONDS) as response:  # noqa: S310
                answer = response.read()
        except urllib.error.HTTPError as error:  # the status is that of the envelope
            answer = error.read()
        except (OSError, ValueError) as error:
            message = f"{self._url} cannot be reached: {error}"
            raise AskError(message) from error
        return _data_of(answer)


def _scheme_of(url: str) -> str:
    try:
        return urlsplit(url).scheme
    except ValueError as error:
        message = f"{url} is no URL"
        raise AskError(message) from error


def _envelope(kind: str, data: dict[str, Any], *, token: str) -> bytes:
    head = {"corrId": f"cli-{secrets.token_hex(8)}", "version": VERSION}
    if token:
        head["auth"] = token
    return json.encode({"kind": kind, "head": head, "data": data})


def _data_of(body: bytes) -> Any:
    try:
        answer = json.decode(body, type=_Answer)
    except (DecodeError, UnicodeDecodeError) as error:
        message = "the answer is none of the protocol: is this the right URL?"
        raise AskError(message) from error
    data = json.decode(answer.data)
    if answer.head.status not in {200, 300}:
        raise AskError(data if isinstance(data, str) else json.encode(data).decode())
    return data
