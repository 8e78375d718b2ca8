"""Commits, statements, log bytes and table sizes of a database, read from outside its clients."""

import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self
from urllib.parse import unquote, urlsplit

import psycopg

from bench import tracing

_SETTLE_SECONDS = 11.0
"""A server process that went idle tells its counts within ten seconds."""
_EXECUTED = re.compile(r"(?P<database>[^|]*)\|LOG:  (?:execute [^:]*|statement): (?P<text>.*)")


class Counts(NamedTuple):
    """Running totals; ``statements`` is None where nobody counts them."""

    at: float
    commits: float
    statements: float | None
    wal: float

    def since(self, before: "Counts", *, less: "Rate | None" = None) -> "Counts":
        """Return what happened since ``before``, less what would have happened anyway."""
        seconds = self.at - before.at
        idle = less or Rate(0, 0)
        statements = (
            None
            if self.statements is None or before.statements is None
            else self.statements - before.statements - seconds * (idle.statements or 0)
        )
        return Counts(
            seconds,
            self.commits - before.commits - seconds * idle.commits,
            statements,
            self.wal - before.wal,
        )


class Rate(NamedTuple):
    """What happens in a second."""

    commits: float
    statements: float | None

    @classmethod
    def of(cls, counts: Counts) -> Self:
        """Return the rate of a difference."""
        statements = None if counts.statements is None else counts.statements / counts.at
        return cls(counts.commits / counts.at, statements)


class TableSize(NamedTuple):
    """Bytes of a table's rows, and of its indexes."""

    rows: int
    indexes: int


class Counters(Protocol):
    """Reads one database."""

    def counting(self) -> AbstractContextManager[None]:
        """Count statements inside the block; it costs time, so nothing is timed there."""

    def read(self) -> Counts:
        """Return the totals; may take seconds, so that all have reported."""

    def texts(self) -> Counter[str]:
        """Return how often each statement was run since counting began, where that is known."""

    def tables(self) -> dict[str, TableSize]:
        """Return the sizes of the project's tables."""


class PostgresCounters:
    """The server's own statistics; statements from its log, or from pg_stat_statements."""

    def __init__(self, url: str, log: Path | None) -> None:
        """``log`` is the server's log file, if it is on this machine and ours."""
        self._name = urlsplit(url).path.strip("/")
        # its own queries must not count, so it looks from another database
        self._url = urlsplit(url)._replace(path="/postgres").geturl()
        self._log = log
        self._offset = 0
        self._has_view = False

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Have the server log every statement, and keep checkpoints and their page images out."""
        if self._log is None:
            self._has_view = self._try_view()
            yield
            return
        self._offset = self._log.stat().st_size
        self._fetch("checkpoint")
        self._configure(
            "checkpoint_timeout = '1d'", "log_line_prefix = '%d|'", "log_statement = 'all'"
        )
        try:
            yield
        finally:
            self._configure("checkpoint_timeout = '5min'", "log_statement = 'none'")

    def _try_view(self) -> bool:
        try:
            self._fetch("create extension if not exists pg_stat_statements")
            self._fetch("select pg_stat_statements_reset()")
        except psycopg.Error:
            return False
        return True

    def _configure(self, *settings: str) -> None:
        for setting in settings:
            self._fetch(f"alter system set {setting}")
        self._fetch("select pg_reload_conf()")
        time.sleep(0.3)

    def read(self) -> Counts:
        """Return the totals of all clients that have been idle for long enough."""
        time.sleep(_SETTLE_SECONDS)
        [[commits, wal]] = self._fetch(
            "select xact_commit, pg_current_wal_lsn() - '0/0' from pg_stat_database"
            f" where datname = '{self._name}'"
        )
        return Counts(time.monotonic(), float(commits), self._statements(), float(wal))

    def _statements(self) -> float | None:
        if self._log is not None:
            return float(self.texts().total())
        if not self._has_view:
            return None
        [[calls]] = self._fetch(
            "select coalesce(sum(calls), 0) from pg_stat_statements s join pg_database d"
            f" on d.oid = s.dbid where d.datname = '{self._name}'"
        )
        return float(calls)

    def texts(self) -> Counter[str]:
        """Read the log."""
        if self._log is None:
            return Counter()
        with self._log.open(errors="replace") as file:
            file.seek(self._offset)
            found = (_EXECUTED.match(line) for line in file)
            return Counter(
                one["text"].strip() for one in found if one and one["database"] == self._name
            )

    def tables(self) -> dict[str, TableSize]:
        """Return the sizes of all tables of the project."""
        with psycopg.connect(urlsplit(self._url)._replace(path=f"/{self._name}").geturl()) as one:
            found = one.execute(
                "select relname, pg_table_size(oid), pg_indexes_size(oid) from pg_class"
                " where relkind = 'r' and relname ~ '^(durable|signoff)_' order by relname"
            ).fetchall()
        return {name: TableSize(rows, indexes) for name, rows, indexes in found}

    def _fetch(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self._url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


class SQLiteCounters:
    """What the processes count themselves, and the sizes of files."""

    def __init__(self, url: str, folder: Path) -> None:
        """``folder`` is where the processes of ``counting`` put their counts."""
        self._path = Path("/" + unquote(urlsplit(url).path).lstrip("/"))
        self._folder = folder

    def counting(self) -> AbstractContextManager[None]:
        """Nothing: processes that are started with the right environment count."""
        return nullcontext()

    def read(self) -> Counts:
        """Return the totals."""
        traced = tracing.read(self._folder)
        log = self._path.with_name(self._path.name + "-wal")
        wal = log.stat().st_size if log.exists() else 0
        return Counts(time.monotonic(), traced.commits, traced.statements, wal)

    def texts(self) -> Counter[str]:
        """Nobody keeps them."""
        return Counter()

    def tables(self) -> dict[str, TableSize]:
        """Return the sizes of all tables of the project."""
        import sqlite3  # noqa: PLC0415 - not the driver of the run

        with sqlite3.connect(self._path) as connection:
            found = connection.execute(
                "select m.tbl_name, m.type, sum(s.pgsize) from dbstat s"
                " join sqlite_master m on m.name = s.name group by 1, 2"
            ).fetchall()
        sizes = {(name, kind): size for name, kind, size in found}
        return {
            name: TableSize(size, sizes.get((name, "index"), 0))
            for (name, kind), size in sizes.items()
            if kind == "table" and name.startswith(("durable_", "signoff_"))
        }
