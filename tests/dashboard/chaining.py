"""The chain of the audit trail waits for whatever runs on the same server, other tests too."""

from django.db import connection

from tests.processes import wait_until

_NEXT = "select pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
_OLDEST = "select pg_snapshot_xmin(pg_current_snapshot())::text::bigint"


def let_others_end() -> None:
    """Wait until the transactions that run now have ended; there is one at a time on SQLite."""
    if connection.vendor != "postgresql":
        return
    until = _number(_NEXT)
    wait_until(lambda: _number(_OLDEST) >= until, seconds=45, what="the end of other transactions")


def _number(sql: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        [(number,)] = cursor.fetchall()
    return int(number)
