"""Two at once about the same promise, hundreds of times: one of two outcomes, never a third."""

import threading
from collections.abc import Callable

import pytest
from django.db import transaction

from durable.machine.internal import InternalStep, LeaseExpiry
from durable.machine.state import UnblockKey
from durable.protocol.requests import (
    PromiseGet,
    PromiseRegisterCallback,
    Reply,
    Request,
    TaskHalt,
)
from durable.protocol.states import PromiseState, TaskState
from durable.store.base import StoreConflictError
from durable.store.claims import claim, heartbeat
from durable.store.database import DatabaseStore
from tests.machine.factories import (
    ADDRESS,
    EXTERNAL,
    TARGETED,
    acquire,
    create,
    fence,
    fulfill,
    listen,
    settle,
    start,
    suspend,
)
from tests.store.conftest import MakeStore
from tests.store.support import assert_sound, drain_database, snapshot
from tests.store.threads import Threads
from tests.store.timing import MINUTE, NEVER, START, Clock

TRIES = 60
TTL = 15_000
WAIT = 15.0
RESOLVED = PromiseState.RESOLVED

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.postgres_only(reason="SQLite has one writer at a time"),
]

type Act[T] = Callable[[int], T]


@pytest.fixture
def stores(make_store: MakeStore) -> list[DatabaseStore]:
    """Two stores, as two processes have."""
    return [make_store(), make_store()]


def race[A, B](threads: Threads, one: Act[A], other: Act[B]) -> list[tuple[A, B]]:
    """Do both at once, try by try; return what each said."""
    together = threading.Barrier(2)

    def repeat[T](act: Act[T]) -> list[T]:
        found = []
        for number in range(TRIES):
            together.wait(WAIT)
            found.append(act(number))
        return found

    calls = threads.call(lambda: repeat(one)), threads.call(lambda: repeat(other))
    return list(zip(calls[0].result(WAIT * 2), calls[1].result(WAIT * 2), strict=True))


def prepare(store: DatabaseStore, make: Callable[[int], list[Request]]) -> None:
    replies = store.run(*(request for number in range(TRIES) for request in make(number)))
    assert all(reply.is_ok for reply in replies)


def ask(store: DatabaseStore, request: Request) -> Reply:
    [reply] = store.run(request)
    return reply


def inline(store: DatabaseStore, request: Request) -> Reply:
    with transaction.atomic():
        return ask(store, request)


SENDERS = [
    pytest.param(ask, ask, id="committed"),
    pytest.param(inline, ask, id="inline-committed"),
    pytest.param(ask, inline, id="committed-inline"),
    pytest.param(inline, inline, id="inline"),
]


@pytest.mark.parametrize(("left", "right"), SENDERS)
def test_suspending_and_settling_lose_no_wakeup(
    left: Callable[..., Reply],
    right: Callable[..., Reply],
    stores: list[DatabaseStore],
    threads: Threads,
) -> None:
    prepare(stores[0], lambda n: [create(f"p{n}", EXTERNAL, NEVER), start(f"t{n}", NEVER)])
    found = race(
        threads,
        lambda n: left(stores[0], suspend(f"t{n}", f"p{n}")),
        lambda n: right(stores[1], settle(f"p{n}")),
    )
    drain_database(stores[0])
    tasks = snapshot(stores[0]).tasks
    for number, (suspended, settled) in enumerate(found):
        task = tasks[f"t{number}"]
        assert settled.applied
        if suspended.status == 300:
            assert task.state is TaskState.ACQUIRED
        else:
            assert suspended.is_ok
            assert (task.state, task.resumes) == (TaskState.PENDING, (f"p{number}",))
    assert_sound(stores[0])


def test_settling_two_awaited_at_once_wakes_once(
    stores: list[DatabaseStore], threads: Threads
) -> None:
    prepare(
        stores[0],
        lambda n: [
            create(f"p{n}", EXTERNAL, NEVER),
            create(f"q{n}", EXTERNAL, NEVER),
            start(f"t{n}", NEVER),
            suspend(f"t{n}", f"p{n}", f"q{n}"),
        ],
    )
    race(
        threads,
        lambda n: ask(stores[0], settle(f"p{n}")),
        lambda n: ask(stores[1], settle(f"q{n}")),
    )
    drain_database(stores[0])
    tasks = snapshot(stores[0]).tasks
    for number in range(TRIES):
        task = tasks[f"t{number}"]
        assert (task.state, task.resumes) == (TaskState.PENDING, (f"p{number}", f"q{number}"))
    assert_sound(stores[0])


def test_a_callback_or_listener_is_registered_before_the_settlement_or_sees_it(
    stores: list[DatabaseStore], threads: Threads
) -> None:
    prepare(stores[0], lambda n: [create(f"p{n}", EXTERNAL, NEVER), start(f"t{n}", NEVER)])
    found = race(
        threads,
        lambda n: stores[0].run(PromiseRegisterCallback(f"p{n}", f"t{n}"), listen(f"p{n}")),
        lambda n: ask(stores[1], settle(f"p{n}")),
    )
    drain_database(stores[0])
    state = snapshot(stores[0])
    for number, (registered, _) in enumerate(found):
        first = registered[0].promise
        assert first is not None
        assert state.tasks[f"t{number}"].resumes == ((f"p{number}",) if first.is_pending else ())
        assert (UnblockKey(f"p{number}", ADDRESS) in state.outbox) == first.is_pending
    assert_sound(stores[0])


def test_of_two_that_acquire_one_wins(stores: list[DatabaseStore], threads: Threads) -> None:
    prepare(stores[0], lambda n: [create(f"t{n}", TARGETED, NEVER)])
    found = race(
        threads,
        lambda n: ask(stores[0], acquire(f"t{n}", 0, "p")),
        lambda n: ask(stores[1], acquire(f"t{n}", 0, "q")),
    )
    assert all(sorted((a.status, b.status)) == [200, 409] for a, b in found)
    tasks = snapshot(stores[0]).tasks
    assert [tasks[f"t{n}"].pid for n in range(TRIES)] == ["p" if a.is_ok else "q" for a, _ in found]


def test_a_claim_and_an_acquisition_never_both_win(
    stores: list[DatabaseStore], threads: Threads
) -> None:
    prepare(stores[0], lambda n: [create(f"t{n}", {"resonate:target": f"g{n}"}, NEVER)])
    found = race(
        threads,
        lambda n: len(claim(stores[0], [f"g{n}"], pid="p", ttl=TTL, limit=1)),
        lambda n: ask(stores[1], acquire(f"t{n}", 0, "q")),
    )
    tasks = snapshot(stores[0]).tasks
    for number, (claimed, acquired) in enumerate(found):
        assert tasks[f"t{number}"].version == 1
        assert claimed + acquired.is_ok == 1
        assert tasks[f"t{number}"].pid == ("p" if claimed else "q")


def test_a_claim_never_takes_what_is_settled(stores: list[DatabaseStore], threads: Threads) -> None:
    prepare(stores[0], lambda n: [create(f"t{n}", {"resonate:target": f"g{n}"}, NEVER)])
    found = race(
        threads,
        lambda n: claim(stores[0], [f"g{n}"], pid="p", ttl=TTL, limit=1),
        lambda n: ask(stores[1], settle(f"t{n}")),
    )
    tasks = snapshot(stores[0]).tasks
    for number, (claimed, settled) in enumerate(found):
        assert settled.applied
        assert tasks[f"t{number}"].state is TaskState.FULFILLED
        assert tasks[f"t{number}"].version == len(claimed)
    assert_sound(stores[0])


def test_a_claim_and_a_halt_happen_one_after_the_other(
    stores: list[DatabaseStore], threads: Threads
) -> None:
    prepare(stores[0], lambda n: [create(f"t{n}", {"resonate:target": f"g{n}"}, NEVER)])
    found = race(
        threads,
        lambda n: claim(stores[0], [f"g{n}"], pid="p", ttl=TTL, limit=1),
        lambda n: ask(stores[1], TaskHalt(f"t{n}")),
    )
    tasks = snapshot(stores[0]).tasks
    for number, (claimed, halted) in enumerate(found):
        assert halted.is_ok
        assert tasks[f"t{number}"].state is TaskState.HALTED
        assert tasks[f"t{number}"].version == len(claimed)


def test_a_beat_or_the_expiry_of_the_lease_wins(make_store: MakeStore, threads: Threads) -> None:
    """The expiry may have to be tried again: a beat changes rows without the locks of programs."""
    clock = Clock(START)
    stores = [make_store(clock=clock), make_store(clock=clock)]
    prepare(stores[0], lambda n: [start(f"t{n}", NEVER, ttl=1000)])
    clock.advance(MINUTE)

    def expire(number: int) -> int | None:
        step: InternalStep = LeaseExpiry(f"t{number}")
        try:
            return stores[0].fire(step)
        except StoreConflictError:
            return 0

    found = race(threads, expire, lambda n: heartbeat(stores[1], "p", {f"t{n}": 1}))
    tasks = snapshot(stores[0]).tasks
    for number, (expired, lost) in enumerate(found):
        task = tasks[f"t{number}"]
        if expired:  # what was being expired during the beat is lost at the next
            assert task.state is TaskState.PENDING
            assert lost <= {f"t{number}"}
        else:
            assert (task.state, lost) == (TaskState.ACQUIRED, set())
            assert task.expires_at == clock.now + 1000


def test_a_late_checkpoint_and_a_takeover_never_both_succeed(
    make_store: MakeStore, threads: Threads
) -> None:
    """The old holder fences a create; meanwhile its lease expires and another claims the task."""
    clock = Clock(START)
    stores = [make_store(clock=clock), make_store(clock=clock)]
    prepare(
        stores[0],
        lambda n: [
            create(f"t{n}", {"resonate:target": f"g{n}"}, NEVER),
            acquire(f"t{n}", 0, "old", ttl=1000),
        ],
    )
    clock.advance(MINUTE)

    def take_over(number: int) -> bool:
        try:
            stores[1].fire(LeaseExpiry(f"t{number}"))
        except StoreConflictError:
            return False
        return bool(claim(stores[1], [f"g{number}"], pid="new", ttl=TTL, limit=1))

    found = race(
        threads,
        lambda n: stores[0].run(
            fence(create(f"c{n}", EXTERNAL, NEVER), f"t{n}"), PromiseGet(f"t{n}"), fulfill(f"t{n}")
        ),
        take_over,
    )
    state = snapshot(stores[0])
    for number, (replies, is_taken) in enumerate(found):
        is_checked, is_fulfilled = replies[0].is_ok, replies[2].is_ok
        assert is_checked == is_fulfilled == (f"c{number}" in state.promises)
        task = state.tasks[f"t{number}"]
        if is_fulfilled:
            assert not is_taken
            assert task.state is TaskState.FULFILLED
        elif is_taken:
            assert (task.version, task.pid) == (2, "new")
    assert_sound(stores[0])


def test_creations_of_one_id_agree_on_the_first(
    stores: list[DatabaseStore], threads: Threads
) -> None:
    found = race(
        threads,
        lambda n: ask(stores[0], create(f"p{n}", EXTERNAL | {"by": "one"}, NEVER)),
        lambda n: inline(stores[1], create(f"p{n}", EXTERNAL | {"by": "other"}, NEVER)),
    )
    assert all(one.promise == other.promise for one, other in found)
