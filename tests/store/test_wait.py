"""LocalSender: programs, claims and beats go straight to the store, and results are waited for."""

import os
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from django.db import connection

from durable import signals
from durable.background.sweeper import Sweeper
from durable.client.local import LocalSender
from durable.exceptions import PromiseNotFoundError
from durable.notify import get_notifier
from durable.protocol.records import PromiseRecord
from durable.protocol.states import PromiseState
from durable.store import close_store, get_store
from tests.machine.factories import EXTERNAL, INTERNAL, TARGETED, create, fulfill, settle, start
from tests.store.support import rows
from tests.store.threads import TIMEOUT, Threads, eventually
from tests.store.timing import MINUTE, NEVER


@pytest.fixture
def sender(threads: Threads) -> Iterator[LocalSender]:
    yield LocalSender()
    close_store()


def test_a_settled_promise_is_returned_at_once(sender: LocalSender) -> None:
    sender.send(create("a", EXTERNAL, NEVER), settle("a"))
    for timeout in (None, 0.0, 5.0):
        record = sender.wait("a", timeout)
        assert record is not None
        assert record.state is PromiseState.RESOLVED


def test_an_unknown_promise_is_an_error(sender: LocalSender) -> None:
    with pytest.raises(PromiseNotFoundError, match=r"^there is no promise 'a'$"):
        sender.wait("a", 0)


def test_a_wait_ends_with_its_timeout(sender: LocalSender) -> None:
    sender.send(create("a", EXTERNAL, NEVER))
    began = time.monotonic()
    assert sender.wait("a", 0) is None
    assert sender.wait("a", 0.05) is None
    assert time.monotonic() - began < TIMEOUT


@pytest.mark.parametrize("kind", ["latent", "root", "internal"])
def test_a_wait_ends_with_the_settlement(kind: str, sender: LocalSender, threads: Threads) -> None:
    """Roots and latent promises by a hint, all others by looking once a second."""
    sender.send(
        create("latent", EXTERNAL, NEVER), start("root", NEVER), create("internal", INTERNAL, NEVER)
    )
    waits = [threads.call(lambda: sender.wait(kind, TIMEOUT)) for _ in range(3)]
    sender.send(fulfill(kind) if kind == "root" else settle(kind))
    for one in waits:
        record = one.result(TIMEOUT)
        assert record is not None
        assert record.state is PromiseState.RESOLVED


def test_a_wait_ends_with_the_deadline(sender: LocalSender) -> None:
    now = get_store().clock_now()
    sender.send(create("a", EXTERNAL, now + 150))
    record = sender.wait("a", TIMEOUT)
    assert record is not None
    assert record.state is PromiseState.REJECTED_TIMEDOUT
    assert rows("select state from durable_promise where id = 'a'") == [("pending",)]
    Sweeper(get_store()).sweep()
    assert rows("select state from durable_promise where id = 'a'") == [("rejected_timedout",)]


def test_a_busy_database_does_not_make_a_wait_longer(sender: LocalSender, threads: Threads) -> None:
    """Somebody holds the promise, or on SQLite the database, in a slow transaction."""
    sender.send(create("a", EXTERNAL, NEVER))
    held = threads.hold(lambda: sender.send(settle("a")))
    began = time.monotonic()
    assert sender.wait("a", 0.05) is None
    assert time.monotonic() - began < TIMEOUT / 2
    held.commit()
    assert sender.wait("a", TIMEOUT) is not None


@pytest.mark.sqlite_only(reason="on PostgreSQL nothing stops the reading of a promise")
def test_a_wait_gives_up_though_the_committer_is_stuck(
    sender: LocalSender, threads: Threads
) -> None:
    sender.send(create("a", EXTERNAL, NEVER))
    held = threads.hold(lambda: None)
    stuck = get_store().submit(create("b", EXTERNAL, NEVER))
    began = time.monotonic()
    assert sender.wait("a", 0.05) is None
    assert time.monotonic() - began < TIMEOUT / 2
    held.commit()
    assert stuck.result(TIMEOUT)[0].is_ok


def test_a_worker_claims_and_beats(sender: LocalSender) -> None:
    sender.send(create("a", TARGETED, NEVER))
    [taken] = sender.claim(["g"], pid="w", ttl=MINUTE, limit=1)
    assert sender.heartbeat("w", {"a": taken.task.version, "b": 1}) == {"b"}


def test_one_sender_may_be_used_from_anywhere(sender: LocalSender, threads: Threads) -> None:
    created: list[str] = []

    def note(promises: list[PromiseRecord], **_: object) -> None:
        created.extend(one.id for one in promises)

    signals.promises_created.connect(note, sender=signals.Latent)
    try:
        calls = [
            threads.call(lambda n=n: sender.send(create(f"p{n}", EXTERNAL, NEVER)))
            for n in range(8)
        ]
        assert all(call.result(TIMEOUT)[0].is_ok for call in calls)
    finally:
        signals.promises_created.disconnect(note, sender=signals.Latent)
    assert sorted(created) == [f"p{n}" for n in range(8)]


def test_a_closed_store_is_opened_again_by_the_next_use(sender: LocalSender) -> None:
    sender.send(create("a", EXTERNAL, NEVER))
    before = get_store()
    close_store()
    assert sender.send(settle("a"))[0].applied
    assert get_store() is not before


@pytest.mark.postgres_only(reason="SQLite has no connections to count")
def test_closing_leaves_no_connection(sender: LocalSender, threads: Threads) -> None:
    from tests.store.postgres import other_connections

    connection.ensure_connection()
    before = len(other_connections())
    sender.send(create("a", EXTERNAL, NEVER))
    threads.call(lambda: sender.wait("a", 0)).result(TIMEOUT)
    assert len(other_connections()) > before
    close_store()
    eventually(lambda: len(other_connections()) == before, "the end of all connections")


def test_threads_that_come_first_at_once_share_one_store(threads: Threads) -> None:
    """Each further one would have a thread and a connection of its own, for ever."""
    together = threading.Barrier(8)
    interval = sys.getswitchinterval()

    def get() -> tuple[object, object]:
        together.wait(TIMEOUT)
        return get_store(), get_notifier("default")

    try:
        sys.setswitchinterval(1e-6)
        for _ in range(10):
            found = [call.result(TIMEOUT) for call in [threads.call(get) for _ in range(8)]]
            assert len(set(found)) == 1
            close_store()
    finally:
        sys.setswitchinterval(interval)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_starts_its_own(sender: LocalSender) -> None:
    """It has not got the threads of its parent."""
    sender.send(create("a", EXTERNAL, NEVER))
    mine = get_store()
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        try:
            is_new = get_store() is not mine
            answer = sender.send(settle("a"))[0]
            os.write(writing, b"yes" if is_new and answer.applied else b"no")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 10) == b"yes"
    os.close(reading)
    os.close(writing)
    assert sender.send(settle("a"))[0].applied is False
