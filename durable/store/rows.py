"""Row tuples and machine objects. The column lists stand here once, for every statement."""

import base64
import binascii
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
from msgspec import json

from durable.machine.state import Execute, Message, Promise, Schedule, Task, Unblock, is_external
from durable.protocol import tags
from durable.protocol.addresses import group_of
from durable.protocol.annotations import Annotation
from durable.protocol.profiles import Profile
from durable.protocol.records import EMPTY, PromiseRecord, Value
from durable.protocol.states import PromiseState, TaskState

PROMISE_COLUMNS = (
    "id",
    "state",
    "timeout_at",
    "created_at",
    "settled_at",
    "param_data",
    "param_headers",
    "value_data",
    "value_headers",
    "tags",
)
TASK_COLUMNS = (
    "state",
    "version",
    "resumes",
    "pid",
    "ttl",
    "expires_at",
    "retry_at",
    "not_before",
    "releases",
    "stuck",
)
SCHEDULE_COLUMNS = (
    "id",
    "cron",
    "promise_id",
    "promise_timeout",
    "promise_param_data",
    "promise_param_headers",
    "promise_tags",
    "created_at",
    "next_run_at",
    "last_run_at",
)
_TASK_AT = len(PROMISE_COLUMNS) + 1
_CALLBACKS_AT = _TASK_AT + len(TASK_COLUMNS)

_string_map = json.Decoder(dict[str, str])
_string_list = json.Decoder(tuple[str, ...])
_PROMISE_STATES = {state.value: state for state in PromiseState}
_TASK_STATES = {state.value: state for state in TaskState}

type Row = Sequence[Any]


class Lineage(NamedTuple):
    """Where a promise stands among others: its tree, and the task whose replay asks for it."""

    origin: str
    replayed_by: str | None


class Steering(NamedTuple):
    """What guides native workers beside the machine's own fields (design: back-off)."""

    not_before: int = 0
    releases: int = 0
    stuck: str | None = None


class Loaded(NamedTuple):
    """What one row of the load statement holds."""

    promise: Promise
    origin: str
    task: Task | None
    steering: Steering


def _decode_value(data: str | None, headers: str | None) -> Value:
    if data is None and headers is None:
        return EMPTY
    return Value(headers=None if headers is None else _string_map.decode(headers), data=data)


def _encode(value: object) -> str:
    return json.encode(value).decode()


def encode_headers(value: Value) -> str | None:
    """Return the headers as JSON text; None when never sent."""
    return None if value.headers is None else _encode(value.headers)


def to_promise(row: Row, callbacks: str | None = None, listeners: str | None = None) -> Promise:
    """Return the promise of a row of ``PROMISE_COLUMNS``; the lists come as JSON text."""
    return Promise(
        id=row[0],
        state=_PROMISE_STATES[row[1]],
        timeout_at=row[2],
        created_at=row[3],
        settled_at=row[4],
        param=_decode_value(row[5], row[6]),
        value=_decode_value(row[7], row[8]),
        tags=_string_map.decode(row[9]),
        callbacks=() if callbacks is None else _string_list.decode(callbacks),
        listeners=() if listeners is None else _string_list.decode(listeners),
    )


def to_task(task_id: str, row: Row) -> Task:
    """Return the task of a row of ``TASK_COLUMNS``."""
    return Task(
        id=task_id,
        state=_TASK_STATES[row[0]],
        version=row[1],
        resumes=_string_list.decode(row[2]),
        pid=row[3],
        ttl=row[4],
        expires_at=row[5],
        retry_at=row[6],
    )


def to_loaded(row: Row) -> Loaded:
    """Return what a row of the load statement holds."""
    promise = to_promise(row, row[_CALLBACKS_AT], row[_CALLBACKS_AT + 1])
    if row[_TASK_AT] is None:
        return Loaded(promise, row[_TASK_AT - 1], None, Steering())
    columns = row[_TASK_AT:_CALLBACKS_AT]
    task = to_task(promise.id, columns)
    return Loaded(promise, row[_TASK_AT - 1], task, Steering(*columns[-3:]))


def to_schedule(row: Row) -> Schedule:
    """Return the schedule of a row of ``SCHEDULE_COLUMNS``."""
    return Schedule(
        id=row[0],
        cron=row[1],
        promise_id=row[2],
        promise_timeout=row[3],
        promise_param=_decode_value(row[4], row[5]),
        promise_tags=_string_map.decode(row[6]),
        created_at=row[7],
        next_run_at=row[8],
        last_run_at=row[9],
    )


def promise_row(promise: Promise, lineage: Lineage, note: Annotation, profile: Profile) -> Row:
    """Return the values of the insert statement for a new promise."""
    return (
        promise.id,
        promise.state.value,
        promise.timeout_at,
        promise.created_at,
        promise.settled_at,
        promise.param.data,
        encode_headers(promise.param),
        promise.value.data,
        encode_headers(promise.value),
        _encode(promise.tags),
        lineage.origin,
        lineage.replayed_by,
        function_of(promise.param),
        is_external(promise.tags, profile),
        lineage.replayed_by is None and promise.tags.get(tags.PARENT, promise.id) == promise.id,
        note.started_at,
        note.attempts,
        note.last_error,
        note.started_by,
        is_undrained(promise),
    )


def is_undrained(promise: Promise) -> bool:
    """Whether somebody still has to be told that the promise settled."""
    return not promise.is_pending and bool(promise.callbacks or promise.listeners)


def task_row(task: Task, steering: Steering, target: str) -> Row:
    """Return the values of the insert statement for a new task."""
    return (
        task.id,
        task.state.value,
        task.version,
        _encode(task.resumes),
        task.pid,
        task.ttl,
        task.expires_at,
        task.retry_at,
        group_of(target),
        *steering,
    )


def task_change_row(before: Task, task: Task, steering: Steering) -> Row:
    """Return the new values of the guarded update, and the old ones that the guard compares."""
    return (
        task.id,
        task.state.value,
        task.version,
        _encode(task.resumes),
        task.pid,
        task.ttl,
        task.expires_at,
        task.retry_at,
        *steering,
        before.state.value,
        before.version,
        before.expires_at or 0,
    )


def schedule_row(schedule: Schedule) -> Row:
    """Return the values of the insert statement for a new schedule."""
    return (
        schedule.id,
        schedule.cron,
        schedule.promise_id,
        schedule.promise_timeout,
        schedule.promise_param.data,
        encode_headers(schedule.promise_param),
        _encode(schedule.promise_tags),
        schedule.created_at,
        schedule.next_run_at,
        schedule.last_run_at,
    )


def message_row(message: Message) -> Row:
    """Return the values of the outbox's upsert."""
    match message:
        case Execute(task_id, version, address):
            return (task_id, address, version)
        case Unblock(promise, address):
            return (promise.id, address, _encode(promise))


def to_message(promise_id: str, address: str, version: int | None, record: str | None) -> Message:
    """Return the message of an outbox row."""
    if version is not None:
        return Execute(promise_id, version, address)
    return Unblock(json.decode(record or "", type=PromiseRecord), address)


_REMEMBERED = 1024
_LONGEST_REMEMBERED = 256
"""Params of steps hold no arguments: they are short, and come again and again."""


class _Invocation(msgspec.Struct):
    func: str


_invocation = json.Decoder(_Invocation)


def function_of(param: Value) -> str | None:
    """Return the name of the function that a param calls (protocol.md 10.3); None for others."""
    if not param.data:
        return None
    if len(param.data) > _LONGEST_REMEMBERED:
        return _function_in(param.data)
    return _remembered_function_in(param.data)


def _function_in(data: str) -> str | None:
    try:
        name = _invocation.decode(base64.b64decode(data, validate=True)).func
    except (binascii.Error, ValueError, RecursionError):
        return None
    return None if "\0" in name else name  # PostgreSQL has no NUL in text


_remembered_function_in = lru_cache(_REMEMBERED)(_function_in)


def records(rows: Iterable[Row], now: int) -> list[PromiseRecord]:
    """Return the projected records of rows of ``PROMISE_COLUMNS``."""
    return [to_promise(row).record(now) for row in rows]
