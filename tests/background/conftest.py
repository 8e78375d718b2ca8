"""The fixtures of the store's tests: its background loops work on the same database."""

from tests.store.conftest import (
    clock,
    database,
    make_store,
    quick_commits,
    store,
    threads,
    timed,
    transactional_db,
)

__all__ = [
    "clock",
    "database",
    "make_store",
    "quick_commits",
    "store",
    "threads",
    "timed",
    "transactional_db",
]
