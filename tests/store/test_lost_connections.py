"""Connections that break: nothing is lost silently, nothing is done twice."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import OperationalError, connection, connections, transaction

from durable.machine.internal import PromiseTimeout
from durable.protocol.requests import PromiseGet
from durable.protocol.states import PromiseState
from durable.store.base import CommitUnknownError, ConnectionLostError
from durable.store.database import DatabaseStore
from tests.machine.factories import EXTERNAL, TARGETED, acquire, create, settle, start
from tests.store.conftest import MakeStore
from tests.store.postgres import Proxy, lock_row, other_connections, terminate, wait_for_blocked
from tests.store.support import assert_sound, column, execute, history, rows
from tests.store.threads import TIMEOUT, Threads
from tests.store.timing import NEVER, START, Clock

pytestmark = [
    pytest.mark.postgres_only(reason="SQLite has no connection that could break"),
    pytest.mark.filterwarnings("ignore:error ignored"),
]

UNKNOWN = "the connection to the database broke while committing; read before trying again"


def test_a_connection_that_died_between_programs_is_replaced(store: DatabaseStore) -> None:
    store.run(create("a", EXTERNAL, NEVER))
    terminate(*other_connections())
    assert store.run(settle("a"))[0].applied
    terminate(*other_connections())
    assert store.run(PromiseGet("a"))[0].is_ok
    terminate(*other_connections())
    waiting = [store.submit(create(f"p{number}", TARGETED, NEVER)) for number in range(10)]
    assert all(one.result(TIMEOUT)[0].is_ok for one in waiting)
    assert_sound(store)


def test_a_program_that_had_not_committed_is_run_again(
    store: DatabaseStore, threads: Threads
) -> None:
    store.run(create("a", EXTERNAL, NEVER), create("t", TARGETED, NEVER))
    held = threads.hold(lambda: lock_row("promise", "a"))
    waiting = [store.submit(settle("a"), acquire("t")), store.submit(create("b", EXTERNAL, NEVER))]
    terminate(*wait_for_blocked())
    held.commit()
    settled, acquired = waiting[0].result(TIMEOUT)
    assert settled.applied
    assert acquired.task is not None
    assert acquired.task.version == 1
    assert waiting[1].result(TIMEOUT)[0].is_ok
    assert [event for event, *_ in history("t")] == ["acquired"]


@pytest.fixture
def slow_commit(threads: Threads) -> Iterator[None]:
    """The transaction that creates the promise ``slow`` waits for lock 42 when it commits."""
    execute(
        "create function wait_for_42() returns trigger language plpgsql as"
        " $$ begin perform pg_advisory_xact_lock(42); return null; end $$"
    )
    execute(
        "create constraint trigger wait_for_42 after insert on durable_promise"
        " deferrable initially deferred for each row when (new.id = 'slow')"
        " execute function wait_for_42()"
    )
    held = threads.hold(lambda: rows("select pg_advisory_xact_lock(42)"))
    yield
    held.let_go()
    execute("drop trigger wait_for_42 on durable_promise")
    execute("drop function wait_for_42")


def test_a_commit_without_an_answer_is_reported_as_unknown(
    store: DatabaseStore, slow_commit: None
) -> None:
    """Nobody runs it again: that would answer 409 to whom was granted a task."""
    slow = store.submit(create("slow", EXTERNAL, NEVER), start("t", NEVER))
    terminate(*wait_for_blocked())
    with pytest.raises(CommitUnknownError) as failed:
        slow.result(TIMEOUT)
    assert str(failed.value) == UNKNOWN
    assert isinstance(failed.value.__cause__, OperationalError)
    assert rows("select id from durable_promise") == []
    assert store.run(create("b", EXTERNAL, NEVER))[0].is_ok


def test_a_commit_that_the_server_refuses_is_not_unknown(store: DatabaseStore) -> None:
    execute(
        "create function refuse() returns trigger language plpgsql as"
        " $$ begin raise exception using errcode = 'disk_full', message = 'no room'; end $$"
    )
    execute(
        "create constraint trigger refuse after insert on durable_promise deferrable"
        " initially deferred for each row when (new.id = 'bad') execute function refuse()"
    )
    try:
        bad = store.submit(create("bad", EXTERNAL, NEVER))
        good = store.submit(create("good", EXTERNAL, NEVER))
        assert good.result(TIMEOUT)[0].is_ok
        with pytest.raises(OperationalError, match="no room"):
            bad.result(TIMEOUT)
    finally:
        execute("drop trigger refuse on durable_promise")
        execute("drop function refuse")
    assert rows("select id from durable_promise") == [("good",)]


@pytest.fixture
def proxied(threads: Threads) -> Iterator[tuple[str, Proxy]]:
    """An alias whose connections go through a proxy."""
    with tempfile.TemporaryDirectory() as folder:
        proxy = Proxy(Path(folder))
        connections.settings["proxied"] = connection.settings_dict | {"HOST": folder}
        yield "proxied", proxy
        connections["proxied"].close()
        del connections["proxied"]
        del connections.settings["proxied"]
        proxy.close()


def test_a_commit_that_succeeded_unheard_is_unknown_and_there(
    proxied: tuple[str, Proxy], make_store: MakeStore
) -> None:
    alias, proxy = proxied
    store = DatabaseStore(alias, make_store().config)
    try:
        started = store.submit(start("t", NEVER))
        with pytest.raises(CommitUnknownError) as failed:
            started.result(TIMEOUT)
        assert str(failed.value) == UNKNOWN
        assert proxy.dropped.is_set()
        assert column("task", "version", "t") == 1
        [reply] = store.run(create("a", EXTERNAL, NEVER))  # on a new connection
        assert reply.is_ok
    finally:
        store.close()


def test_firing_says_that_the_connection_was_lost(make_store: MakeStore, clock: Clock) -> None:
    store = make_store(clock=clock)
    store.run(create("a", EXTERNAL, START + 10))
    clock.advance(10)
    terminate_own()
    with pytest.raises(ConnectionLostError):
        store.fire(PromiseTimeout("a"))
    assert store.fire(PromiseTimeout("a")) == 1
    assert column("promise", "state", "a") == PromiseState.REJECTED_TIMEDOUT


def terminate_own() -> None:
    """End this thread's connection from another one, so that it notices only when it is used."""
    [[pid]] = rows("select pg_backend_pid()")
    raw = connection.copy()
    try:
        with raw.cursor() as cursor:
            cursor.execute("select pg_terminate_backend(%s, 5000)", [pid])
    finally:
        raw.close()


def test_a_caller_sees_its_own_transaction_break(store: DatabaseStore) -> None:
    """Inline nothing is tried again: the caller's earlier writes are gone with the transaction."""
    store.run(create("a", EXTERNAL, NEVER))

    def settle_late() -> None:
        with transaction.atomic():
            store.run(create("b", EXTERNAL, NEVER))
            terminate_own()
            store.run(settle("a"))

    with pytest.raises(OperationalError):
        settle_late()
    assert column("promise", "state", "a") == "pending"
    assert rows("select id from durable_promise") == [("a",)]
