"""The Resonate protocol as a client writes it: requests as bytes, a connection, an event stream."""

import json
import socket
import threading
import time
from collections.abc import Mapping
from http.client import HTTPConnection
from typing import Any, Self

HOST = "127.0.0.1"
VERSION = "2026-04-01"
FAR = 4_000_000_000_000
"""An instant that no run reaches, in ms."""
_SECONDS = 60.0


def create(key: str, tags: Mapping[str, str] | None = None) -> bytes:
    """Return the envelope that creates a promise."""
    return _envelope("promise.create", {"id": key, "timeoutAt": FAR, "tags": dict(tags or {})})


def get(key: str) -> bytes:
    """Return the envelope that reads a promise."""
    return _envelope("promise.get", {"id": key})


def settle(key: str) -> bytes:
    """Return the envelope that resolves a promise."""
    return _envelope("promise.settle", {"id": key, "state": "resolved"})


def _envelope(kind: str, data: dict[str, Any]) -> bytes:
    head = {"corrId": "1", "version": VERSION}
    return json.dumps({"kind": kind, "head": head, "data": data}, separators=(",", ":")).encode()


def post(body: bytes, port: int, token: str) -> bytes:
    """Return a whole HTTP request."""
    head = (
        f"POST / HTTP/1.1\r\nHost: {HOST}:{port}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Client:
    """One keep-alive connection that waits for each answer."""

    def __init__(self, port: int, token: str) -> None:
        """Nothing is sent yet."""
        self._connection = HTTPConnection(HOST, port, timeout=_SECONDS)
        self._headers = {"Authorization": f"Bearer {token}"}

    def ask(self, body: bytes) -> int:
        """Send an envelope; return the status of the answer."""
        self._connection.request("POST", "/", body, self._headers)
        response = self._connection.getresponse()
        response.read()
        return response.status

    def require(self, body: bytes) -> None:
        """Send an envelope that must be answered with 200."""
        status = self.ask(body)
        if status != 200:
            message = f"{status} for {body.decode()}"
            raise RuntimeError(message)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def open_stream(port: int, token: str, group: str, worker: str) -> socket.socket:
    """Open the event stream of a worker; returns when its first bytes are there."""
    stream = socket.create_connection((HOST, port), timeout=_SECONDS)
    stream.sendall(
        f"GET /poll/{group}/{worker} HTTP/1.1\r\nHost: {HOST}:{port}\r\n"
        f"Authorization: Bearer {token}\r\n\r\n".encode()
    )
    found = b""
    while b": keepalive" not in found:
        chunk = stream.recv(4096)
        found += chunk
        if not chunk or not found.startswith(b"HTTP/1.1 200"):
            message = f"no stream: {found.decode()}"
            raise RuntimeError(message)
    return stream


class Listener:
    """A connected worker that notes when it hears of which task, and takes none."""

    def __init__(self, port: int, token: str, group: str, worker: str) -> None:
        """Connect, and listen from now on."""
        self._stream = open_stream(port, token, group, worker)
        self._heard = threading.Condition()
        self._text = b""
        self._chunks: list[tuple[float, int]] = []
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while chunk := self._receive():
            arrived_at = time.monotonic()
            with self._heard:
                self._text += chunk
                self._chunks.append((arrived_at, len(self._text)))
                self._heard.notify()

    def _receive(self) -> bytes:
        try:
            return self._stream.recv(65536)
        except TimeoutError:
            return b""

    def wait(self, key: str) -> float:
        """Return when the first message about a task arrived, and forget what came until then."""
        with self._heard:
            if not self._heard.wait_for(lambda: key.encode() in self._text, _SECONDS):
                message = f"no message about {key}"
                raise TimeoutError(message)
            place = self._text.index(key.encode())
            found = next(at for at, length in self._chunks if length > place)
            self._text, self._chunks = b"", []
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._stream.close()
