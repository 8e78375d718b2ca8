"""Statements that PostgreSQL parses and plans once a connection.

Django's own cursors write the values into the text, so that every execution is a new statement.
Preparing follows ``prepare_threshold`` in the database's ``OPTIONS``; without it, and behind a
proxy that pools transactions, the server plans each time.

A plan is kept until statistics change, however much a table has grown. One that was made while the
tables were empty reads them from end to end until autovacuum comes by, a minute or more later, so
plans are made anew now and then: after a second, two, four, and at last once a minute.
"""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from django.db.backends.base.base import BaseDatabaseWrapper

if TYPE_CHECKING:
    from psycopg import Connection, Cursor

type Params = Sequence[Any] | Mapping[str, Any]

_SHORTEST, _LONGEST = 1.0, 60.0


class _Plans:
    """When the plans of a connection are made anew; times in seconds of the monotonic clock."""

    __slots__ = ("_pause", "due_at")

    def __init__(self, now: float) -> None:
        self._pause = _SHORTEST
        self.due_at = now + self._pause

    def wait_longer(self, now: float) -> None:
        self._pause = min(self._pause * 2, _LONGEST)
        self.due_at = now + self._pause


_plans: "WeakKeyDictionary[Connection[Any], _Plans]" = WeakKeyDictionary()


def execute(connection: BaseDatabaseWrapper, sql: str, params: Params = ()) -> "Cursor[Any]":
    """Run a statement on an open connection to PostgreSQL; raises the driver's own errors."""
    from psycopg import Cursor  # noqa: PLC0415 - psycopg is optional

    raw = connection.connection
    _plan_anew_when_due(raw)
    return Cursor(raw).execute(sql, params, prepare=True)


def _plan_anew_when_due(raw: "Connection[Any]") -> None:
    if raw.prepare_threshold is None:
        return
    now = time.monotonic()
    plans = _plans.get(raw)
    if plans is None:
        _plans[raw] = _Plans(now)
    elif now >= plans.due_at:
        plans.wait_longer(now)
        raw.execute("discard plans")
