"""Stores on a database whose commits are real, and threads to use them from.

pytest may load this file before Django's settings are chosen, so models are imported late.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from pytest_django import DjangoDbBlocker

from durable.machine.state import Config
from tests.store.threads import Threads
from tests.store.timing import START, Clock

if TYPE_CHECKING:
    from durable.store.database import DatabaseStore

type MakeStore = Callable[..., DatabaseStore]


@pytest.fixture(scope="package")
def quick_commits(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Commits that do not wait for the disk: nobody here pulls the plug; there are thousands."""
    if connection.vendor != "postgresql":
        yield
        return
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        name = connection.settings_dict["NAME"]
        cursor.execute(f'alter database "{name}" set synchronous_commit = off')
    connection.close()
    yield
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute(f'alter database "{name}" reset synchronous_commit')


@pytest.fixture
def transactional_db(quick_commits: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """The test database, with commits; emptied afterwards."""
    from tests.store.support import wipe

    with django_db_blocker.unblock():
        yield
        connection.close_if_unusable_or_obsolete()
        wipe()


@pytest.fixture
def database(transactional_db: None) -> BaseDatabaseWrapper:
    """The connection of the test's own thread."""
    return connection


@pytest.fixture
def threads(database: BaseDatabaseWrapper) -> Iterator[Threads]:
    """Threads that have ended before the database is emptied."""
    threads = Threads()
    yield threads
    threads.close()


@pytest.fixture
def make_store(database: BaseDatabaseWrapper) -> Iterator[MakeStore]:
    """Make stores, as several processes have; each is closed in the end."""
    from durable.store.database import DatabaseStore

    made: list[DatabaseStore] = []

    def make(config: Config | None = None, **options: Any) -> DatabaseStore:
        made.append(DatabaseStore("default", config or Config(), **options))
        return made[-1]

    yield make
    for store in made:
        store.close()


@pytest.fixture
def store(make_store: MakeStore, threads: Threads) -> "DatabaseStore":
    """A store on the real clock."""
    return make_store()


@pytest.fixture
def clock() -> Clock:
    """A clock that the test moves, ahead of the real one: statements take the later of both."""
    return Clock(START)


@pytest.fixture
def timed(make_store: MakeStore, threads: Threads, clock: Clock) -> "DatabaseStore":
    """A store on the test's clock."""
    return make_store(clock=clock)
