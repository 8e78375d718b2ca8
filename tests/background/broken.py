"""A database that refuses to change one promise or task."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

from tests.store.support import execute


@contextmanager
def refusing(table: str, row_id: str) -> Iterator[None]:
    """Let every update of the row fail."""
    if connection.vendor == "postgresql":
        execute(
            "create function refuse() returns trigger language plpgsql as"
            " $$ begin raise exception 'refused'; end $$"
        )
        execute(
            f"create trigger refuse before update on durable_{table} for each row"
            f" when (new.id = '{row_id}') execute function refuse()"
        )
    else:
        execute(
            f"create trigger refuse before update on durable_{table} when new.id = '{row_id}'"
            " begin select raise(abort, 'refused'); end"
        )
    try:
        yield
    finally:
        if connection.vendor == "postgresql":
            execute(f"drop trigger refuse on durable_{table}")
            execute("drop function refuse")
        else:
            execute("drop trigger refuse")
