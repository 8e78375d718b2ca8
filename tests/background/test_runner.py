"""The thread that sweeps: it wakes in time, survives errors, and leaves nothing behind."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future

import pytest
from django.db import connection

from durable import pausing, signals
from durable.background import runner as runner_module
from durable.background import sweeper as sweeper_module
from durable.background.runner import BackgroundRunner
from durable.store.database import DatabaseStore
from tests.machine.factories import EXTERNAL, create, settle
from tests.store.postgres import other_connections, terminate
from tests.store.support import column, execute
from tests.store.threads import TIMEOUT, Threads, eventually
from tests.store.timing import NEVER

SOON = 150
NAME = "durable-background"


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but a hint ends a pause."""
    monkeypatch.setattr(sweeper_module, "_LONGEST_PAUSE", 1000.0)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """It soon tries again after an error."""
    monkeypatch.setattr(runner_module, "_PAUSE_AFTER_ERROR", 0.01)
    monkeypatch.setattr(sweeper_module, "_LONGEST_PAUSE", 0.02)


@pytest.fixture
def runner(store: DatabaseStore) -> Iterator[BackgroundRunner]:
    runner = BackgroundRunner(store)
    runner.start()
    yield runner
    runner.stop()


@pytest.fixture
def kept_house() -> Iterator[Callable[[], None]]:
    """Wait for the signal of housekeeping."""
    heard: Future[dict[str, object]] = Future()

    def note(**arguments: object) -> None:
        if not heard.done():
            heard.set_result(arguments)

    signals.housekeeping.connect(note)
    yield lambda: assert_using(heard.result(TIMEOUT))
    signals.housekeeping.disconnect(note)


def assert_using(arguments: dict[str, object]) -> None:
    assert arguments["using"] == "default"
    assert arguments["sender"] is BackgroundRunner


def is_timed_out(promise_id: str) -> bool:
    return bool(column("promise", "state", promise_id) == "rejected_timedout")


def running() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == NAME]


def test_a_deadline_is_stored_when_it_comes(
    patient: None, kept_house: Callable[[], None], runner: BackgroundRunner, store: DatabaseStore
) -> None:
    """It sleeps by now, and is woken by the hint that a nearer deadline is there."""
    kept_house()
    store.run(create("a", EXTERNAL, store.clock_now() + SOON))
    eventually(lambda: is_timed_out("a"), "the deadline")


def test_it_looks_by_itself_when_hints_get_lost(
    quick: None, kept_house: Callable[[], None], runner: BackgroundRunner, store: DatabaseStore
) -> None:
    kept_house()
    store.run(create("a", EXTERNAL, NEVER))
    execute("update durable_promise set timeout_at = created_at where id = 'a'")
    eventually(lambda: is_timed_out("a"), "the deadline")


def test_it_ends_at_once_and_leaves_nothing(
    patient: None, kept_house: Callable[[], None], store: DatabaseStore, threads: Threads
) -> None:
    connection.ensure_connection()
    store.run(create("a", EXTERNAL, NEVER))
    before = len(other_connections()) if connection.vendor == "postgresql" else 0
    runner = BackgroundRunner(store)
    runner.start()
    kept_house()
    assert running() == [NAME]
    threads.call(runner.stop).result(TIMEOUT)
    assert running() == []
    if connection.vendor == "postgresql":  # the notifier goes on listening, for others
        eventually(lambda: len(other_connections()) == before + 1, "the end of its connection")


def test_stopping_is_always_possible(store: DatabaseStore) -> None:
    never_started = BackgroundRunner(store)
    never_started.stop()
    never_started.stop()
    runner = BackgroundRunner(store)
    runner.start()
    runner.stop()
    runner.stop()
    assert running() == []


def test_an_error_ends_the_sweep_not_the_thread(
    quick: None,
    kept_house: Callable[[], None],
    runner: BackgroundRunner,
    store: DatabaseStore,
    caplog: pytest.LogCaptureFixture,
) -> None:
    kept_house()
    execute("alter table durable_schedule rename to elsewhere")
    try:
        eventually(lambda: "sweep failed" in caplog.text, "an error")
        store.run(create("a", EXTERNAL, store.clock_now() + SOON))
    finally:
        execute("alter table elsewhere rename to durable_schedule")
    eventually(lambda: is_timed_out("a"), "the deadline")


@pytest.mark.postgres_only(reason="SQLite has no connection that could break")
def test_connections_that_break_are_replaced(
    quick: None, kept_house: Callable[[], None], runner: BackgroundRunner, store: DatabaseStore
) -> None:
    kept_house()
    for number in range(3):
        terminate(*other_connections())
        store.run(create(f"p{number}", EXTERNAL, store.clock_now() + SOON))
        eventually(lambda number=number: is_timed_out(f"p{number}"), "the deadline")


def test_a_receiver_of_housekeeping_that_fails_stops_nothing(
    quick: None, store: DatabaseStore, kept_house: Callable[[], None]
) -> None:
    def fail(**_: object) -> None:
        raise RuntimeError("no")

    signals.housekeeping.connect(fail)
    runner = BackgroundRunner(store)
    try:
        runner.start()
        kept_house()
        store.run(create("a", EXTERNAL, store.clock_now() + SOON))
        eventually(lambda: is_timed_out("a"), "the deadline")
    finally:
        runner.stop()
        signals.housekeeping.disconnect(fail)


def test_it_stands_still_while_it_is_told_to(quick: None, store: DatabaseStore) -> None:
    pausing.pause()
    runner = BackgroundRunner(store)
    try:
        deadline = store.clock_now() + SOON
        store.run(create("a", EXTERNAL, deadline), create("b", EXTERNAL, NEVER))
        runner.start()
        eventually(lambda: store.clock_now() > deadline + SOON, "the deadline")
        assert column("promise", "state", "a") == "pending"
        pausing.resume()
        eventually(lambda: is_timed_out("a"), "the deadline")
        assert store.run(settle("b"))[0].applied
    finally:
        pausing.resume()
        runner.stop()
