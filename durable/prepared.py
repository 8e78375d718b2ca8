"""Statements that PostgreSQL parses and plans once a connection.

Django's own cursors write the values into the text, so that every execution is a new statement.
Preparing follows ``prepare_threshold`` in the database's ``OPTIONS``; without it, and behind a
proxy that pools transactions, the server plans each time.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.db.backends.base.base import BaseDatabaseWrapper

if TYPE_CHECKING:
    from psycopg import Cursor

type Params = Sequence[Any] | Mapping[str, Any]


def execute(connection: BaseDatabaseWrapper, sql: str, params: Params = ()) -> "Cursor[Any]":
    """Run a statement on an open connection to PostgreSQL; raises the driver's own errors."""
    from psycopg import Cursor  # noqa: PLC0415 - psycopg is optional

    return Cursor(connection.connection).execute(sql, params, prepare=True)
