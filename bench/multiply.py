"""Multiplies executions in SQL: the same rows and indexes, without the hours of starting them.

The rows go past the store, into a database that is thrown away.
"""

from typing import NamedTuple

from django.db import connection, models

from dashboard.models import Decider, HumanTask
from durable.models import Callback, HistoryEvent, Promise, Task


class _Table(NamedTuple):
    """Columns that hold ids, and those whose JSON does; instants, which are spread."""

    model: type[models.Model]
    ids: tuple[str, ...]
    documents: tuple[str, ...] = ()
    instants: tuple[str, ...] = ()


_TABLES = (
    _Table(Promise, ("id", "origin", "replayed_by"), ("tags",), ("created_at",)),
    _Table(Task, ("id",)),
    _Table(Callback, ("awaited_id", "awaiter_id")),
    _Table(HistoryEvent, ("task_id",)),
    _Table(HumanTask, ("promise_id", "origin"), instants=("created_at",)),
    _Table(Decider, ("task_id",)),
)

_SETTLING = {"postgresql": ("vacuum analyze", "checkpoint"), "sqlite": ("analyze",)}
"""What a server would do by itself in the minutes after, in the middle of what is measured."""


def multiply(prefix: str, times: int) -> None:
    """Make of each execution whose id has the prefix ``times``, in all tables that know it."""
    if times < 2:
        return
    with connection.cursor() as cursor:
        for table in _TABLES:
            cursor.execute(_statement(table), [times - 1, f"{prefix}%"])
        for statement in _SETTLING[connection.vendor]:
            cursor.execute(statement)


def _statement(table: _Table) -> str:
    columns = {
        str(field.column): _expression(table, str(field.column))
        for field in table.model._meta.concrete_fields
        if not isinstance(field, models.AutoField)
    }
    name, first = table.model._meta.db_table, table.ids[0]
    return (
        f"insert into {name} ({', '.join(columns)})"
        " with recursive copies(number) as"
        " (select 1 union all select number + 1 from copies where number < %s)"
        f" select {', '.join(columns.values())} from {name} t, copies"
        f" where t.{first} like %s and {_origin_in(f't.{first}')} not like '%%~%%'"
    )


def _expression(table: _Table, column: str) -> str:
    place = f"t.{column}"
    copied = "'~' || cast(copies.number as text)"
    if column in table.ids:
        origin = _origin_in(place)
        return f"{origin} || {copied} || substr({place}, length({origin}) + 1)"
    if column in table.documents:
        origin = _origin_in(f"t.{table.ids[0]}")
        text = f"replace(cast({place} as text), {origin}, {origin} || {copied})"
        return f"cast({text} as jsonb)" if connection.vendor == "postgresql" else text
    return f"{place} - copies.number" if column in table.instants else place


def _origin_in(place: str) -> str:
    if connection.vendor == "postgresql":
        return f"split_part({place}, ':', 1)"
    return f"substr({place}, 1, instr({place} || ':', ':') - 1)"
