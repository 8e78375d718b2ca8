"""Statements of delivery: what is to be offered to whom, and the outbox on its way out.

Offering a task to an event stream is R6 (protocol.md 4.4) and the delivery of its message in one
guarded update: the message never enters the table. Differential tests hold it to the machine.
"""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from msgspec import json

from durable.machine.state import Execute, Message
from durable.prepared import execute
from durable.protocol import tags
from durable.protocol.addresses import POLL_ANY
from durable.store import rows
from durable.store.database import DatabaseStore
from durable.store.dialects import POSTGRES, Dialect, encode_list, get_dialect
from durable.store.rows import Row

_SOON_MS = 2500
"""Dispatchers look every two seconds by themselves; only earlier instants are worth a timer."""

_CLOCK = "with clock as (select {clock} as now) "
_NOW = "(select now from clock)"
_ALIVE = f"t.state = 'pending' and p.state = 'pending' and p.timeout_at > {_NOW}"
_READY = f"{_ALIVE} and t.not_before + 0 <= {_NOW}"
"""The sum keeps planners from the index of claims: what was offered a moment ago stays in there."""
_OFFERS = (
    f"{_CLOCK}select t.id, t.version, t.queue, p.tags from durable_task t"
    " join durable_promise p on p.id = t.id where t.queue {in_list}"
)
FIND_OFFERS = f"{_OFFERS} and {_READY} and t.retry_at <= {_NOW} order by t.retry_at limit %s"
FIND_OFFERED = (
    f"{_OFFERS} and {_ALIVE} and ((t.not_before <= {_NOW} and t.retry_at > {_NOW})"
    f" or (t.not_before > {_NOW} and t.releases > 0)) order by t.retry_at limit %s"
)
OFFER = (
    f"{_CLOCK}update durable_task set retry_at = {_NOW} + %s where id in ("
    "select t.id from durable_task t join durable_promise p on p.id = t.id"
    " join {pairs} on k.a = t.id and k.b = cast(t.version as text)"
    f" where t.retry_at <= {_NOW} and {_READY} {{skip_locked}}) returning id"
)
NEXT_OFFER = (
    f"{_CLOCK}select min(soon.at), {_NOW} from ("
    "select min(retry_at) as at from durable_task where state = 'pending' and queue {in_list}"
    f" and retry_at > {_NOW} and retry_at <= {_NOW} + %s"
    " union all select min(not_before) from durable_task"
    " where state = 'pending' and queue {in_list}"
    f" and not_before > {_NOW} and not_before <= {_NOW} + %s) soon"
)

_TABLE = "durable_outboxmessage"
_COLUMNS = f"{_TABLE}.id, {_TABLE}.promise_id, address, {_TABLE}.version, record, attempts"
_IS_WANTED = (
    f"({_TABLE}.version is null or exists (select 1 from durable_task t"
    f" join durable_promise p on p.id = t.id where t.id = {_TABLE}.promise_id"
    f" and t.state = 'pending' and t.version = {_TABLE}.version"
    f" and p.state = 'pending' and p.timeout_at > {_NOW}))"
)
FIND_FOR_STREAMS = (
    f"{_CLOCK}select {_COLUMNS} from {_TABLE} where address {{in_list}}"
    f" and next_at <= {_NOW} order by id limit %s"
)
FIND_PUSHES = (
    f"{_CLOCK}select id from {_TABLE} where (address < 'poll://' or address >= 'poll:/0')"
    f" and next_at <= {_NOW} order by next_at limit %s"
)
FIND_FOR_GROUP = (
    f"{_CLOCK}select id from {_TABLE} where address >= %s and address < %s and next_at <= {_NOW}"
    " order by address limit %s"
)
CLAIM = (
    f"{_CLOCK}update {_TABLE} set attempts = attempts + 1, next_at = {_NOW} + %s where id in ("
    f"select t.id from {_TABLE} t join {{pairs}} on t.id = cast(k.a as bigint)"
    f" where t.next_at <= {_NOW} {{skip_locked}}) returning {_COLUMNS}"
)
FIND_WANTED = (
    f"{_CLOCK}select id from {_TABLE} join {{pairs}} on id = cast(k.a as bigint) where {_IS_WANTED}"
)
FINISH = (
    f"delete from {_TABLE} where id in (select o.id from {_TABLE} o join {{pairs}}"
    " on o.id = cast(k.a as bigint) and k.b = coalesce(cast(o.version as text), ''))"
)
FINISH_HELD = (
    f"delete from {_TABLE} where id in (select o.id from {_TABLE} o join {{pairs}}"
    " on o.id = cast(k.a as bigint) join durable_stream s on s.id = k.b)"
)
POSTPONE = f"{_CLOCK}update {_TABLE} set next_at = {_NOW} + %s where id = %s"
FORGET = (
    f"{_CLOCK}delete from {_TABLE} where id in (select o.id from {_TABLE} o"
    " join durable_promise p on p.id = o.promise_id"
    f" where o.version is null and p.settled_at < {_NOW} - %s limit %s) returning id"
)

_tags = json.Decoder(dict[str, str])


class Offer(NamedTuple):
    """A pending task that a worker of its group may be asked to take, at its stored version."""

    task_id: str
    version: int
    group: str
    target: str


class Queued(NamedTuple):
    """A message of the outbox; ``attempts`` counts this try."""

    id: int
    message: Message
    attempts: int

    @property
    def version(self) -> str:
        """What tells it from one that took its place."""
        return str(self.message.version) if isinstance(self.message, Execute) else ""


def find_offers(store: DatabaseStore, groups: Collection[str], *, limit: int) -> list[Offer]:
    """Return tasks of the groups whose next dispatch is due, the longest due first."""
    return [_offer(row) for row in _fetch(store, FIND_OFFERS, groups, limit)]


def find_offered(store: DatabaseStore, groups: Collection[str], *, limit: int) -> list[Offer]:
    """Return tasks that a worker which joins may take at once.

    They were offered a moment ago and not taken, or rest because others gave them back.
    """
    return [_offer(row) for row in _fetch(store, FIND_OFFERED, groups, limit)]


def _fetch(store: DatabaseStore, sql: str, groups: Collection[str], limit: int) -> list[Row]:
    dialect = _connected(store)
    return dialect.fetch(
        store.connection, sql, (*store.statement_clock(), encode_list(groups), limit)
    )


def _offer(row: Row) -> Offer:
    return Offer(row[0], row[1], row[2], _tags.decode(row[3]).get(tags.TARGET, ""))


def take_offers(store: DatabaseStore, offers: Collection[Offer]) -> set[str]:
    """Arm the next dispatch of tasks that are still due; return their ids.

    Of several processes that try one gets each task; rows that others lock are left to them.
    """
    if not offers:
        return set()
    pairs = encode_list((one.task_id, str(one.version)) for one in offers)
    retry = store.config.retry_timeout
    return {row[0] for row in _write(store, OFFER, (*store.statement_clock(), retry, pairs))}


def seconds_to_next_offer(store: DatabaseStore, groups: Collection[str]) -> float | None:
    """Return in how many seconds a task of the groups becomes due; None when not soon."""
    dialect = _connected(store)
    names = encode_list(groups)
    params = (*store.statement_clock(), names, _SOON_MS, names, _SOON_MS)
    [(at, now)] = dialect.fetch(store.connection, NEXT_OFFER, params)
    return None if at is None else (at - now) / 1000


def find_for_streams(
    store: DatabaseStore, addresses: Collection[str], *, limit: int
) -> list[Queued]:
    """Return messages to these very addresses, oldest first; stale executes are dropped."""
    dialect = _connected(store)
    params = (*store.statement_clock(), encode_list(addresses), limit)
    return _wanted(store, dialect.fetch(store.connection, FIND_FOR_STREAMS, params))


def has_poll_messages(store: DatabaseStore) -> bool:
    """Whether any message waits for an event stream, anybody's."""
    return bool(_find_between(store, "poll://", "poll:/0", limit=1))


def claim_pushes(store: DatabaseStore, *, limit: int, lease_ms: int) -> list[Queued]:
    """Claim messages of every scheme but ``poll``; nobody else tries before the lease ends."""
    dialect = _connected(store)
    params = (*store.statement_clock(), limit)
    return _claim(store, dialect.fetch(store.connection, FIND_PUSHES, params), lease_ms)


def claim_for_groups(
    store: DatabaseStore, groups: Collection[str], *, limit: int, lease_ms: int
) -> list[Queued]:
    """Claim messages to anybody of these groups, as written in an address."""
    if not _find_between(store, POLL_ANY, f"{POLL_ANY}\U0010ffff", limit=1):  # nearly always
        return []
    found: list[Row] = []
    for group in groups:
        address = f"{POLL_ANY}{group}"
        found += _find_between(store, address, f"{address}0", limit=limit)  # 0 follows the slash
    return _claim(store, found, lease_ms)


def _find_between(store: DatabaseStore, low: str, high: str, *, limit: int) -> list[Row]:
    params = (*store.statement_clock(), low, high, limit)
    return _connected(store).fetch(store.connection, FIND_FOR_GROUP, params)


def _claim(store: DatabaseStore, found: Collection[Row], lease_ms: int) -> list[Queued]:
    if not found:  # look before writing: SQLite has one write lock
        return []
    ids = encode_list((str(row[0]), "") for row in found)
    params = (*store.statement_clock(), lease_ms, ids)
    return _wanted(store, _write(store, CLAIM, params))


def _wanted(store: DatabaseStore, found: Collection[Row]) -> list[Queued]:
    """Return the messages of rows, and drop executes of tasks that went on meanwhile."""
    queued = [Queued(row[0], rows.to_message(*row[1:5]), row[5]) for row in found]
    executes = [str(one.id) for one in queued if isinstance(one.message, Execute)]
    if not executes:
        return queued
    dialect = _connected(store)
    params = (*store.statement_clock(), encode_list((one, "") for one in executes))
    wanted = {row[0] for row in dialect.fetch(store.connection, FIND_WANTED, params)}
    stale = [one for one in queued if isinstance(one.message, Execute) and one.id not in wanted]
    finish(store, stale)
    return [one for one in queued if one not in stale]


def finish(store: DatabaseStore, done: Collection[Queued]) -> None:
    """Delete messages that were handed over, unless newer ones took their place."""
    if done:
        pairs = [(str(one.id), one.version) for one in done]
        _delete(store, FINISH, pairs)


def finish_held(store: DatabaseStore, handed_over: Collection[tuple[int, str]]) -> None:
    """Delete messages (by id) handed to streams (by id) that still are the newest of theirs."""
    if handed_over:
        _delete(store, FINISH_HELD, [(str(one), stream) for one, stream in handed_over])


def _delete(store: DatabaseStore, sql: str, pairs: Collection[tuple[str, str]]) -> None:
    _write(store, f"{sql} returning id", (encode_list(pairs),))


def postpone(store: DatabaseStore, message_id: int, delay_ms: int) -> None:
    """Let a message rest."""
    _write(store, f"{POSTPONE} returning id", (*store.statement_clock(), delay_ms, message_id))


def forget(store: DatabaseStore, *, keep_ms: int, limit: int) -> int:
    """Delete messages to listeners that stayed away; return how many."""
    return len(_write(store, FORGET, (*store.statement_clock(), keep_ms, limit)))


def _connected(store: DatabaseStore) -> Dialect:
    store.connection.ensure_connection()
    return get_dialect(store.connection)


def _write(store: DatabaseStore, sql: str, params: Sequence[Any]) -> list[Row]:
    """Run a writing statement that need not outlive a crash of the database: it waits for no disk.

    What it lost is only done again: a task offered or a message delivered twice.
    """
    dialect = _connected(store)
    connection = store.connection
    if connection.vendor != "postgresql" or connection.in_atomic_block:
        return dialect.fetch(connection, sql, params)
    raw = connection.connection
    with POSTGRES.pipeline(connection):
        raw.execute("begin")
        raw.execute("set local synchronous_commit to off")
        cursor = execute(connection, dialect.text(sql), params)
        raw.execute("commit")
    found: list[Row] = cursor.fetchall()
    return found
