"""The whole state at once, for ``durable_fsck``, the debug surface and tests."""

from collections import defaultdict

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from msgspec.structs import replace

from durable.machine.state import Config, ServerState
from durable.store import rows
from durable.store.dialects import get_dialect

_promise = ", ".join(rows.PROMISE_COLUMNS)
_task = ", ".join(rows.TASK_COLUMNS)
_schedule = ", ".join(rows.SCHEDULE_COLUMNS)


def read_snapshot(connection: BaseDatabaseWrapper, config: Config) -> ServerState:
    """Read all rows of the protocol, as stored, in one consistent view."""
    with transaction.atomic(using=connection.alias):
        if connection.vendor == "postgresql" and not connection.savepoint_ids:
            connection.connection.execute("set transaction isolation level repeatable read")
        return _read(connection, config)


def _read(connection: BaseDatabaseWrapper, config: Config) -> ServerState:
    dialect = get_dialect(connection)

    def fetch(sql: str) -> list[rows.Row]:
        return dialect.fetch(connection, sql, ())

    callbacks, listeners = defaultdict(list), defaultdict(list)
    for awaited, awaiter in fetch("select awaited_id, awaiter_id from durable_callback order by 2"):
        callbacks[awaited].append(awaiter)
    for promise_id, address in fetch("select promise_id, address from durable_listener order by 2"):
        listeners[promise_id].append(address)
    state = ServerState(config)
    for row in fetch(f"select {_promise} from durable_promise"):
        promise = rows.to_promise(row)
        state.promises[promise.id] = replace(
            promise,
            callbacks=tuple(callbacks[promise.id]),
            listeners=tuple(listeners[promise.id]),
        )
    for row in fetch(f"select id, {_task} from durable_task"):
        state.tasks[row[0]] = rows.to_task(row[0], row[1:])
    for row in fetch(f"select {_schedule} from durable_schedule"):
        state.schedules[row[0]] = rows.to_schedule(row)
    for row in fetch("select promise_id, address, version, record from durable_outboxmessage"):
        message = rows.to_message(*row)
        state.outbox[message.key] = message
    return state
