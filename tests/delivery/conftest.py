"""A server for event streams in this process, on the test database, and clients that read them."""

import http.client
import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn
from django.db import connections
from pytest_django import DjangoDbBlocker

from tests.interop.conftest import free_port


@pytest.fixture
def transactional_db(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    from tests.store.support import wipe

    with django_db_blocker.unblock():
        yield
        connections.close_all()
        wipe()
        connections.close_all()


class Client:
    """Reads one stream in a thread, as a worker does."""

    def __init__(self, port: int, path: str, headers: dict[str, str] | None = None) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15)
        self._connection.request("GET", path, headers=headers or {})
        self.response = self._connection.getresponse()
        self.raw = b""
        self.comments = 0
        self.is_ended = threading.Event()
        self._events: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._read, daemon=True)
        if self.response.status == 200:
            self._thread.start()

    def _read(self) -> None:
        try:
            while line := self.response.readline():
                self.raw += line
                if line.startswith(b"data: "):
                    self._events.put(json.loads(line[6:]))
                elif line.startswith(b":"):
                    self.comments += 1
        except (OSError, ValueError, http.client.HTTPException, AttributeError):
            return
        self.is_ended.set()

    def next(self, timeout: float = 10) -> dict[str, Any]:
        return self._events.get(timeout=timeout)

    def is_quiet(self, seconds: float = 0.3) -> bool:
        try:
            self._events.get(timeout=seconds)
        except queue.Empty:
            return True
        return False

    def close(self) -> None:
        if self._connection.sock is not None:
            self._connection.sock.shutdown(2)
        if self._thread.ident is not None:
            self._thread.join()
        self.response.close()
        self._connection.close()


type Connect = Callable[..., Client]


@pytest.fixture
def connect(transactional_db: None, settings: Any) -> Iterator[Connect]:
    """Open streams: ``connect("group", "id")`` or ``connect(path=…)``."""
    from durable.delivery.dispatcher import get_dispatcher
    from durable.delivery.streams import hub
    from durable.gateway.auth import get_access
    from durable.gateway.consumers import PollConsumer

    settings.DURABLE_AUTH_REQUIRED = False
    get_access.cache_clear()
    port = free_port()
    config = uvicorn.Config(
        PollConsumer.as_asgi(),
        port=port,
        lifespan="off",
        log_config=None,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    dispatcher = get_dispatcher()
    dispatcher.start()
    opened: list[Client] = []

    def connect(
        group: str = "", worker: str = "", *, path: str = "", headers: dict[str, str] | None = None
    ) -> Client:
        opened.append(Client(port, path or f"/poll/{group}/{worker}", headers))
        return opened[-1]

    yield connect
    hub.stop()
    for client in opened:
        if client.response.status == 200:
            client.is_ended.wait(3)
        client.close()
    server.should_exit = True
    thread.join()
    dispatcher.stop()
    hub.resume()
    get_access.cache_clear()
