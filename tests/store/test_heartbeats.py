"""heartbeat() against task.heartbeat of the machine."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from durable.machine.memory import MemoryStore
from durable.machine.state import Config
from durable.protocol.requests import Request, TaskHalt, TaskHeartbeat, TaskRef
from durable.protocol.states import TaskState
from durable.store.claims import heartbeat
from durable.store.database import DatabaseStore
from tests.machine.factories import (
    EXTERNAL,
    TARGETED,
    acquire,
    create,
    fulfill,
    release,
    start,
    suspend,
)
from tests.store.support import column, differences, snapshot, unordered, wipe
from tests.store.threads import Threads
from tests.store.timing import MINUTE, NEVER, START, Clock

FAR = START + 60 * MINUTE


def test_leases_held_are_extended(timed: DatabaseStore, clock: Clock) -> None:
    timed.run(start("a", FAR, ttl=100), start("b", FAR, ttl=50), start("c", FAR, "q", ttl=50))
    clock.advance(10)
    assert heartbeat(timed, "p", {"a": 1, "b": 1}) == set()
    tasks = snapshot(timed).tasks
    assert [tasks[one].expires_at for one in "abc"] == [START + 110, START + 60, START + 50]


def test_what_is_lost_is_named(timed: DatabaseStore, clock: Clock) -> None:
    timed.run(create("x", EXTERNAL, FAR), create("pending", TARGETED, FAR))
    timed.run(start("kept", FAR), start("done", FAR), fulfill("done"))
    timed.run(start("other", FAR, "q"), start("parked", FAR), suspend("parked", "x"))
    timed.run(start("halted", FAR), TaskHalt("halted"), start("dead", START + 5))
    timed.run(start("stale", FAR), release("stale"), acquire("stale", 1))
    clock.advance(5)
    held = dict.fromkeys(
        ["kept", "pending", "done", "other", "parked", "halted", "dead", "stale", "gone"], 1
    )
    assert heartbeat(timed, "p", held) == set(held) - {"kept"}


def test_the_version_is_the_fence(timed: DatabaseStore, clock: Clock) -> None:
    """The same process holds the task at a later version: the old beat must not keep that alive."""
    timed.run(start("a", FAR, ttl=100), release("a"), acquire("a", 1, ttl=100))
    clock.advance(10)
    assert heartbeat(timed, "p", {"a": 1}) == {"a"}
    assert column("task", "expires_at", "a") == START + 100
    assert heartbeat(timed, "p", {"a": 2}) == set()
    assert column("task", "expires_at", "a") == START + 110


def test_a_lapsed_lease_that_nobody_took_is_extended(timed: DatabaseStore, clock: Clock) -> None:
    timed.run(start("a", FAR, ttl=10))
    clock.advance(50)
    assert heartbeat(timed, "p", {"a": 1}) == set()
    assert column("task", "expires_at", "a") == clock.now + 10


def test_a_process_that_holds_nothing_asks_nothing(timed: DatabaseStore) -> None:
    assert heartbeat(timed, "p", {}) == set()


@pytest.mark.postgres_only(reason="on SQLite a writer waits for the other")
def test_a_row_that_another_transaction_writes_is_neither_waited_for_nor_lost(
    store: DatabaseStore, threads: Threads
) -> None:
    store.run(start("a", NEVER, ttl=1000), start("b", NEVER, ttl=1000))
    before = column("task", "expires_at", "b")
    held = threads.hold(lambda: store.run(TaskHalt("b")))
    assert heartbeat(store, "p", {"a": 1, "b": 1}) == set()
    assert column("task", "expires_at", "a") > before
    held.roll_back()
    assert column("task", "expires_at", "b") == before
    assert heartbeat(store, "p", {"a": 1, "b": 1}) == set()
    assert column("task", "expires_at", "b") > before


STATES = ("pending", "acquired", "other", "released", "again", "parked", "halted", "fulfilled")


def _programs(task_id: str, state: str, deadline: int) -> list[Request]:
    started = start(task_id, deadline, ttl=100)
    match state:
        case "pending":
            return [create(task_id, TARGETED, deadline)]
        case "acquired":
            return [started]
        case "other":
            return [start(task_id, deadline, "q", ttl=100)]
        case "released":
            return [started, release(task_id)]
        case "again":
            return [started, release(task_id), acquire(task_id, 1, ttl=70)]
        case "parked":
            return [started, suspend(task_id, "x")]
        case "halted":
            return [started, TaskHalt(task_id)]
        case _:
            return [started, fulfill(task_id)]


@settings(
    max_examples=settings().max_examples // 2,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    states=st.lists(st.sampled_from(STATES), min_size=1, max_size=5),
    deadlines=st.lists(st.sampled_from((START + 20, FAR)), min_size=5, max_size=5),
    versions=st.lists(st.integers(0, 2), min_size=6, max_size=6),
    after=st.sampled_from((0, 5, 20, 200)),
)
def test_a_beat_is_the_heartbeat_of_the_machine(
    states: list[str], deadlines: list[int], versions: list[int], after: int, make_store: Any
) -> None:
    wipe()
    clock = Clock(START)
    store, memory = make_store(Config(), clock=clock), MemoryStore()
    program: list[Request] = [create("x", EXTERNAL, FAR)]
    for task_id, state, deadline in zip("abcde", states, deadlines, strict=False):
        program += _programs(task_id, state, deadline)
    assert store.run(*program) == memory.run(*program, now=clock.now)
    clock.advance(after)
    held = dict(zip([*"abcde"[: len(states)], "missing"], versions, strict=False))
    refs = tuple(TaskRef(one, version) for one, version in held.items())
    lost = heartbeat(store, "p", held)
    memory.run(TaskHeartbeat("p", refs), now=clock.now)
    assert differences(unordered(memory.state), snapshot(store)) == []
    assert lost == {one for one, version in held.items() if not _holds(memory, one, version, clock)}
    store.close()


def _holds(memory: MemoryStore, task_id: str, version: int, clock: Clock) -> bool:
    task, promise = memory.task(task_id), memory.promise(task_id)
    return (
        task is not None
        and promise is not None
        and promise.is_alive(clock.now)
        and (task.state, task.version, task.pid) == (TaskState.ACQUIRED, version, "p")
    )
