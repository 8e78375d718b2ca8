"""Locks by name, for what has no row that could be held.

Transactions that hold several things take them in this order, and leave out what they do not need:
the answer that is on its way, the link, the user, the names of questions, the engine's lock of the
promise, the rows of the question, those of who watches its times, the engine's lock of that.
"""

from collections.abc import Iterable

from django.db import connections

from durable.conf import database_alias

_LOCK = "select pg_advisory_xact_lock(hashtextextended(%s, 0))"


def hold_names(names: Iterable[str]) -> None:
    """Wait until no other transaction holds any of these names, and hold them until this one ends.

    In one order, so that two never wait for each other. On SQLite there is nothing to do: only one
    transaction writes there at a time, from its beginning.
    """
    connection = connections[database_alias()]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            for name in sorted(names):
                cursor.execute(_LOCK, [name])
