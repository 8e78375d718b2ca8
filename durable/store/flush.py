"""Write what a transaction changed: set-based statements, guarded by what was read."""

import logging
from collections.abc import Iterator
from typing import NamedTuple

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.dispatch import Signal

from durable import signals
from durable.machine.state import Config, Execute, Promise, Task, is_external
from durable.notify import LATENT, SETTLED, ready
from durable.notify.base import DUE, OUTBOX
from durable.protocol import tags
from durable.protocol.addresses import group_of
from durable.protocol.annotations import Annotation
from durable.protocol.states import TaskState
from durable.store import rows, statements
from durable.store.base import StoreConflictError
from durable.store.dialects import Row, get_dialect
from durable.store.overlay import Overlay
from durable.store.statements import Change, Update

_logger = logging.getLogger(__name__)
_PLAIN = Annotation()
_SOON_MS = 2000
"""Sweepers look every second and a half by themselves; only earlier deadlines need a hint."""


class Difference(NamedTuple):
    """What a transaction created and settled."""

    created: list[Promise]
    settled: list[Promise]
    tasks: list[Task]


def flush(
    connection: BaseDatabaseWrapper, overlay: Overlay, config: Config, *, now: int
) -> frozenset[str]:
    """Write the difference, send the signals, announce the topics, and return them.

    Raises ``StoreConflictError`` when a row is not what it was when it was read.
    """
    difference = _difference(overlay)
    changes = [change for change in _changes(overlay, difference, config) if change[1]]
    if not changes:
        return frozenset()
    topics = frozenset(_topics(overlay, difference, config, now))
    told = list(_told(difference, config))
    dialect = get_dialect(connection)
    counts, savepoint = dialect.write(connection, changes, topics, with_savepoint=bool(told))
    for (statement, written), count in zip(changes, counts, strict=True):
        if _is_guarded(statement) and count != len(written):
            raise StoreConflictError(statement.table)
    for one in told:
        _tell(connection, one, overlay, savepoint, now)
        savepoint = None
    return topics


def _is_guarded(statement: Change) -> bool:
    return isinstance(statement, Update) or statement in {
        statements.INSERT_PROMISE,
        statements.INSERT_TASK,
        statements.INSERT_SCHEDULE,
    }


def _difference(overlay: Overlay) -> Difference:
    created, settled = [], []
    for promise_id, promise in overlay.promises.items():
        before = overlay.loaded_promises[promise_id]
        if promise is None or promise is before:
            continue
        if before is None:
            created.append(promise)
        if not promise.is_pending and (before is None or before.is_pending):
            settled.append(promise)
    tasks = [
        task
        for task_id, task in overlay.tasks.items()
        if task is not None
        and (task is not overlay.loaded_tasks[task_id] or task_id in overlay.progressed)
    ]
    return Difference(created, settled, tasks)


def _changes(
    overlay: Overlay, difference: Difference, config: Config
) -> Iterator[tuple[Change, list[Row]]]:
    notes, lineages = overlay.annotations, overlay.lineages
    yield (
        statements.INSERT_PROMISE,
        [
            rows.promise_row(one, lineages[one.id], notes.get(one.id, _PLAIN), config.profile)
            for one in difference.created
        ],
    )
    yield from _promise_changes(overlay, difference)
    yield from _task_changes(overlay, difference)
    yield from _subscription_changes(overlay)
    yield statements.INSERT_HISTORY, [tuple(event) for event in overlay.events]
    messages = overlay.messages.values()
    yield (
        statements.SEND_EXECUTE,
        [rows.message_row(one) for one in messages if isinstance(one, Execute)],
    )
    yield (
        statements.SEND_UNBLOCK,
        [rows.message_row(one) for one in messages if not isinstance(one, Execute)],
    )
    yield from _schedule_changes(overlay)


def _promise_changes(
    overlay: Overlay, difference: Difference
) -> Iterator[tuple[Change, list[Row]]]:
    created = {promise.id for promise in difference.created}
    settled = [promise for promise in difference.settled if promise.id not in created]
    yield (
        statements.SETTLE_PROMISE,
        [
            (
                one.id,
                one.state.value,
                one.settled_at,
                one.value.data,
                rows.encode_headers(one.value),
                rows.is_undrained(one),
                "pending",
            )
            for one in settled
        ],
    )
    drained = [
        before.id
        for before in overlay.loaded_promises.values()
        if before is not None
        and rows.is_undrained(before)
        and (after := overlay.promises[before.id]) is not None
        and not rows.is_undrained(after)
    ]
    yield statements.MARK_DRAINED, [(promise_id, False, True) for promise_id in drained]
    yield (
        statements.ANNOTATE_PROMISE,
        [
            (promise_id, note.started_at, note.attempts, note.last_error)
            for promise_id, note in overlay.annotations.items()
            if promise_id not in created
        ],
    )


def _task_changes(overlay: Overlay, difference: Difference) -> Iterator[tuple[Change, list[Row]]]:
    steering = overlay.steering
    inserts, updates = [], []
    for task in difference.tasks:
        before = overlay.loaded_tasks[task.id]
        if before is None:
            promise = overlay.promises[task.id]
            target = "" if promise is None else promise.tags[tags.TARGET]
            inserts.append(rows.task_row(task, steering[task.id], target))
        else:
            updates.append(rows.task_change_row(before, task, steering[task.id]))
    yield statements.INSERT_TASK, inserts
    yield statements.UPDATE_TASK, updates


def _subscription_changes(overlay: Overlay) -> Iterator[tuple[Change, list[Row]]]:
    added: list[Row] = []
    removed: list[Row] = []
    listening: list[Row] = []
    deaf: list[Row] = []
    for promise_id, promise in overlay.promises.items():
        before = overlay.loaded_promises[promise_id]
        if promise is None or promise is before:
            continue
        had = () if before is None else before.callbacks
        added += [(promise_id, one) for one in promise.callbacks if one not in had]
        removed += [(promise_id, one) for one in had if one not in promise.callbacks]
        had = () if before is None else before.listeners
        listening += [(promise_id, one) for one in promise.listeners if one not in had]
        deaf += [(promise_id, one) for one in had if one not in promise.listeners]
    yield statements.INSERT_CALLBACK, added
    yield statements.DELETE_CALLBACK, removed
    yield statements.INSERT_LISTENER, listening
    yield statements.DELETE_LISTENER, deaf


def _schedule_changes(overlay: Overlay) -> Iterator[tuple[Change, list[Row]]]:
    inserted: list[Row] = []
    advanced: list[Row] = []
    deleted: list[Row] = []
    for schedule_id, schedule in overlay.schedules.items():
        before = overlay.loaded_schedules[schedule_id]
        if schedule is before:
            continue
        if schedule is None:
            deleted.append((schedule_id,))
        elif before is None:
            inserted.append(rows.schedule_row(schedule))
        elif (before.cron, before.created_at) == (schedule.cron, schedule.created_at):
            row = (schedule_id, schedule.next_run_at, schedule.last_run_at, before.next_run_at)
            advanced.append(row)
        else:  # deleted and created again by one program
            deleted.append((schedule_id,))
            inserted.append(rows.schedule_row(schedule))
    yield statements.DELETE_SCHEDULE, deleted
    yield statements.INSERT_SCHEDULE, inserted
    yield statements.ADVANCE_SCHEDULE, advanced


def is_latent(promise: Promise, config: Config) -> bool:
    """Whether only the outside can settle it: a person, a webhook, another system."""
    return (
        is_external(promise.tags, config.profile)
        and not promise.is_targeted
        and not promise.is_timer
    )


class _Told(NamedTuple):
    """A signal that somebody listens to, and what it is about."""

    signal: Signal
    sender: type
    promises: list[Promise]


def _told(difference: Difference, config: Config) -> Iterator[_Told]:
    for signal, promises in (
        (signals.promises_created, difference.created),
        (signals.promises_settled, difference.settled),
    ):
        latent = [promise for promise in promises if is_latent(promise, config)]
        roots = [promise for promise in promises if _is_root(promise)]
        for sender, some in ((signals.Latent, latent), (signals.Root, roots)):
            if some and signal.has_listeners(sender):
                yield _Told(signal, sender, some)


def _is_root(promise: Promise) -> bool:
    return promise.is_targeted and promise.tags.get(tags.PARENT, promise.id) == promise.id


def _tell(
    connection: BaseDatabaseWrapper,
    told: _Told,
    overlay: Overlay,
    savepoint: str | None,
    now: int,
) -> None:
    """Send a signal; a receiver never fails the protocol, what it wrote is undone then.

    The savepoint came with the changes, and ends with the transaction: ``atomic`` would cost two
    round trips more.
    """
    using = connection.alias
    undo_to = savepoint or connection.savepoint()
    assert undo_to is not None  # noqa: S101 - a flush is inside a transaction
    records = [promise.record(now) for promise in told.promises]
    settlers = {one.id: overlay.settlers[one.id] for one in records if one.id in overlay.settlers}
    hooks = len(connection.run_on_commit)
    extra = {"action": "signal", "sender": told.sender.__name__}
    try:
        told.signal.send(told.sender, promises=records, settlers=settlers, using=using)
        if not transaction.get_rollback(using=using):
            return
        _logger.error("receiver failed", extra=extra)  # it kept its error to itself
    except Exception:
        _logger.exception("receiver failed", extra=extra)
    transaction.set_rollback(False, using=using)
    connection.savepoint_rollback(undo_to)
    del connection.run_on_commit[hooks:]
    signals.promises_missed.send_robust(
        told.sender, promises=records, settlers=settlers, using=using
    )


def _topics(overlay: Overlay, difference: Difference, config: Config, now: int) -> Iterator[str]:
    yield from _task_topics(overlay, difference, now)
    if overlay.messages:
        yield OUTBOX
    if any(is_latent(one, config) for one in difference.created):
        yield LATENT
    if any(
        one.is_pending and one.timeout_at < now + _SOON_MS and is_external(one.tags, config.profile)
        for one in difference.created
    ):
        yield DUE
    for promise in difference.settled:
        if is_latent(promise, config):
            yield from (LATENT, SETTLED)
        elif _is_root(promise):
            yield SETTLED
        if rows.is_undrained(promise):
            yield DUE


def _task_topics(overlay: Overlay, difference: Difference, now: int) -> Iterator[str]:
    for task in difference.tasks:
        before = overlay.loaded_tasks[task.id]
        was_pending = before is not None and before.state is TaskState.PENDING
        promise = overlay.promises[task.id]
        if task.state is not TaskState.PENDING or was_pending or promise is None:
            continue
        queue = group_of(promise.tags[tags.TARGET])
        if queue is not None:
            yield ready(queue) if overlay.steering[task.id].not_before <= now else DUE
