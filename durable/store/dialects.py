"""What PostgreSQL and SQLite do differently: locks, clock, arrays, bulk statements."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper
from msgspec import json

from durable import clock
from durable.notify import get_notifier
from durable.notify.base import CHANNEL, payload_of
from durable.prepared import Params, execute
from durable.store import tallies
from durable.store.base import IsolationLevelError
from durable.store.statements import Change, Delete, Insert, Update

type Row = Sequence[Any]


class Lock:
    """What a lock statement gave: the ids held, and the time after the last was granted."""

    __slots__ = ("ids", "now")

    def __init__(self, ids: frozenset[str], now: int) -> None:
        """``now`` is the clock all processes share, in epoch ms."""
        self.ids = ids
        self.now = now


class Awaiters(NamedTuple):
    """Which of the awaiters are locked along with what they wait for.

    spare_acquired: leave those alone that a worker runs now.
    limit: how many at most.
    """

    spare_acquired: bool
    limit: int


class PostgresDialect:
    """Advisory locks by id, the server's clock, arrays, pipelines."""

    _NOW = "(extract(epoch from clock_timestamp()) * 1000)::bigint"
    _KEY = "hashtextextended('durable:' || k.id, 0)"
    # the clock is read after the aggregate has taken every lock; the ids held are kept for the
    # statements that follow in the transaction
    _LOCK = (
        "select set_config('durable.held',"
        f" coalesce(json_agg(k.id) filter (where {{lock}}), '[]')::text, true), {_NOW},"
        " current_setting('transaction_isolation')"
        " from jsonb_array_elements_text(%s::jsonb) k(id)"
    )
    _WAIT = _LOCK.format(lock=f"pg_advisory_xact_lock({_KEY})::text is not null")
    TRY = _LOCK.format(lock=f"pg_try_advisory_xact_lock({_KEY})")
    """Tries for the locks of ids."""
    HELD = "any(array(select jsonb_array_elements_text(current_setting('durable.held')::jsonb)))"
    """The ids that the last lock statement of the transaction got."""
    _TRY_AWAITERS = TRY.replace(
        "jsonb_array_elements_text(%s::jsonb) k(id)",
        f"(select distinct c.awaiter_id as id from durable_callback c where c.awaited_id = {HELD}"
        f" and not c.awaiter_id = {HELD} and not (%s and exists (select 1 from durable_task t"
        " where t.id = c.awaiter_id and t.state = 'acquired')) order by 1 limit %s) k",
    )

    def lock(self, connection: BaseDatabaseWrapper, ids: Iterable[str], *, wait: bool) -> Lock:
        """Take transaction advisory locks in the order of the ids."""
        names = encode_list(sorted(ids))
        [row] = self._execute(connection, self._WAIT if wait else self.TRY, (names,))
        return self._to_lock(row)

    def _to_lock(self, row: Row) -> Lock:
        held, now, isolation = row
        if isolation != "read committed":  # a snapshot older than the locks would miss changes
            raise IsolationLevelError(isolation)
        return Lock(_decode_ids(held), now)

    def lock_and_fetch(
        self,
        connection: BaseDatabaseWrapper,
        ids: Sequence[str],
        *,
        wait: bool,
        sql: str,
        awaiters: Awaiters | None = None,
    ) -> tuple[Lock, list[Row]]:
        """Lock and read: two statements, so that the read's snapshot is taken under the locks.

        With ``awaiters`` those of what was locked are tried for and read, too: one round trip for
        all. ``sql`` selects by ``{in_list}``.
        """
        statements: list[tuple[str, Params]] = [
            (self._WAIT if wait else self.TRY, (encode_list(sorted(ids)),)),
            (self.text(sql), (encode_list(ids),)),
        ]
        if awaiters is not None:
            load_held = self.text(sql.replace("{in_list}", f"= {self.HELD}"))
            statements += [(self._TRY_AWAITERS, awaiters), (load_held, ())]
        with self.pipeline(connection):
            cursors = [self.send(connection, text, params) for text, params in statements]
        found = [cursor.fetchall() for cursor in cursors]
        locks = [self._to_lock(row) for rows in found[::2] for row in rows]
        ids_held = frozenset[str]().union(*(lock.ids for lock in locks))
        loaded = [row for rows in found[1::2] for row in rows]
        return Lock(ids_held, max(lock.now for lock in locks)), loaded

    def look(
        self, connection: BaseDatabaseWrapper, ids: Sequence[str], *, sql: str
    ) -> tuple[int, list[Row]]:
        """Read without locks what is committed, after the clock."""
        with self.pipeline(connection):
            read = self.send(connection, f"select {self._NOW}")
            loaded = self.send(connection, self.text(sql), (encode_list(ids),))
        [(now,)] = read.fetchall()
        return now, loaded.fetchall()

    def fetch(self, connection: BaseDatabaseWrapper, sql: str, params: Params) -> list[Row]:
        """Run one prepared statement."""
        return self._execute(connection, self.text(sql), params)

    def _execute(self, connection: BaseDatabaseWrapper, sql: str, params: Params) -> list[Row]:
        with connection.wrap_database_errors:
            return list(self.send(connection, sql, params).fetchall())

    def send(self, connection: BaseDatabaseWrapper, sql: str, params: Params = ()) -> Any:
        """Execute and count one prepared statement; return its cursor. The errors are psycopg's."""
        _count(1)
        return execute(connection, sql, params)

    def write(
        self,
        connection: BaseDatabaseWrapper,
        changes: Sequence[tuple[Change, Sequence[Row]]],
        topics: Collection[str],
        *,
        with_savepoint: bool,
    ) -> tuple[list[int], str | None]:
        """Write the changes, announce the topics, and set a savepoint, all in one round trip.

        Return how many rows each change touched, and the savepoint. Rows travel as JSON, as all
        lists do: the driver takes ten times as long to write arrays.
        """
        rows = [encode_list(rows) for _, rows in changes]
        shape = tuple(change for change, _ in changes)
        with self.pipeline(connection):
            if len({change.table for change in shape}) == len(shape):
                told = payload_of(topics) if topics else None
                cursors = [self.send(connection, _merged_text(shape), (*rows, told))]
            else:  # one statement must not touch a row twice
                cursors = [
                    self.send(connection, _merged_text((change,)), (given, None))
                    for change, given in zip(shape, rows, strict=True)
                ]
                if topics:
                    get_notifier(connection.alias).publish(topics)
            savepoint = connection.savepoint() if with_savepoint else None
        return [count for cursor in cursors for count in cursor.fetchone()], savepoint

    @contextmanager
    def pipeline(self, connection: BaseDatabaseWrapper) -> Iterator[None]:
        """Send the statements of the block without waiting for each answer.

        The driver's errors become Django's, as everywhere.
        """
        with connection.wrap_database_errors, connection.connection.pipeline():
            yield

    def text(self, sql: str) -> str:
        """Fill in lists and locks."""
        return _fill(
            sql,
            in_list="= any(array(select jsonb_array_elements_text(%s::jsonb)))",
            texts="jsonb_array_elements_text(%s::jsonb)",
            json_list="json_agg",
            pairs="(select e->>0 as a, e->>1 as b from jsonb_array_elements(%s::jsonb) e) k",
            skip_locked="for no key update of t skip locked",
            is_true="",
            clock=f"coalesce(%s::bigint, greatest(%s::bigint, {self._NOW}))",
        )


class SQLiteDialect:
    """One writer holds the whole database from BEGIN IMMEDIATE on; the host's clock."""

    def lock(self, connection: BaseDatabaseWrapper, ids: Iterable[str], *, wait: bool) -> Lock:  # noqa: ARG002
        """The transaction holds the write lock already."""
        return Lock(frozenset(ids), clock.now_ms())

    def lock_and_fetch(
        self,
        connection: BaseDatabaseWrapper,
        ids: Sequence[str],
        *,
        wait: bool,
        sql: str,
        awaiters: Awaiters | None = None,  # noqa: ARG002 - a second statement costs no round trip
    ) -> tuple[Lock, list[Row]]:
        """Read."""
        lock = self.lock(connection, ids, wait=wait)
        return lock, self.fetch(connection, sql, (encode_list(ids),))

    def look(
        self, connection: BaseDatabaseWrapper, ids: Sequence[str], *, sql: str
    ) -> tuple[int, list[Row]]:
        """Read without a lock what is committed, after the clock."""
        now = clock.now_ms()
        return now, self.fetch(connection, sql, (encode_list(ids),))

    def fetch(self, connection: BaseDatabaseWrapper, sql: str, params: Params) -> list[Row]:
        """Run one statement."""
        _count(1)
        with connection.wrap_database_errors:
            rows: list[Row] = connection.connection.execute(self.text(sql), params).fetchall()
        return rows

    def write(
        self,
        connection: BaseDatabaseWrapper,
        changes: Sequence[tuple[Change, Sequence[Row]]],
        topics: Collection[str],
        *,
        with_savepoint: bool,
    ) -> tuple[list[int], str | None]:
        """Announce, write row by row inside the driver, and set a savepoint."""
        if topics:
            get_notifier(connection.alias).publish(topics)
        raw = connection.connection
        _count(len(changes))
        with connection.wrap_database_errors:
            counts = [
                raw.executemany(_sqlite_text(change), rows).rowcount for change, rows in changes
            ]
        return counts, connection.savepoint() if with_savepoint else None

    def text(self, sql: str) -> str:
        """Fill in lists, and the driver's placeholders."""
        return _fill(
            sql,
            in_list="in (select value from json_each(%s))",
            json_list="json_group_array",
            pairs="(select json_extract(value, '$[0]') as a, json_extract(value, '$[1]') as b"
            " from json_each(%s)) k",
            skip_locked="",
            is_true=" = 1",  # as Django writes it into the partial indexes
            clock="coalesce(%s, %s)",
        ).replace("%s", "?")


_decode_ids = json.Decoder(frozenset[str]).decode


def _count(number: int) -> None:
    tallies.statements[tallies.STORE] += number


def encode_list(items: Iterable[object]) -> str:
    """Return texts, pairs of them or rows as they travel to a statement."""
    return json.encode(list(items)).decode()


type Dialect = PostgresDialect | SQLiteDialect

POSTGRES = PostgresDialect()
_SQLITE = SQLiteDialect()


def get_dialect(connection: BaseDatabaseWrapper) -> Dialect:
    """Return the dialect of a connection."""
    return POSTGRES if connection.vendor == "postgresql" else _SQLITE


@cache
def _fill(sql: str, **parts: str) -> str:
    for name, part in parts.items():
        sql = sql.replace("{" + name + "}", part)
    return sql


@cache
def _merged_text(changes: tuple[Change, ...]) -> str:
    """Return one statement for changes of different tables; it returns their counts of rows."""
    parts = [f"c{n} as ({_postgres_text(one)} returning 1)" for n, one in enumerate(changes)]
    counts = [f"(select count(*) from c{n})" for n in range(len(changes))]
    told = f"(select pg_notify('{CHANNEL}', v.topics) from (select %s::text) v(topics)"
    return (
        f"with {', '.join(parts)} select {', '.join(counts)}"
        f" from (select 1) one left join {told} where v.topics is not null) told on true"
    )


@cache
def _postgres_text(change: Change) -> str:
    columns = change.parameters()
    names = ", ".join(name for name, _ in columns)
    source = f"({source_of(dict(columns))}) as v"
    match change:
        case Insert(table, _, conflict):
            return f"insert into {table} ({names}) select {names} from {source} {conflict}"
        case Update(table, key, values, guard):
            changed = ", ".join(f"{name} = v.{name}" for name in values)
            held = "".join(f" and {change.guarded(name, 't.')} = v.old_{name}" for name in guard)
            return f"update {table} as t set {changed} from {source} where t.{key} = v.{key}{held}"
        case Delete(table, keys):
            equal = " and ".join(f"t.{name} = v.{name}" for name in keys)
            return f"delete from {table} as t using {source} where {equal}"


def source_of(columns: Mapping[str, str]) -> str:
    """Return a query of the rows that ``encode_list`` made, with columns of PostgreSQL's types."""
    fields = ", ".join(
        f"{_cast(f'e->>{place}', kind)} as {name}"
        for place, (name, kind) in enumerate(columns.items())
    )
    return f"select {fields} from jsonb_array_elements(%s::jsonb) e"


def _cast(expression: str, kind: str) -> str:
    return expression if kind == "text" else f"({expression})::{kind}"


@cache
def _sqlite_text(change: Change) -> str:
    place = {name: f"?{number}" for number, (name, _) in enumerate(change.parameters(), 1)}
    match change:
        case Insert(table, columns, conflict):
            return (
                f"insert into {table} ({', '.join(columns)})"
                f" values ({', '.join(place.values())}) {conflict}"
            )
        case Update(table, key, values, guard):
            changed = ", ".join(f"{name} = {place[name]}" for name in values)
            held = "".join(f" and {change.guarded(n)} = {place['old_' + n]}" for n in guard)
            return f"update {table} set {changed} where {key} = {place[key]}{held}"
        case Delete(table, keys):
            equal = " and ".join(f"{name} = {place[name]}" for name in keys)
            return f"delete from {table} where {equal}"
