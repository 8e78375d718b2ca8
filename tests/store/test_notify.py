"""Hints between threads and processes: what was committed is told, the rest is not."""

import subprocess
import sys
from collections.abc import Iterator, Mapping

import pytest
from django.db import connection, transaction

from durable.notify import EVERYTHING, LATENT, SETTLED, get_notifier, ready
from durable.notify.base import (
    DUE,
    Notifier,
    Subscribers,
    close_notifiers,
    forget_notifiers,
)
from durable.protocol import tags
from durable.protocol.requests import PromiseGet, PromiseRegisterCallback
from durable.store.claims import claim, heartbeat
from durable.store.database import DatabaseStore
from tests.machine.factories import (
    EXTERNAL,
    INTERNAL,
    TARGETED,
    TIMER,
    acquire,
    create,
    fence,
    fulfill,
    release,
    settle,
    start,
    suspend,
)
from tests.store.heard import Heard
from tests.store.postgres import other_connections, terminate
from tests.store.support import rows
from tests.store.threads import RollBackError, eventually
from tests.store.timing import MINUTE, NEVER, START, Clock

FAR = START + 60 * MINUTE
POSTGRES = pytest.mark.postgres_only(reason="SQLite has no NOTIFY")


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first new try comes soon, the eleventh in a row would come too late for any test."""
    from durable.notify import postgres

    monkeypatch.setattr(postgres, "_FIRST_PAUSE", 0.02)
    monkeypatch.setattr(postgres, "_LONGEST_PAUSE", 1000.0)


@pytest.fixture
def notifier(database: object) -> Iterator[Notifier]:
    yield get_notifier("default")
    close_notifiers()
    forget_notifiers()


@pytest.fixture
def heard(notifier: Notifier) -> Iterator[Heard]:
    """Subscribed, and past what is told at the beginning."""
    found = Heard()
    end = notifier.subscribe(found)
    found.wait_for(EVERYTHING)
    found.forget()
    yield found
    end()


def test_listening_begins_with_everything(notifier: Notifier) -> None:
    """What happened before was missed."""
    found = Heard()
    notifier.subscribe(found)
    found.wait_for(EVERYTHING)


def test_a_commit_tells_its_topics(notifier: Notifier, heard: Heard) -> None:
    with transaction.atomic():
        notifier.publish(["one", "two words", "three/ü*"])
    heard.wait_for("one", "two words", "three/ü*")
    assert {"one", "two words", "three/ü*"} in heard.told


def test_nothing_is_told_before_the_commit_or_of_a_rollback(
    notifier: Notifier, heard: Heard
) -> None:
    with pytest.raises(RollBackError), transaction.atomic():
        notifier.publish(["one"])
        raise RollBackError
    with transaction.atomic():
        with pytest.raises(RollBackError), transaction.atomic():
            notifier.publish(["two"])
            raise RollBackError
        notifier.publish(["three"])
    heard.wait_for("three")
    assert heard.topics.isdisjoint({"one", "two"})


def test_who_ended_its_subscription_hears_no_more(notifier: Notifier, heard: Heard) -> None:
    other = Heard()
    end = notifier.subscribe(other)
    end()
    other.forget()
    with transaction.atomic():
        notifier.publish(["one"])
    heard.wait_for("one")
    assert "one" not in other.topics


def test_a_subscriber_that_fails_keeps_nobody_from_hearing(
    notifier: Notifier, heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("no")

    end_first = notifier.subscribe(fail)
    last = Heard()
    end_last = notifier.subscribe(last)
    with transaction.atomic():
        notifier.publish(["one"])
    heard.wait_for("one")
    last.wait_for("one")
    end_first()
    end_last()
    with transaction.atomic():
        notifier.publish(["two"])
    heard.wait_for("two")
    assert "subscriber failed" in caplog.text


def test_subscribers_know_whether_there_are_any() -> None:
    subscribers = Subscribers()
    assert not subscribers
    end = subscribers.add(lambda _: None)
    assert subscribers
    end()
    end()
    assert not subscribers


def test_one_notifier_for_each_database(notifier: Notifier) -> None:
    assert get_notifier("default") is notifier


SCRIPT = """
import django
django.setup()
from durable.protocol.requests import PromiseCreate
from durable.store import close_store, get_store
get_store().run(PromiseCreate("other", 2**53 - 1, tags={"resonate:target": "elsewhere"}))
close_store()
"""


def test_another_process_is_heard(heard: Heard, process_env: Mapping[str, str]) -> None:
    subprocess.run([sys.executable, "-c", SCRIPT], env=process_env, check=True, timeout=60)
    heard.wait_for(ready("elsewhere"))
    assert rows("select id from durable_promise") == [("other",)]


@POSTGRES
def test_a_payload_too_long_for_the_server_tells_everything(
    notifier: Notifier, heard: Heard
) -> None:
    topics = [ready(f"group {number}") for number in range(1000)]
    with transaction.atomic():
        notifier.publish(topics)
    heard.wait_for(EVERYTHING)
    assert heard.told == [{EVERYTHING}]


@POSTGRES
def test_anybody_may_notify(heard: Heard) -> None:
    """A payload that is not ours is a hint of something."""
    rows("select pg_notify('durable', 'hello')")
    heard.wait_for(EVERYTHING)


@POSTGRES
def test_a_listener_whose_connection_died_comes_back_and_tells_everything(
    eager: None, notifier: Notifier, heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(11):  # each time as soon as the first
        heard.forget()
        terminate(*other_connections())
        heard.wait_for(EVERYTHING)
        with transaction.atomic():
            notifier.publish([f"after {number}"])
        heard.wait_for(f"after {number}")
    assert "cannot listen for notifications" in caplog.text


@POSTGRES
def test_a_process_listens_on_one_connection(notifier: Notifier) -> None:
    before = len(other_connections())
    ends = [notifier.subscribe(Heard()) for _ in range(5)]
    assert len(other_connections()) == before + 1
    for end in ends:
        end()
    notifier.close()
    eventually(lambda: len(other_connections()) == before, "the end of the connection")


@pytest.fixture
def told(store: DatabaseStore, heard: Heard) -> Heard:
    return heard


def test_what_becomes_ready_is_told_to_its_group(told: Heard, store: DatabaseStore) -> None:
    store.run(create("a", TARGETED, NEVER), create("b", {tags.TARGET: "poll://any@two%20w"}, NEVER))
    told.wait_for(ready("g"), ready("two w"))
    store.run(create("x", EXTERNAL, NEVER), acquire("a"), suspend("a", "x"))
    told.forget()
    store.run(settle("x"))
    told.wait_for(ready("g"), SETTLED, LATENT)
    store.run(acquire("a", 1))
    told.forget()
    store.run(release("a", 2))
    told.wait_for(ready("g"))


def test_what_concerns_nobody_else_is_not_told(told: Heard, store: DatabaseStore) -> None:
    """A notification in each commit would cost much."""
    store.run(start("a", NEVER), create("x", EXTERNAL, NEVER), create("done", EXTERNAL, NEVER))
    store.run(settle("done"))
    store.run(create("end", {tags.TARGET: "first"}, NEVER))
    told.wait_for(ready("first"))
    told.forget()
    store.run(PromiseGet("a"))
    store.run(fence(create("a.1", INTERNAL, NEVER), "a"), fence(settle("a.1"), "a"))
    store.run(PromiseRegisterCallback("x", "a"), settle("done"))
    store.run(create("t", TIMER, NEVER), suspend("a", "t"))
    claim(store, ["first"], pid="w", ttl=1000, limit=1)
    heartbeat(store, "p", {"a": 1})
    store.run(create("last", {tags.TARGET: "last"}, NEVER))
    told.wait_for(ready("last"))
    assert told.topics <= {ready("last"), EVERYTHING}
    if connection.vendor == "postgresql":
        assert told.topics == {ready("last")}


def test_latent_promises_and_results_are_told(told: Heard, store: DatabaseStore) -> None:
    store.run(create("x", EXTERNAL, NEVER))
    told.wait_for(LATENT)
    store.run(start("a", NEVER))
    told.forget()
    store.run(fulfill("a"))
    told.wait_for(SETTLED)
    assert LATENT not in told.topics


def test_a_near_deadline_wakes_the_background(heard: Heard, timed: DatabaseStore) -> None:
    timed.run(create("a", EXTERNAL, START + 1000))
    heard.wait_for(DUE)
    heard.forget()
    timed.run(create("b", INTERNAL, START + 1000), create("c", TIMER, FAR))
    timed.run(create("d", {tags.TARGET: "end"}, FAR))
    heard.wait_for(ready("end"))
    assert DUE not in heard.topics


def test_a_task_that_rests_is_not_told_to_workers(
    heard: Heard, timed: DatabaseStore, clock: Clock
) -> None:
    timed.run(create("a", TARGETED, FAR))
    for version in range(3):
        timed.run(acquire("a", version))
        heard.forget()
        timed.run(release("a", version + 1))
    heard.wait_for(DUE)
    assert ready("g") not in heard.topics
