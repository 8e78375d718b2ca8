"""Programs that wait share a commit, and share nothing else: no failure, no wait."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future

import pytest
from django.db import DataError, IntegrityError, connection, transaction

from durable import signals
from durable.protocol.annotations import Annotation
from durable.protocol.records import PromiseRecord
from durable.protocol.requests import PromiseGet, Reply, TaskGet
from durable.store.database import DatabaseStore
from tests.machine.factories import (
    EXTERNAL,
    INTERNAL,
    TARGETED,
    create,
    fulfill,
    heartbeat,
    release,
    settle,
    start,
)
from tests.store.postgres import lock_row, wait_for_blocked
from tests.store.support import assert_sound, column, execute, rows, statuses
from tests.store.threads import TIMEOUT, Held, Threads
from tests.store.timing import NEVER

type Replies = Future[list[Reply]]

IMPOSSIBLE = {"bad": Annotation(attempts=-1)}
"""Breaks a CHECK constraint of the column."""


@pytest.fixture
def flushed() -> Iterator[list[list[str]]]:
    """The latent promises that each flush created: one list a transaction."""
    lists: list[list[str]] = []

    def note(promises: list[PromiseRecord], **_: object) -> None:
        lists.append([promise.id for promise in promises])

    signals.promises_created.connect(note, sender=signals.Latent)
    yield lists
    signals.promises_created.disconnect(note, sender=signals.Latent)


@pytest.fixture
def under_way(store: DatabaseStore, threads: Threads) -> Held[object]:
    """The committer is in a transaction that does not end before this is let go."""
    store.run(create("busy", EXTERNAL, NEVER))
    if connection.vendor == "postgresql":
        held = threads.hold(lambda: lock_row("promise", "busy"))
        store.submit(settle("busy"))
        wait_for_blocked()
    else:
        held = threads.hold(lambda: None)  # it waits to begin
        store.submit(settle("busy"))
    return held


def test_what_waits_shares_one_commit(
    store: DatabaseStore, flushed: list[list[str]], under_way: Held[object]
) -> None:
    waiting = [store.submit(create(f"p{number}", EXTERNAL, NEVER)) for number in range(20)]
    under_way.commit()
    assert all(one.result(TIMEOUT)[0].is_ok for one in waiting)
    flushed.remove(["busy"])
    assert [one for some in flushed for one in some] == [f"p{number}" for number in range(20)]
    assert len(flushed) <= 2  # on SQLite some may have gone with the first
    if connection.vendor == "postgresql":
        assert len(rows("select distinct xmin::text from durable_promise where id like 'p%%'")) == 1


def test_later_programs_of_a_batch_see_earlier_ones(
    store: DatabaseStore, under_way: Held[object]
) -> None:
    made = store.submit(start("a", NEVER), create("b", EXTERNAL, NEVER))
    settled = store.submit(settle("b"))
    ended = store.submit(fulfill("a"))
    late = store.submit(fulfill("a"))
    under_way.commit()
    found = [one.result(TIMEOUT) for one in (made, settled, ended, late)]
    assert [statuses(one) for one in found] == [[200, 200], [200], [200], [409]]
    assert [found[1][0].applied, found[2][0].applied] == [True, True]
    assert_sound(store)


def test_a_failing_program_fails_alone(store: DatabaseStore, under_way: Held[object]) -> None:
    good = [store.submit(create("a", EXTERNAL, NEVER), create("b", TARGETED, NEVER))]
    refused = store.submit(
        create("before", EXTERNAL, NEVER), create("bad", EXTERNAL, NEVER), annotations=IMPOSSIBLE
    )
    good.append(store.submit(start("c", NEVER)))
    good.append(store.submit(settle("a")))
    under_way.commit()
    assert [statuses(one.result(TIMEOUT)) for one in good] == [[200, 200], [200], [200]]
    assert good[2].result()[0].applied
    with pytest.raises(IntegrityError, match=r"check constraint .*attempts|CHECK .*: attempts"):
        refused.result(TIMEOUT)
    assert rows("select id from durable_promise where id in ('before', 'bad')") == []
    assert_sound(store)


@pytest.mark.postgres_only(reason="SQLite's integers have 64 bits everywhere")
def test_a_value_that_the_database_refuses_fails_alone(
    store: DatabaseStore, under_way: Held[object]
) -> None:
    refused = store.submit(
        create("a", EXTERNAL, NEVER), annotations={"a": Annotation(attempts=2**40)}
    )
    good = store.submit(create("b", EXTERNAL, NEVER))
    under_way.commit()
    assert good.result(TIMEOUT)[0].is_ok
    with pytest.raises(DataError, match="out of range"):
        refused.result(TIMEOUT)
    assert rows("select id from durable_promise order by id") == [("b",), ("busy",)]


def test_a_message_of_any_characters_is_kept_as_well_as_it_can_be(store: DatabaseStore) -> None:
    """An exception of a user's step says what it likes; it must not keep the step from ending."""
    note = Annotation(started_by="user:\0", last_error="a\0b \ud800 ü", stuck="\0")
    store.run(start("t", NEVER), annotations={"t": note})
    store.run(release("t"), annotations={"t": note})
    found = rows("select started_by, last_error from durable_promise where id = 't'")
    assert found == [("user:\ufffd", "a\ufffdb ? ü")]
    assert column("task", "stuck", "t") == "\ufffd"


@pytest.mark.postgres_only(reason="SQLite has one writer; ids are not locked")
def test_a_program_whose_ids_are_held_is_set_aside(store: DatabaseStore, threads: Threads) -> None:
    store.run(create("a", EXTERNAL, NEVER), create("b", EXTERNAL, NEVER))
    held = threads.hold(lambda: store.run(settle("a")))
    both = store.submit(settle("b"), settle("a"))
    for number in range(3):
        assert store.run(create(f"p{number}", EXTERNAL, NEVER))[0].is_ok
    assert not both.done()
    held.roll_back()
    assert [reply.applied for reply in both.result(TIMEOUT)] == [True, True]


@pytest.mark.postgres_only(reason="SQLite has one writer; ids are not locked")
def test_what_was_set_aside_gets_its_turn_though_the_queue_never_runs_dry(
    store: DatabaseStore, threads: Threads
) -> None:
    store.run(create("a", EXTERNAL, NEVER), create("b", INTERNAL, NEVER))
    held = threads.hold(lambda: store.run(settle("a")))
    aside = store.submit(settle("a"))
    assert store.run(settle("b"))[0].applied  # the other was tried before, and set aside
    stopping = threading.Event()

    def again(_: Replies) -> None:  # called before the committer looks into its queue
        if not stopping.is_set():
            store.submit(settle("b")).add_done_callback(again)

    store.submit(settle("b")).add_done_callback(again)
    held.roll_back()
    try:
        assert aside.result(TIMEOUT)[0].applied
    finally:
        stopping.set()


@pytest.mark.postgres_only(reason="SQLite has one writer; ids are not locked")
def test_a_heartbeat_goes_on_without_the_task_that_is_held(
    store: DatabaseStore, threads: Threads
) -> None:
    """An SDK beats for all its tasks in one request; one held task must not cost the others."""
    store.run(start("a", NEVER, ttl=1000), start("b", NEVER, ttl=1000))
    before = {one: column("task", "expires_at", one) for one in "ab"}
    held = threads.hold(lambda: store.run(create("a", INTERNAL, NEVER)))
    [reply] = store.run(heartbeat(("a", 1), ("b", 1)))
    assert reply.is_ok
    assert column("task", "expires_at", "b") > before["b"]
    assert column("task", "expires_at", "a") == before["a"]
    held.commit()
    store.close()  # what is left of the beat is done by then
    assert column("task", "expires_at", "a") > before["a"]


@pytest.mark.postgres_only(reason="SQLite readers see the last commit anyway")
def test_reading_waits_for_nobody(store: DatabaseStore, threads: Threads) -> None:
    store.run(create("a", EXTERNAL, NEVER), start("b", NEVER))
    held = threads.hold(lambda: store.run(settle("a"), release("b")))
    promise, task = store.run(PromiseGet("a"), TaskGet("b"))
    assert promise.promise is not None
    assert promise.promise.is_pending
    assert task.task is not None
    assert task.task.version == 1
    held.commit()
    [promise] = store.run(PromiseGet("a"))
    assert promise.promise is not None
    assert not promise.promise.is_pending


@pytest.mark.postgres_only(reason="SQLite has one writer; ids are not locked")
def test_reading_in_a_transaction_locks_nothing(store: DatabaseStore, threads: Threads) -> None:
    """A page that looks at a promise in its transaction must not stop the worker's next step."""
    store.run(create("a", EXTERNAL, NEVER))
    held = threads.hold(lambda: store.run(PromiseGet("a")))
    assert store.run(settle("a"))[0].applied
    held.commit()


def test_a_program_that_was_queued_cannot_be_cancelled(
    store: DatabaseStore, under_way: Held[object]
) -> None:
    """An asyncio caller that goes away cancels its future; the committer must survive that."""
    gone = store.submit(create("a", EXTERNAL, NEVER))
    assert not gone.cancel()
    under_way.commit()
    assert gone.result(TIMEOUT)[0].is_ok
    assert store.run(PromiseGet("a"))[0].is_ok


def test_what_is_done_on_commit_cannot_undo_the_commit(
    store: DatabaseStore, under_way: Held[object], caplog: pytest.LogCaptureFixture
) -> None:
    """A receiver's hook fails after the commit: running the program again would lie about it."""
    hooks: list[str] = []

    def hook() -> None:
        hooks.append("ran")
        raise RuntimeError("hook")

    def receive(**_: object) -> None:
        transaction.on_commit(hook)

    signals.promises_created.connect(receive, sender=signals.Root)
    try:
        started = store.submit(start("a", NEVER))
        other = store.submit(create("b", EXTERNAL, NEVER), settle("b"))
        under_way.commit()
        assert started.result(TIMEOUT)[0].is_ok
        assert other.result(TIMEOUT)[1].applied
    finally:
        signals.promises_created.disconnect(receive, sender=signals.Root)
    assert hooks == ["ran"]
    assert "failed after the commit" in caplog.text
    assert store.run(fulfill("a"))[0].is_ok


def test_a_closed_store_says_so_and_finishes_what_it_has(
    store: DatabaseStore, under_way: Held[object], threads: Threads
) -> None:
    queued = [store.submit(create(f"p{number}", EXTERNAL, NEVER)) for number in range(5)]
    closing = threads.call(store.close)
    under_way.commit()
    closing.result(TIMEOUT)
    assert all(one.done() and one.result()[0].is_ok for one in queued)
    with pytest.raises(RuntimeError, match=r"^the store is closed$"):
        store.run(PromiseGet("a"))


def test_large_programs_do_not_share_a_transaction(
    store: DatabaseStore, flushed: list[list[str]], under_way: Held[object]
) -> None:
    """The lock table of the database is finite."""
    waiting = [
        store.submit(*(create(f"{name}{number}", EXTERNAL, NEVER) for number in range(900)))
        for name in "abc"
    ]
    under_way.commit()
    assert all(len(one.result(TIMEOUT)) == 900 for one in waiting)
    assert max(map(len, flushed)) <= 1801


@pytest.mark.postgres_only(reason="SQLite has one lock, and a busy timeout")
def test_a_lock_timeout_of_the_project_is_no_failure(
    store: DatabaseStore, threads: Threads
) -> None:
    name = connection.settings_dict["NAME"]
    execute(f'alter database "{name}" set lock_timeout = 20')
    try:
        store.run(create("a", EXTERNAL, NEVER))
        held = threads.hold(lambda: lock_row("promise", "a"))
        late = store.submit(settle("a"))
        with pytest.raises(TimeoutError):
            late.result(0.1)
        held.commit()
        assert late.result(TIMEOUT)[0].applied
    finally:
        execute(f'alter database "{name}" reset lock_timeout')


@pytest.mark.sqlite_only(reason="PostgreSQL has no lock on the whole database")
def test_a_busy_database_is_tried_again(
    store: DatabaseStore, threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The committer's connection gives up soon; its programs do not."""
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "timeout", 0.02)
    held = threads.hold(lambda: None)
    waiting = [store.submit(create(one, EXTERNAL, NEVER)) for one in "ab"]
    failing: Callable[[], object] = lambda: waiting[0].result(0.1)  # noqa: E731
    with pytest.raises(TimeoutError):
        failing()
    held.commit()
    assert all(one.result(TIMEOUT)[0].is_ok for one in waiting)
