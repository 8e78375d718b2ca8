"""Offering a task to a stream is R6 of the machine, whatever state the task is in."""

import re

import pytest
from msgspec.structs import replace

from durable.machine.internal import RetryDispatch
from durable.machine.memory import MemoryStore
from durable.machine.properties import check_state
from durable.machine.state import ExecuteKey
from durable.protocol.requests import (
    PromiseCreate,
    PromiseRegisterCallback,
    PromiseSettle,
    TaskAcquire,
    TaskHalt,
    TaskRelease,
    TaskSuspend,
)
from durable.protocol.states import PromiseState
from durable.store import outbox
from durable.store.outbox import Offer
from durable.store.snapshot import read_snapshot
from tests.delivery.test_streams import NEVER
from tests.store.support import execute, rows

GROUP = {"resonate:target": "poll://any@g"}
START = 4_000_000_000_000


class Clock:
    now = START

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(transactional_db, clock):
    from durable.machine.state import Config
    from durable.store.database import DatabaseStore

    store = DatabaseStore("default", Config(), clock=clock)
    yield store
    store.close()


def make_tasks(store, clock) -> None:
    """One task in every state that there is, and some at the edges of time."""

    def create(promise_id: str, timeout: int = NEVER, **more: str) -> PromiseCreate:
        return PromiseCreate(promise_id, timeout, tags={**GROUP, **more})

    store.run(
        create("ready"),
        create("delayed", **{"resonate:delay": str(START + 500)}),
        create("delayed-to-now", **{"resonate:delay": str(START + 100)}),
        create("dying", START + 100),
        create("dying-later", START + 101),
        PromiseCreate("url", NEVER, tags={"resonate:target": "http://x/"}),
        PromiseCreate("other", NEVER, tags={"resonate:target": "poll://any@other"}),
        create("acquired"),
        TaskAcquire("acquired", 0, "w", 60_000),
        create("released"),
        TaskAcquire("released", 0, "w", 60_000),
        TaskRelease("released", 1),
        create("halted"),
        TaskHalt("halted"),
        create("settled"),
        PromiseSettle("settled", PromiseState.RESOLVED),
        PromiseCreate("latent", NEVER, tags={"resonate:external": "true"}),
        create("suspended"),
        TaskAcquire("suspended", 0, "w", 60_000),
        TaskSuspend("suspended", 1, (PromiseRegisterCallback("latent", "suspended"),)),
    )
    clock.now = START + 100


def test_offers_are_what_the_machine_would_dispatch(store, clock) -> None:
    make_tasks(store, clock)
    before = read_snapshot(store.connection, store.config)
    memory = MemoryStore(store.config)
    memory.state = read_snapshot(store.connection, store.config)
    for task_id in memory.state.tasks:
        memory.fire(RetryDispatch(task_id), now=clock.now)
    dispatched = {
        message.task_id: message
        for key, message in memory.state.outbox.items()
        if isinstance(key, ExecuteKey) and message.address == "poll://any@g"
    }

    offers = outbox.find_offers(store, ["g"], limit=100)
    assert {one.task_id for one in offers} == set(dispatched)
    taken = outbox.take_offers(store, offers)
    assert taken == set(dispatched)
    for one in offers:
        message = dispatched[one.task_id]
        assert (one.version, one.target) == (message.version, message.address)

    after = read_snapshot(store.connection, store.config)
    assert after.promises == before.promises
    assert after.outbox == before.outbox
    for task_id, task in after.tasks.items():
        expected = memory.state.tasks if task_id in taken else before.tasks
        assert task == expected[task_id]
    assert check_state(after, clock.now) == []
    assert outbox.find_offers(store, ["g"], limit=100) == []


def test_an_offer_is_taken_once(store, clock) -> None:
    make_tasks(store, clock)
    offers = outbox.find_offers(store, ["g"], limit=100)
    assert outbox.take_offers(store, offers)
    assert outbox.take_offers(store, offers) == set()
    clock.now += store.config.retry_timeout
    assert {one.task_id for one in outbox.find_offers(store, ["g"], limit=100)} >= {"ready"}


def test_an_offer_of_another_version_is_not_taken(store, clock) -> None:
    make_tasks(store, clock)
    assert outbox.take_offers(store, [Offer("ready", 1, "g", "poll://any@g")]) == set()


def test_what_rests_is_found_for_a_worker_that_comes(store, clock) -> None:
    make_tasks(store, clock)
    for version in range(1, 5):  # until it rests
        store.run(
            TaskAcquire("released", version, "w", 60_000), TaskRelease("released", version + 1)
        )
    outbox.take_offers(store, outbox.find_offers(store, ["g"], limit=100))
    found = {one.task_id for one in outbox.find_offered(store, ["g"], limit=100)}
    assert found == {"ready", "delayed-to-now", "dying-later", "released"}


def test_the_next_offer_is_known(store, clock) -> None:
    make_tasks(store, clock)
    outbox.take_offers(store, outbox.find_offers(store, ["g"], limit=100))
    assert outbox.seconds_to_next_offer(store, ["g"]) == pytest.approx(0.4)
    assert outbox.seconds_to_next_offer(store, ["nobody"]) is None


def test_a_message_that_was_replaced_stays(store, clock) -> None:
    """A push that ends deletes what it carried, not what took its place."""
    store.run(PromiseCreate("t", NEVER, tags={"resonate:target": "http://x/"}))
    store.fire(RetryDispatch("t"))
    [first] = outbox.claim_pushes(store, limit=10, lease_ms=1000)
    assert outbox.claim_pushes(store, limit=10, lease_ms=1000) == []
    store.run(TaskAcquire("t", 0, "w", 60_000), TaskRelease("t", 1))
    store.fire(RetryDispatch("t"))
    outbox.finish(store, [first])
    assert rows("select version from durable_outboxmessage") == [(1,)]
    clock.now += 1000
    [second] = outbox.claim_pushes(store, limit=10, lease_ms=1000)
    assert (second.message, second.attempts) == (replace(first.message, version=1), 2)


def test_old_messages_are_forgotten(store, clock) -> None:
    from durable.protocol.requests import PromiseRegisterListener

    for promise_id in ("old", "new"):
        store.run(
            PromiseCreate(promise_id, NEVER, tags={"resonate:external": "true"}),
            PromiseRegisterListener(promise_id, "poll://uni@g/w"),
        )
    store.run(PromiseSettle("old", PromiseState.RESOLVED))
    clock.now += 1000
    store.run(PromiseSettle("new", PromiseState.RESOLVED))
    assert outbox.forget(store, keep_ms=999, limit=10) == 1
    assert rows("select promise_id from durable_outboxmessage") == [("new",)]


PLANNED = [
    (outbox.FIND_OFFERS, (None, 0, '["g7"]', 10), "durable_task_(retry|claim)"),
    (outbox.FIND_PUSHES, (None, 0, 10), "durable_outbox_push"),
    (outbox.FIND_FOR_STREAMS, (None, 0, '["poll://uni@g7/w7"]', 10), "durable_outbox_address"),
    (
        outbox.FIND_FOR_GROUP,
        (None, 0, "poll://any@g7", "poll://any@g70", 10),
        "durable_outbox_address",
    ),
]


@pytest.mark.postgres_only(reason="plans are PostgreSQL's")
def test_statements_use_their_indexes(store) -> None:
    execute(
        "insert into durable_promise (id, state, timeout_at, created_at, tags, origin, is_external,"
        " is_root, is_undrained) select 'p' || n, 'pending', 9e15, 0, '{}', 'p' || n, true, true,"
        " false from generate_series(1, 100000) n"
    )
    execute(
        "insert into durable_task (id, state, version, resumes, retry_at, queue, not_before,"
        " releases) select 'p' || n, 'pending', 0, '[]', n, 'g' || n % 200, 0, 0"
        " from generate_series(1, 20000) n"
    )
    execute(
        "insert into durable_outboxmessage (promise_id, address, record)"
        " select 'p' || n, case when n % 100 = 0 then 'http://x/' || n when n % 2 = 0"
        " then 'poll://uni@g' || n % 50 || '/w' || n else 'poll://any@g' || n % 50 end, '{}'"
        " from generate_series(1, 20000) n"
    )
    execute("analyze durable_promise, durable_task, durable_outboxmessage")
    store.connection.ensure_connection()
    for sql, params, index in PLANNED:
        text = outbox.get_dialect(store.connection).text(sql)
        found = store.connection.connection.execute(f"explain {text}", params).fetchall()
        plan = "\n".join(row[0] for row in found)
        assert re.search(rf"Index (Only )?Scan (on|using) {index}", plan), plan
        assert "Seq Scan on durable_" not in plan
