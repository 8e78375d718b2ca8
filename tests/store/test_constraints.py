"""What a row may look like, and that the database itself refuses any other."""

import json
from typing import Any

import pytest
from django.db import IntegrityError, connection, models, transaction

from durable.models import (
    Callback,
    HistoryEvent,
    Listener,
    OutboxMessage,
    Promise,
    Schedule,
    Task,
    Worker,
)
from durable.models.fields import ProtocolRowError
from durable.protocol.states import PromiseState, TaskState
from tests.store.support import rows

pytestmark = pytest.mark.usefixtures("database")

MODELS = (Promise, Callback, Listener, Task, HistoryEvent, OutboxMessage, Schedule, Worker)
PROTOCOL = (Promise, Callback, Listener, Task, HistoryEvent, OutboxMessage, Schedule)

PROMISE = {
    "id": "a",
    "state": "pending",
    "timeout_at": 100,
    "created_at": 10,
    "tags": "{}",
    "origin": "a",
    "is_external": True,
    "is_root": True,
    "is_undrained": False,
}
SETTLED = {"state": "resolved", "settled_at": 50}
TASK = {
    "id": "a",
    "state": "pending",
    "version": 0,
    "resumes": "[]",
    "retry_at": 10,
    "not_before": 0,
    "releases": 0,
}
LEASED = {"state": "acquired", "version": 1, "pid": "p", "ttl": 5, "expires_at": 15}
ACQUIRED = LEASED | {"retry_at": None}
CALLBACK = {"awaited_id": "a", "awaiter_id": "b"}
LISTENER = {"promise_id": "a", "address": "http://x"}
EXECUTE = {"promise_id": "a", "address": "g", "version": 0}
UNBLOCK = {"promise_id": "a", "address": "g", "record": "{}"}
SCHEDULE = {
    "id": "s",
    "cron": "* * * * *",
    "promise_id": "x",
    "promise_timeout": 1,
    "promise_tags": "{}",
    "created_at": 10,
    "next_run_at": 20,
}
HISTORY = {"task_id": "a", "event": 1, "at": 1, "version": 1}
WORKER = {
    "pid": "w",
    "groups": "[]",
    "functions": "[]",
    "host": "h",
    "system_pid": 1,
    "concurrency": 1,
    "started_at": 1,
    "seen_at": 1,
    "is_draining": False,
    "running": "[]",
}

LEGAL: list[tuple[type[models.Model], dict[str, Any]]] = [
    (Promise, PROMISE | {"id": "b", "origin": "b"}),
    *(
        (Promise, PROMISE | SETTLED | {"id": state, "state": state})
        for state in (PromiseState.RESOLVED, PromiseState.REJECTED, PromiseState.REJECTED_CANCELED)
    ),
    (Promise, PROMISE | {"id": "late", "state": "rejected_timedout", "settled_at": 100}),
    (Promise, PROMISE | {"id": "timer", "state": "resolved", "settled_at": 100}),
    (Promise, PROMISE | SETTLED | {"id": "full", "value_data": "x", "value_headers": "{}"}),
    (Promise, PROMISE | {"id": "dead", "created_at": 100} | SETTLED | {"settled_at": 100}),
    (Task, TASK | ACQUIRED),
    (Task, TASK | {"id": "b", "state": TaskState.SUSPENDED, "retry_at": None, "version": 3}),
    (Callback, CALLBACK),
    (Listener, LISTENER),
    (OutboxMessage, EXECUTE),
    (OutboxMessage, UNBLOCK),
    (OutboxMessage, UNBLOCK | {"address": "h"}),
    (Schedule, SCHEDULE),
    (Schedule, SCHEDULE | {"id": "t", "last_run_at": 19}),
    (HistoryEvent, HISTORY),
    (Worker, WORKER),
]
"""Rows that must be possible, in an order that respects foreign keys; promise ``a`` is there."""

ILLEGAL: list[tuple[str, type[models.Model], dict[str, Any]]] = [
    ("durable_promise_state_known", Promise, SETTLED | {"state": "done"}),
    ("durable_promise_settled_iff_not_pending", Promise, {"settled_at": 50}),
    ("durable_promise_settled_iff_not_pending", Promise, {"state": "resolved"}),
    ("durable_promise_pending_has_no_value", Promise, {"value_data": ""}),
    ("durable_promise_pending_has_no_value", Promise, {"value_headers": "{}"}),
    ("durable_promise_times_in_order", Promise, {"created_at": 101}),
    ("durable_promise_times_in_order", Promise, SETTLED | {"settled_at": 101}),
    ("durable_promise_times_in_order", Promise, SETTLED | {"settled_at": 9}),
    (
        "durable_promise_timedout_at_deadline",
        Promise,
        {"state": "rejected_timedout", "settled_at": 99},
    ),
    ("attempts", Promise, {"attempts": -1}),
    ("durable_task_state_known", Task, {"state": "running", "retry_at": None}),
    ("durable_task_leased_iff_acquired", Task, ACQUIRED | {"version": 0}),
    ("durable_task_leased_iff_acquired", Task, ACQUIRED | {"pid": None}),
    ("durable_task_leased_iff_acquired", Task, ACQUIRED | {"ttl": None}),
    ("durable_task_leased_iff_acquired", Task, ACQUIRED | {"expires_at": None}),
    ("durable_task_leased_iff_acquired", Task, {"pid": "p"}),
    ("durable_task_leased_iff_acquired", Task, {"ttl": 5}),
    ("durable_task_leased_iff_acquired", Task, {"expires_at": 5}),
    ("durable_task_retried_iff_pending", Task, {"retry_at": None}),
    ("durable_task_retried_iff_pending", Task, {"state": "suspended"}),
    ("durable_task_retried_iff_pending", Task, {"state": "halted"}),
    ("durable_task_retried_iff_pending", Task, {"state": "fulfilled"}),
    ("durable_task_retried_iff_pending", Task, LEASED),
    ("version", Task, {"version": -1}),
    ("releases", Task, {"releases": -1}),
    ("durable_callback_awaiter_is_not_self", Callback, {"awaiter_id": "a"}),
    ("durable_outbox_execute_or_unblock", OutboxMessage, {"record": "{}"}),
    ("durable_outbox_execute_or_unblock", OutboxMessage, {"version": None}),
    ("version", OutboxMessage, {"version": -1}),
    ("durable_schedule_times_in_order", Schedule, {"created_at": 21}),
    ("durable_schedule_times_in_order", Schedule, {"last_run_at": 20}),
    ("version", HistoryEvent, {"version": -1}),
    ("system_pid", Worker, {"system_pid": -1}),
    ("concurrency", Worker, {"concurrency": -1}),
]
DOUBLE: list[tuple[str, type[models.Model], dict[str, Any], dict[str, Any]]] = [
    ("durable_promise", Promise, PROMISE | {"id": "b"}, PROMISE | {"id": "b", "timeout_at": 200}),
    ("durable_task", Task, TASK, TASK),
    ("durable_callback", Callback, CALLBACK, CALLBACK),
    ("durable_listener", Listener, LISTENER, LISTENER),
    ("durable_schedule", Schedule, SCHEDULE, SCHEDULE),
    ("durable_worker", Worker, WORKER, WORKER),
    ("durable_outbox_execute_key", OutboxMessage, EXECUTE, EXECUTE | {"address": "h"}),
    ("durable_outbox_unblock_key", OutboxMessage, UNBLOCK, UNBLOCK | {"record": "[]"}),
]
DANGLING: list[tuple[type[models.Model], dict[str, Any]]] = [
    (Task, TASK | {"id": "missing"}),
    (Callback, CALLBACK | {"awaited_id": "missing"}),
    (Callback, CALLBACK | {"awaiter_id": "missing"}),
    (Listener, LISTENER | {"promise_id": "missing"}),
]
BASES = {
    Promise: PROMISE,
    Task: TASK,
    Callback: CALLBACK,
    OutboxMessage: EXECUTE,
    Schedule: SCHEDULE,
    HistoryEvent: HISTORY,
    Worker: WORKER,
}


def insert(model: type[models.Model], row: dict[str, Any]) -> None:
    """Insert without asking Django what it thinks of the row."""
    known = {field.column for field in model._meta.concrete_fields}
    row = {name: value for name, value in row.items() if name in known}
    names = ", ".join(f'"{name}"' for name in row)
    with connection.cursor() as cursor:
        cursor.execute(
            f"insert into {model._meta.db_table} ({names}) values ({', '.join(['%s'] * len(row))})",
            list(row.values()),
        )


def test_every_check_and_unique_constraint_is_tried() -> None:
    tried = {name for name, *_ in ILLEGAL} | {name for name, *_ in DOUBLE}
    declared = {one.name for model in MODELS for one in model._meta.constraints}
    assert declared - tried == set()
    positive = {
        field.column
        for model in MODELS
        for field in model._meta.concrete_fields
        if isinstance(field, models.PositiveIntegerField)
    }
    assert positive - {"attempts"} - tried == set()


def test_every_foreign_key_is_tried() -> None:
    tried = {(model, name) for model, row in DANGLING for name in row if row[name] == "missing"}
    declared = {
        (model, field.column)
        for model in MODELS
        for field in model._meta.concrete_fields
        if field.is_relation
    }
    assert declared == tried


def test_legal_rows_are_taken() -> None:
    insert(Promise, PROMISE)
    for model, row in LEGAL:
        insert(model, row)
    connection.check_constraints()


@pytest.mark.parametrize(
    ("name", "model", "change"),
    ILLEGAL,
    ids=[f"{name} {json.dumps(change)}" for name, _, change in ILLEGAL],
)
def test_an_illegal_row_is_refused(
    name: str, model: type[models.Model], change: dict[str, Any]
) -> None:
    if model is not Promise:
        insert(Promise, PROMISE)
    with pytest.raises(IntegrityError) as refused, transaction.atomic():
        insert(model, BASES[model] | change)
    assert name in str(refused.value)


@pytest.mark.parametrize(
    ("name", "model", "one", "other"), DOUBLE, ids=[name for name, *_ in DOUBLE]
)
def test_a_second_row_with_the_same_key_is_refused(
    name: str, model: type[models.Model], one: dict[str, Any], other: dict[str, Any]
) -> None:
    insert(Promise, PROMISE)
    if model is Callback:
        insert(Promise, PROMISE | {"id": "b"})
    insert(model, one)
    with pytest.raises(IntegrityError) as refused, transaction.atomic():
        insert(model, other)
    assert name in str(refused.value) or "UNIQUE constraint failed" in str(refused.value)


@pytest.mark.parametrize(("model", "row"), DANGLING)
def test_a_row_about_a_missing_promise_is_refused(
    model: type[models.Model], row: dict[str, Any]
) -> None:
    insert(Promise, PROMISE)
    insert(Promise, PROMISE | {"id": "b"})
    with pytest.raises(IntegrityError, match=r"(?i)foreign key"), transaction.atomic():
        insert(model, row)


@pytest.mark.parametrize("model", [Task, Callback, Listener])
def test_a_promise_that_others_are_about_cannot_be_deleted(model: type[models.Model]) -> None:
    insert(Promise, PROMISE)
    insert(Promise, PROMISE | {"id": "b"})
    insert(model, {Task: TASK, Callback: CALLBACK, Listener: LISTENER}[model])
    with (
        pytest.raises(IntegrityError, match=r"(?i)foreign key"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute("delete from durable_promise where id = 'a'")


@pytest.mark.parametrize("model", PROTOCOL, ids=lambda model: model.__name__)
def test_protocol_rows_are_written_by_the_store_alone(model: type[models.Model]) -> None:
    found = model._default_manager
    nothing = {f"{field.name}__isnull": True for field in model._meta.concrete_fields[:1]}
    attempts = [
        lambda: model().save(),
        lambda: model().delete(),
        found.create,
        lambda: found.get_or_create(**nothing),
        lambda: found.update_or_create(**nothing),
        lambda: found.bulk_create([model()]),
        lambda: found.bulk_update([model()], ["pk"]),
        lambda: found.all().update(),
        lambda: found.all().delete(),
        lambda: found.filter().delete(),
    ]
    for attempt in attempts:
        with pytest.raises(ProtocolRowError) as refused:
            attempt()
        assert str(refused.value) == (
            f"{model.__name__} rows are written by durable.store only; "
            "use durable.promises or a request"
        )


@pytest.mark.parametrize("manager", ["callbacks", "awaits", "listeners"])
def test_related_managers_do_not_write_either(manager: str) -> None:
    insert(Promise, PROMISE)
    related = getattr(Promise.objects.get(), manager)
    with pytest.raises(ProtocolRowError):
        related.create()
    with pytest.raises(ProtocolRowError):
        related.all().delete()


@pytest.mark.asyncio
@pytest.mark.parametrize("model", PROTOCOL, ids=lambda model: model.__name__)
async def test_protocol_rows_are_not_written_asynchronously(model: type[models.Model]) -> None:
    for attempt in (model().asave, model().adelete, model._default_manager.acreate):
        with pytest.raises(ProtocolRowError):
            await attempt()


def test_ids_are_ordered_by_their_bytes() -> None:
    for one in ("b", "B", "a", "ä", "Z", "a:1", "a.1", "a1"):
        insert(Promise, PROMISE | {"id": one, "origin": one})
    expected = sorted(["b", "B", "a", "ä", "Z", "a:1", "a.1", "a1"], key=str.encode)
    assert list(Promise.objects.order_by("id").values_list("id", flat=True)) == expected
    assert [one for [one] in rows("select id from durable_promise order by id")] == expected
    assert list(Promise.objects.filter(id__gt="a").order_by("id").values_list("id", flat=True)) == [
        one for one in expected if one.encode() > b"a"
    ]


def test_rows_name_themselves() -> None:
    insert(Promise, PROMISE)
    insert(Promise, PROMISE | {"id": "b"})
    for model, row in LEGAL[8:]:
        insert(model, row)
    assert [str(one) for model in MODELS for one in model._default_manager.order_by("pk")[:1]] == [
        "a",
        "b awaits a",
        "http://x listens to a",
        "a",
        "a acquired at 1",
        "a to g",
        "s",
        "w",
    ]
