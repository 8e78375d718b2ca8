"""Threads of two processes with random programs over few ids: what they saw could have happened."""

import random
import threading
from collections.abc import Callable

import pytest
from django.db import transaction

from durable.machine.memory import MemoryStore
from durable.protocol.requests import (
    PromiseGet,
    PromiseRegisterCallback,
    Reply,
    Request,
    TaskContinue,
    TaskGet,
    TaskHalt,
)
from durable.protocol.states import PromiseState
from durable.store.claims import claim
from durable.store.database import DatabaseStore
from durable.store.due import find_due
from tests.machine.factories import (
    EXTERNAL,
    INTERNAL,
    TARGETED,
    acquire,
    create,
    fence,
    fulfill,
    heartbeat,
    listen,
    release,
    settle,
    start,
    suspend,
)
from tests.store.conftest import MakeStore
from tests.store.linearizable import Recorder, is_linearizable
from tests.store.support import (
    assert_sound,
    drain_database,
    drains,
    snapshot,
    wipe,
)
from tests.store.threads import Threads
from tests.store.timing import MINUTE, START, Clock

FAR = START + 60 * MINUTE
TTL = 15_000
IDS = "abc"
THREADS = 4
CALLS = 3
HISTORIES = 25
WAIT = 15.0

GIVEN: list[list[Request]] = [
    [],
    [create("a", TARGETED, FAR), create("b", EXTERNAL, FAR)],
    [start("a", FAR), create("b", EXTERNAL, FAR), create("c", EXTERNAL, FAR)],
    [start("a", FAR), create("b", EXTERNAL, FAR), suspend("a", "b")],
    [start("a", FAR), start("b", FAR), suspend("a", "b"), create("c", TARGETED, FAR)],
    [start("a", FAR), start("c", FAR), create("b", EXTERNAL, FAR), suspend("c", "b")],
]


def any_request(chance: random.Random) -> Request:
    one, other = chance.sample(IDS, 2)
    version = chance.choice((0, 1, 1, 1, 2))
    tags = chance.choice((TARGETED, TARGETED, EXTERNAL, INTERNAL))
    state = chance.choice((PromiseState.RESOLVED, PromiseState.REJECTED))
    pid = chance.choice("pq")
    makers: list[Callable[[], Request]] = [
        lambda: PromiseGet(one),
        lambda: TaskGet(one),
        lambda: create(one, tags, FAR),
        lambda: settle(one, state),
        lambda: settle(one, state),
        lambda: PromiseRegisterCallback(one, other),
        lambda: listen(one),
        lambda: start(one, FAR, pid, TTL),
        lambda: acquire(one, version, pid, TTL),
        lambda: acquire(one, 0, pid, TTL),
        lambda: fence(create(other, tags, FAR), one, version),
        lambda: fence(settle(other, state), one, version),
        lambda: heartbeat((one, version), pid=pid),
        lambda: suspend(one, other, version=version),
        lambda: suspend(one, other, version=version),
        lambda: fulfill(one, version, state),
        lambda: release(one, version),
        lambda: TaskHalt(one),
        lambda: TaskContinue(one),
    ]
    return chance.choice(makers)()


def call_something(
    store: DatabaseStore, chance: random.Random, recorder: Recorder, number: int
) -> None:
    what = chance.random()
    program = [any_request(chance) for _ in range(chance.choice((1, 1, 2, 3)))]
    if what < 0.55:
        recorder.run(store.run, program)
    elif what < 0.75:
        recorder.run(lambda *requests: _inline(store, requests), program)
    elif what < 0.9:
        pid = f"w{number}"
        recorder.claim(lambda: claim(store, ["g"], pid=pid, ttl=TTL, limit=2), pid, TTL)
    else:
        fire_drains(store)


def _inline(store: DatabaseStore, requests: tuple[Request, ...]) -> list[Reply]:
    with transaction.atomic():
        return store.run(*requests)


def fire_drains(store: DatabaseStore) -> None:
    if steps := drains(find_due(store, limit=10).steps):
        store.fire(*steps)


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(HISTORIES, marks=pytest.mark.timeout(60)),
        pytest.param(20 * HISTORIES, marks=[pytest.mark.slow, pytest.mark.timeout(900)]),
    ],
)
def test_histories_are_linearizable(count: int, make_store: MakeStore, threads: Threads) -> None:
    clock = Clock(START)
    stores = [make_store(clock=clock) for _ in range(2)]
    for seed in range(count):
        _one_history(seed, stores, threads)


def _one_history(seed: int, stores: list[DatabaseStore], threads: Threads) -> None:
    wipe()
    given = GIVEN[seed % len(GIVEN)]
    memory = MemoryStore(stores[0].config)
    if given:
        assert stores[0].run(*given) == memory.run(*given, now=START)
    recorder = Recorder(START)
    together = threading.Barrier(THREADS)

    def play(number: int) -> None:
        chance = random.Random(f"{seed} {number}")
        store = stores[number % 2]
        together.wait(WAIT)
        for _ in range(CALLS):
            call_something(store, chance, recorder, number)

    for call in [threads.call(lambda n=n: play(n)) for n in range(THREADS)]:
        call.result(WAIT)
    drain_database(stores[0])
    assert_sound(stores[0])
    calls = sorted(recorder.calls, key=lambda call: call.called)
    history = "\n".join(map(repr, calls))
    assert is_linearizable(memory.state, calls, snapshot(stores[0]), START), f"{seed=}\n{history}"


def test_the_search_finds_what_cannot_have_happened() -> None:
    """A lost update: both saw the promise unsettled after the other had returned."""
    memory = MemoryStore()
    memory.run(create("a", EXTERNAL, FAR), now=START)
    before = memory.state
    recorder = Recorder(START)
    recorder.run(lambda *_: memory.run(settle("a"), now=START), [settle("a")])
    old = MemoryStore()
    [pending] = old.run(create("a", EXTERNAL, FAR), now=START)
    recorder.run(lambda *_: [pending], [PromiseGet("a")])
    start_state = MemoryStore()
    start_state.run(create("a", EXTERNAL, FAR), now=START)
    assert before is memory.state
    assert not is_linearizable(start_state.state, recorder.calls, memory.state, START)
    recorder.calls[1].called = 0  # had it been called before the settlement returned
    assert is_linearizable(start_state.state, recorder.calls, memory.state, START)
