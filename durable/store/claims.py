"""What a worker asks of the store beside the protocol: claim, heartbeat."""

from collections.abc import Collection, Mapping
from operator import itemgetter

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from durable.models.history import TaskEvent
from durable.protocol.claims import ANY, Claim, Wanted
from durable.protocol.requests import Reply, TaskAcquire
from durable.store import rows, statements
from durable.store.database import DatabaseStore
from durable.store.dialects import POSTGRES, encode_list, get_dialect
from durable.store.preload import fetch_history, history_of

_FIRST_PROMISE_COLUMN = 1
_AFTER_PROMISE = _FIRST_PROMISE_COLUMN + len(rows.PROMISE_COLUMNS)


def claim(
    store: DatabaseStore,
    groups: Collection[str],
    *,
    pid: str,
    ttl: int,
    limit: int,
    wanted: Wanted = ANY,
) -> list[Claim]:
    """Acquire up to ``limit`` wanted tasks of the groups that are due; ``ttl`` is the lease in ms.

    One statement on PostgreSQL, which skips what others hold; the machine itself on SQLite, where
    there is one writer anyway. Both are held to task.acquire by differential tests.
    """
    if store.connection.vendor == "postgresql":
        return _claim_skipping(store, groups, wanted, pid=pid, ttl=ttl, limit=limit)
    return _claim_by_steps(store, groups, wanted, pid=pid, ttl=ttl, limit=limit)


def _claim_skipping(
    store: DatabaseStore,
    groups: Collection[str],
    wanted: Wanted,
    *,
    pid: str,
    ttl: int,
    limit: int,
) -> list[Claim]:
    """Claim and read the history: two statements, one round trip, one transaction."""
    connection = store.connection
    connection.ensure_connection()
    params = (
        *store.statement_clock(),
        encode_list(dict.fromkeys(groups)),
        wanted.overdue_ms,
        encode_list(wanted.names),
        wanted.is_listed,
        limit,
        limit,
        pid,
        ttl,
        ttl,
        TaskEvent.ACQUIRED.value,
    )
    with POSTGRES.pipeline(connection):
        claimed = POSTGRES.send(connection, POSTGRES.text(statements.CLAIM), params)
        recorded = POSTGRES.send(connection, statements.LOAD_CLAIMED_HISTORY)
    found = claimed.fetchall()
    now = max((row[0] for row in found), default=0)
    store.advance(now)
    history = history_of(recorded.fetchall(), now=store.now())
    claims = []
    for row in found:
        promise = rows.to_promise(row[_FIRST_PROMISE_COLUMN:])
        task = rows.to_task(promise.id, row[_AFTER_PROMISE + 1 :])
        preload = tuple(history.get(promise.id, ()))
        claims.append(Claim(task.record(promise, now), promise.record(now), preload))
    return claims


def _claim_by_steps(
    store: DatabaseStore,
    groups: Collection[str],
    wanted: Wanted,
    *,
    pid: str,
    ttl: int,
    limit: int,
) -> list[Claim]:
    if not _candidates(store, groups, wanted, limit=1):  # look before taking the one write lock
        return []

    with transaction.atomic(using=store.alias):
        candidates = _candidates(store, groups, wanted, limit=limit)
        requests = [TaskAcquire(task_id, version, pid, ttl) for _, task_id, version in candidates]
        replies: list[Reply] = store.run(*requests) if requests else []
        taken = [
            (reply.task, reply.promise)
            for reply in replies
            if reply.is_ok and reply.task and reply.promise
        ]
        origins = _origins(store.connection, [task.id for task, _ in taken if task.version > 1])
    history = fetch_history(store.connection, origins, now=store.now())
    return [Claim(task, promise, tuple(history.get(task.id, ()))) for task, promise in taken]


def _candidates(
    store: DatabaseStore, groups: Collection[str], wanted: Wanted, *, limit: int
) -> list[rows.Row]:
    connection = store.connection
    connection.ensure_connection()
    now = store.clock_now()
    dialect = get_dialect(connection)
    names = encode_list(wanted.names)
    found: list[rows.Row] = []
    for group in dict.fromkeys(groups):
        params = (group, now, wanted.overdue_ms, now, names, wanted.is_listed, limit)
        found += dialect.fetch(connection, statements.CANDIDATES, params)
    return sorted(found, key=itemgetter(0))[:limit]


def _origins(connection: BaseDatabaseWrapper, ids: Collection[str]) -> dict[str, str]:
    if not ids:
        return {}
    dialect = get_dialect(connection)
    found = dialect.fetch(connection, statements.ORIGINS, (encode_list(ids),))
    return {row[0]: row[1] for row in found}


def heartbeat(store: DatabaseStore, pid: str, held: Mapping[str, int]) -> set[str]:
    """Extend the leases that a process holds (id to version); return the ids it has lost.

    One statement. Rows that a transaction under way has locked are skipped, not waited for: they
    are not lost, and the next beat extends them.
    """
    if not held:
        return set()
    connection = store.connection
    dialect = get_dialect(connection)
    ids = encode_list(held)
    clock = store.statement_clock()
    pairs = encode_list((one, str(version)) for one, version in held.items())
    with transaction.atomic(using=store.alias):
        extended = dialect.fetch(connection, statements.HEARTBEAT, (*clock, pairs, pid, *clock))
        if len(extended) == len(held):
            return _lost(held, extended)
        still = dialect.fetch(connection, statements.HELD, (ids, pid, *clock))
    return _lost(held, still)


def _lost(held: Mapping[str, int], rows_held: list[rows.Row]) -> set[str]:
    valid = {row[0] for row in rows_held if held.get(row[0]) == row[1]}
    return set(held) - valid
