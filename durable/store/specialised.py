"""Statements of their own for the three programs that are run most: start, checkpoint, ending.

Each is stepped by the machine on the state in which it nearly always finds the database. One
statement then writes what came of it, at the database's time, if that state is what is there; a
program that finds another one is left to the general way. So the machine stays the only rule book,
and differential tests hold the statements to it. On PostgreSQL only: there they spare round trips.

Programs of one batch were all sent before any was answered, so their order among them is free.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from django.db.backends.base.base import BaseDatabaseWrapper
from msgspec.structs import replace

from durable import signals
from durable.machine.state import Config, Promise, Task
from durable.notify import SETTLED, ready
from durable.notify.base import CHANNEL, payload_of
from durable.prepared import Params
from durable.protocol.addresses import group_of
from durable.protocol.annotations import Annotation
from durable.protocol.records import EMPTY, PromiseRecord
from durable.protocol.requests import PromiseCreate, Reply, TaskFence, TaskFulfill
from durable.protocol.states import PromiseState, TaskState
from durable.protocol.tags import TARGET
from durable.protocol.validation import MAX_INSTANT
from durable.store import rows
from durable.store.base import Program
from durable.store.dialects import POSTGRES, Row, encode_list, source_of
from durable.store.flush import is_latent
from durable.store.overlay import Overlay
from durable.store.statements import INSERT_PROMISE

type Clock = tuple[int | None, int]

_PLAIN = Annotation()
_ASSUMED_NOW = 0


class Prepared(NamedTuple):
    """What the machine says of a program on the state assumed, at a time to be filled in.

    key: id of the promise that the statement returns if the state was as assumed.
    """

    program: Program
    key: str
    row: Row
    replies: list[Reply]


class Statement(Protocol):
    """A kind of program with a statement of its own."""

    def prepare(self, program: Program, config: Config) -> Prepared | None:
        """Step a program of this kind; None for any other."""

    def statements(self, batch: Sequence[Prepared], clock: Clock) -> list[tuple[str, Params]]:
        """Return what to execute; the last one returns rows of ``PROMISE_COLUMNS`` or a part."""

    def answer(self, prepared: Prepared, row: Row) -> tuple[list[Reply], int]:
        """Return the replies of a program that was written, and the time of its step."""


def _assume(program: Program, held: tuple[str, int] | None = None) -> Overlay:
    """Return a state in which nothing is there, but for a task that is held at a version."""
    overlay = Overlay()
    for promise_id in program.footprint.promises:
        overlay.add_absent(promise_id)
    if held is not None:
        task_id, version = held
        promise = Promise(
            task_id, PromiseState.PENDING, EMPTY, EMPTY, {}, MAX_INSTANT, _ASSUMED_NOW
        )
        task = Task(task_id, TaskState.ACQUIRED, version)
        overlay.add(rows.Loaded(promise, task_id, task, rows.Steering()))
    return overlay


def _promise_row(promise: Promise, overlay: Overlay, config: Config) -> Row:
    note = overlay.annotations.get(promise.id, _PLAIN)
    return rows.promise_row(promise, overlay.lineages[promise.id], note, config.profile)


def _dated(reply: Reply, now: int) -> Reply:
    """Return a reply as the step at ``now`` gives it, about a promise born in it."""
    if reply.action is not None:
        inner = replace(reply.action, reply=_dated(reply.action.reply, now))
        return replace(reply, action=inner)
    assert reply.promise is not None  # noqa: S101 - creations and settlements show one
    settled_at = None if reply.promise.is_pending else now
    record = replace(reply.promise, created_at=now, settled_at=settled_at)
    return replace(reply, promise=record)


# As in ``statements``, with the time of the step in place of the machine's.
_FILLED_IN = {
    "created_at": "n.now",
    "settled_at": "case when v.state <> 'pending' then n.now end",
    "origin": "n.origin",
}
_BORN = ", ".join(_FILLED_IN.get(name, f"v.{name}") for name in INSERT_PROMISE.columns)
_COLUMNS = ", ".join(INSERT_PROMISE.columns)
_NOW = "greatest(clock.now, p.created_at, t.expires_at - t.ttl)"  # never before what is there
_TOLD = f" cross join (select pg_notify('{CHANNEL}', %s)) told"  # spares a statement
_CLOCK = (  # at another level of isolation nothing is written, and the general way says why
    "with clock as materialized (select {clock} as now"
    " where current_setting('transaction_isolation') = 'read committed')"
)


class _Birth:
    """What the kinds have in common whose statement inserts the promise."""

    def answer(self, prepared: Prepared, row: Row) -> tuple[list[Reply], int]:
        """Fill in the time."""
        return [_dated(reply, row[1]) for reply in prepared.replies], row[1]


class Start(_Birth):
    """A new promise with its task, to be taken at once; there was nothing under the id."""

    _SQL = (
        f"{_CLOCK}, v as ({source_of({**INSERT_PROMISE.columns, 'queue': 'text'})}),"
        f" made as (insert into durable_promise ({_COLUMNS}) select {_BORN} from v,"
        " lateral (select clock.now, v.origin from clock) n"
        " where v.timeout_at > n.now on conflict do nothing returning id, created_at),"
        " tasks as (insert into durable_task"
        " (id, state, version, resumes, retry_at, queue, not_before, releases)"
        " select m.id, 'pending', 0, '[]', m.created_at, v.queue, m.created_at, 0"
        f" from made m join v on v.id = m.id) select id, created_at from made{_TOLD}"
    )

    def prepare(self, program: Program, config: Config) -> Prepared | None:
        """Take a creation with a target."""
        match program.requests:
            case (PromiseCreate(id=key, tags=tags),) if TARGET in tags and not program.preload:
                pass
            case _:
                return None
        overlay = _assume(program)
        replies = overlay.run(program, now=_ASSUMED_NOW, config=config)
        promise, task = overlay.promises.get(key), overlay.tasks.get(key)
        if promise is None or task is None or task.retry_at != _ASSUMED_NOW:
            return None
        row = (*_promise_row(promise, overlay, config), group_of(promise.tags[TARGET]))
        return Prepared(program, key, row, replies)

    def statements(self, batch: Sequence[Prepared], clock: Clock) -> list[tuple[str, Params]]:
        """Insert, and wake the workers of the groups."""
        topics = {ready(group) for one in batch if (group := one.row[-1]) is not None}
        given = encode_list(one.row for one in batch)
        return [(self._SQL, (*clock, given, payload_of(topics)))]


class Checkpoint(_Birth):
    """A step that ends: its promise is born settled, below a task that the caller holds.

    The guard locks the task's row, so that nobody takes the task over before the commit. No row
    comes back when the lease was lost or the child was there already.
    """

    _HELD: Mapping[str, str] = {"task_id": "text", "task_version": "integer"}
    _SQL = (
        f"{_CLOCK}, v as ({source_of({**INSERT_PROMISE.columns, **_HELD})}),"
        " n as materialized (select t.id, t.version, p.origin,"
        f" {_NOW} as now"
        " from (select distinct task_id, task_version from v) w"
        " join durable_task t on t.id = w.task_id and t.version = w.task_version"
        " join durable_promise p on p.id = t.id cross join clock"
        " where t.state = 'acquired' and t.releases = 0 and p.state = 'pending'"
        f" and p.timeout_at > {_NOW}"
        " for no key update of t skip locked)"
        f" insert into durable_promise ({_COLUMNS}) select {_BORN}"
        " from v join n on n.id = v.task_id and n.version = v.task_version"
        " where v.timeout_at > n.now on conflict do nothing returning id, created_at"
    )

    def prepare(self, program: Program, config: Config) -> Prepared | None:
        """Take fenced writes to one new promise that settle it."""
        held = key = None
        for request in program.requests:
            if not isinstance(request, TaskFence):
                return None
            held = held or (request.id, request.version)
            key = key or request.action.id
            if (request.id, request.version) != held or request.action.id != key:
                return None
        if held is None or key is None or key == held[0] or program.preload:
            return None
        overlay = _assume(program, held)
        replies = overlay.run(program, now=_ASSUMED_NOW, config=config)
        promise = overlay.promises.get(key)
        if (
            promise is None
            or promise.is_pending
            or promise.is_targeted
            or is_latent(promise, config)
            or not all(reply.action and reply.action.reply.promise for reply in replies)
        ):
            return None
        return Prepared(program, key, (*_promise_row(promise, overlay, config), *held), replies)

    def statements(self, batch: Sequence[Prepared], clock: Clock) -> list[tuple[str, Params]]:
        """Lock and insert."""
        return [(self._SQL, (*clock, encode_list(one.row for one in batch)))]


class Ending:
    """A task that is fulfilled while nobody awaits it.

    Who registers to be told holds the promise's advisory lock. So it is tried for first, in a
    statement of its own: the second one's snapshot is then younger than what others committed.
    """

    _COLUMNS: Mapping[str, str] = {
        "id": "text",
        "version": "integer",
        "state": "text",
        "value_data": "text",
        "value_headers": "jsonb",
        "is_noted": "boolean",
        "started_at": "bigint",
        "attempts": "integer",
        "last_error": "text",
    }
    _SQL = (
        f"{_CLOCK}, v as ({source_of(_COLUMNS)}),"
        f" n as materialized (select v.*, {_NOW} as now"
        " from v join durable_task t on t.id = v.id and t.version = v.version"
        " join durable_promise p on p.id = v.id cross join clock"
        f" where v.id = {POSTGRES.HELD}"
        f" and t.state = 'acquired' and p.state = 'pending' and p.timeout_at > {_NOW}"
        " and not exists (select 1 from durable_callback c where c.awaited_id = p.id)"
        " and not exists (select 1 from durable_listener l where l.promise_id = p.id)"
        " for no key update of t, p skip locked),"
        " ended as (update durable_task t set state = 'fulfilled', pid = null, ttl = null,"
        " expires_at = null, resumes = '[]', not_before = 0, releases = 0, stuck = null"
        " from n where t.id = n.id),"
        " settled as (update durable_promise p set state = n.state, settled_at = n.now,"
        " value_data = n.value_data, value_headers = n.value_headers,"
        " started_at = case when n.is_noted then n.started_at else p.started_at end,"
        " attempts = case when n.is_noted then n.attempts else p.attempts end,"
        " last_error = case when n.is_noted then n.last_error else p.last_error end"
        f" from n where p.id = n.id returning {', '.join(f'p.{c}' for c in rows.PROMISE_COLUMNS)})"
        f" select {', '.join(rows.PROMISE_COLUMNS)} from settled{_TOLD}"
    )

    def prepare(self, program: Program, config: Config) -> Prepared | None:
        """Take a fulfilment."""
        match program.requests:
            case (TaskFulfill(id=task_id, version=version),) if not program.preload:
                pass
            case _:
                return None
        overlay = _assume(program, (task_id, version))
        replies = overlay.run(program, now=_ASSUMED_NOW, config=config)
        promise = overlay.promises.get(task_id)
        if promise is None or promise.is_pending:
            return None
        note = overlay.annotations.get(task_id)
        value = promise.value
        noted = note or _PLAIN
        row = (
            *(task_id, version, promise.state.value, value.data, rows.encode_headers(value)),
            *(note is not None, noted.started_at, noted.attempts, noted.last_error),
        )
        return Prepared(program, task_id, row, replies)

    def statements(self, batch: Sequence[Prepared], clock: Clock) -> list[tuple[str, Params]]:
        """Lock; then update, and tell those who wait for a result."""
        names = encode_list(sorted(one.key for one in batch))
        given = encode_list(one.row for one in batch)
        return [
            (POSTGRES.TRY, (names,)),
            (self._SQL, (*clock, given, payload_of({SETTLED}))),
        ]

    def answer(self, prepared: Prepared, row: Row) -> tuple[list[Reply], int]:
        """Show the promise as it is now."""
        promise = rows.to_promise(row)
        now = promise.settled_at or 0
        record: PromiseRecord = promise.record(now)
        return [replace(reply, promise=record) for reply in prepared.replies], now


_START, _CHECKPOINT, _ENDING = Start(), Checkpoint(), Ending()


def run(
    connection: BaseDatabaseWrapper, programs: Sequence[Program], config: Config, clock: Clock
) -> tuple[dict[Program, list[Reply]], int]:
    """Write the programs that have a statement, in one transaction; return their replies.

    The second value is the newest time used. Programs without an answer were not run. Outside a
    transaction of the caller's, on PostgreSQL.
    """
    batches = _sort(programs, config)
    if not batches:
        return {}, 0
    todo = [
        (kind, POSTGRES.text(sql), params)
        for kind, batch in batches.items()
        for sql, params in kind.statements([*batch.values()], clock)
    ]
    # statements of a pipeline, without ``begin``, are one transaction up to its end
    with POSTGRES.pipeline(connection) if len(todo) > 1 else connection.wrap_database_errors:
        cursors = {kind: POSTGRES.send(connection, sql, params) for kind, sql, params in todo}
    answered, newest = {}, 0
    for kind, batch in batches.items():
        for row in cursors[kind].fetchall():
            prepared = batch[row[0]]
            answered[prepared.program], now = kind.answer(prepared, row)
            newest = max(newest, now)
    return answered, newest


def _sort(programs: Sequence[Program], config: Config) -> dict[Statement, dict[str, Prepared]]:
    """Prepare what has a statement, by kind and promise; a promise's second program is left."""
    tells_of_roots = signals.promises_created.has_listeners(
        signals.Root
    ) or signals.promises_settled.has_listeners(signals.Root)
    kinds = (_CHECKPOINT,) if tells_of_roots else (_START, _CHECKPOINT, _ENDING)
    batches: dict[Statement, dict[str, Prepared]] = {}
    for program in programs:
        for kind in kinds:
            if prepared := kind.prepare(program, config):
                batches.setdefault(kind, {}).setdefault(prepared.key, prepared)
                break
    return batches
