"""What the tests of the store share: a look at the rows, and how the oracle drains."""

from collections.abc import Iterable, Sequence
from typing import Any

from django.apps import apps
from django.db import connection, transaction
from msgspec.structs import replace

from durable.machine.internal import CallbackDrain, InternalStep, ListenerDrain
from durable.machine.memory import MemoryStore
from durable.machine.properties import check_state
from durable.machine.state import ServerState
from durable.store.database import DatabaseStore
from durable.store.due import find_due
from durable.store.snapshot import read_snapshot


def wipe() -> None:
    """Delete the rows of all tables but those that migrations fill: permissions and their types.

    Django's own empties every table anew, and fills these again, at ten times the cost.
    """
    kept = {"django_content_type", "auth_permission"}
    models = apps.get_models(include_auto_created=True)
    tables = sorted({model._meta.db_table for model in models if model._meta.managed} - kept)
    statements = [f'delete from "{table}"' for table in tables]  # foreign keys are deferred
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("; ".join(statements))
        else:
            for statement in statements:
                cursor.execute(statement)


def rows(sql: str, *params: object) -> list[tuple[Any, ...]]:
    """Run a query on the test's own connection."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params or None)
        return list(cursor.fetchall())


def execute(sql: str, *params: object) -> None:
    """Run a statement on the test's own connection."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params or None)


def forget_statistics() -> None:
    """Let SQLite plan as it does where nobody analyzes, whatever other tests left."""
    if rows("select 1 from sqlite_master where name = 'sqlite_stat1'"):
        execute("delete from sqlite_stat1")
        execute("analyze sqlite_master")


def column(model: str, name: str, row_id: str) -> Any:
    """Read one column of one row of a protocol table by id."""
    [[value]] = rows(f"select {name} from durable_{model} where id = %s", row_id)
    return value


def history(task_id: str) -> list[tuple[str, int, int, str | None]]:
    """Return label, instant, version and pid of each event of a task."""
    from durable.models import HistoryEvent

    events = HistoryEvent.objects.filter(task_id=task_id).order_by("id")
    return [(event.get_event_display(), event.at, event.version, event.pid) for event in events]


def snapshot(store: DatabaseStore) -> ServerState:
    """Read all rows, with everything sorted whose order means nothing."""
    return unordered(read_snapshot(store.connection, store.config))


def unordered(state: ServerState) -> ServerState:
    """Sort what are sets: callbacks, listeners, resumes."""
    return ServerState(
        state.config,
        {
            key: replace(
                one,
                callbacks=tuple(sorted(one.callbacks)),
                listeners=tuple(sorted(one.listeners)),
            )
            for key, one in state.promises.items()
        },
        {key: replace(one, resumes=tuple(sorted(one.resumes))) for key, one in state.tasks.items()},
        dict(state.schedules),
        dict(state.outbox),
    )


def differences(expected: ServerState, found: ServerState) -> list[str]:
    """Say where two states differ."""
    return [
        f"{kind} {key!r}:\n  expected {one.get(key)}\n  found    {other.get(key)}"
        for kind in ("promises", "tasks", "schedules", "outbox")
        for one, other in [(getattr(expected, kind), getattr(found, kind))]
        for key in sorted({*one, *other}, key=str)
        if one.get(key) != other.get(key)
    ]


def drains(steps: Iterable[InternalStep]) -> list[InternalStep]:
    """Return the steps that tell awaiters and listeners."""
    return [step for step in steps if isinstance(step, CallbackDrain | ListenerDrain)]


def drain_memory(memory: MemoryStore, now: int) -> None:
    """Fire the drains that a database store fires with the settlement itself."""
    while steps := drains(memory.due(now)):
        for step in steps:
            memory.fire(step, now=now)


def drain_database(store: DatabaseStore) -> int:
    """Fire the drains that were left to the background; return how many there were."""
    count = 0
    while steps := drains(find_due(store, limit=100).steps):
        assert store.fire(*steps) == len(steps)
        count += len(steps)
    return count


def assert_sound(store: DatabaseStore) -> None:
    """Fail when a row breaks a property of the catalogue, or a mark on it does not fit."""
    now = max(store.clock_now(), store.now())
    found = [str(violation) for violation in check_state(snapshot(store), now)]
    assert not found, "\n".join(found)
    assert_marked(store)


def assert_marked(store: DatabaseStore) -> None:
    """A promise is marked as undrained exactly when it is settled and somebody is still to tell."""
    wrong = rows(
        "select p.id from durable_promise p where p.is_undrained <> (p.state <> 'pending' and ("
        "exists (select 1 from durable_callback c where c.awaited_id = p.id) or "
        "exists (select 1 from durable_listener l where l.promise_id = p.id)))"
    )
    assert wrong == []


def statuses(replies: Sequence[Any]) -> list[int]:
    """Return the status of each reply."""
    return [reply.status for reply in replies]
