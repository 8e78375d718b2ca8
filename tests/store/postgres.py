"""What PostgreSQL tells of other connections, and how to break them."""

import contextlib
import socket
import threading
from pathlib import Path

from django.db import connection

from tests.store.support import execute, rows
from tests.store.threads import eventually


def lock_row(table: str, row_id: str) -> None:
    """Lock a row of the protocol without the locks that programs take."""
    rows(f"select 1 from durable_{table} where id = %s for update", row_id)


def wait_for_blocked(count: int = 1) -> list[int]:
    """Wait until so many connections wait for locks; return their server processes."""
    eventually(lambda: len(_blocked()) >= count, f"{count} blocked connections")
    return _blocked()


def _blocked() -> list[int]:
    return [
        pid
        for [pid] in rows(
            "select pid from pg_stat_activity"
            " where datname = current_database() and wait_event_type = 'Lock'"
        )
    ]


def other_connections() -> list[int]:
    """Return the server processes of all other connections to the test database."""
    return [
        pid
        for [pid] in rows(
            "select pid from pg_stat_activity where datname = current_database()"
            " and pid <> pg_backend_pid() and backend_type = 'client backend'"
        )
    ]


def terminate(*pids: int) -> None:
    """End connections from the server's side, and wait until they are gone."""
    for pid in pids:
        execute("select pg_terminate_backend(%s, 5000)", pid)


class Proxy:
    """Stands between client and server; drops the connection when the server answers a COMMIT."""

    def __init__(self, folder: Path) -> None:
        self.dropped = threading.Event()
        self._target = str(Path(connection.settings_dict["HOST"]) / _socket_name())
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(folder / _socket_name()))
        self._server.listen()
        self._open: list[socket.socket] = [self._server]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for one in self._open:
            _shut(one)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._target)
            self._open += [client, server]
            committing = threading.Event()
            for source, sink, is_asking in ((client, server, True), (server, client, False)):
                threading.Thread(
                    target=self._forward, args=(source, sink, committing, is_asking), daemon=True
                ).start()

    def _forward(
        self, source: socket.socket, sink: socket.socket, committing: threading.Event, asks: bool
    ) -> None:
        try:
            while data := source.recv(65536):
                if asks and b"COMMIT" in data and not self.dropped.is_set():
                    committing.set()
                if not asks and committing.is_set():
                    self.dropped.set()
                    break
                sink.sendall(data)
        except OSError:
            pass
        finally:
            _shut(source)
            _shut(sink)


def _shut(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()


def _socket_name() -> str:
    return f".s.PGSQL.{connection.settings_dict['PORT'] or 5432}"
