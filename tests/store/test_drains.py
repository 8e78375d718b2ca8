"""After a settlement everybody is told: at once where that needs no waiting, else soon."""

import pytest

from durable.background.sweeper import Sweeper
from durable.machine.internal import CallbackDrain, ListenerDrain
from durable.machine.state import Unblock, UnblockKey
from durable.protocol.requests import PromiseRegisterCallback, TaskHalt
from durable.protocol.states import PromiseState, TaskState
from durable.store.base import MAX_LOCKED_IDS
from durable.store.database import DatabaseStore
from durable.store.due import find_due
from tests.machine.factories import EXTERNAL, TARGETED, create, listen, settle, start, suspend
from tests.store.support import assert_sound, column, execute, rows, snapshot
from tests.store.threads import Threads
from tests.store.timing import MINUTE, NEVER, START, Clock

FAR = START + 60 * MINUTE
MANY = 60


@pytest.mark.postgres_only(reason="SQLite has one writer; no awaiter can be held elsewhere")
def test_an_awaiter_that_is_held_elsewhere_is_told_later(
    store: DatabaseStore, threads: Threads
) -> None:
    store.run(create("a", EXTERNAL, NEVER), listen("a"))
    store.run(
        start("free", NEVER), suspend("free", "a"), start("held", NEVER), suspend("held", "a")
    )
    held = threads.hold(lambda: store.run(create("held", TARGETED, NEVER)))
    store.run(settle("a"))
    state = snapshot(store)
    assert state.tasks["free"].state is TaskState.PENDING
    assert state.tasks["held"].state is TaskState.SUSPENDED
    assert state.promises["a"].callbacks == ("held",)
    assert UnblockKey("a", "poll://uni@g/p") in state.outbox
    assert find_due(store, limit=10, groups=False).steps == [CallbackDrain("a", "held")]
    Sweeper(store).sweep()
    assert snapshot(store).tasks["held"].state is TaskState.SUSPENDED
    held.commit()
    Sweeper(store).sweep()
    task = snapshot(store).tasks["held"]
    assert (task.state, task.resumes) == (TaskState.PENDING, ("a",))
    assert find_due(store, limit=10, groups=False).steps == []
    assert_sound(store)


def test_leftovers_of_a_crash_are_found_and_told(timed: DatabaseStore) -> None:
    """As if the process had died between settling and draining, which another version might do."""
    timed.run(create("a", EXTERNAL, FAR), start("t", FAR), suspend("t", "a"), listen("a"))
    execute(
        "update durable_promise set state = 'resolved', settled_at = %s, is_undrained = %s"
        " where id = 'a'",
        START,
        True,
    )
    found = find_due(timed, limit=10, groups=False)
    assert set(found.steps) == {CallbackDrain("a", "t"), ListenerDrain("a", "poll://uni@g/p")}
    assert Sweeper(timed).sweep() == 0
    state = snapshot(timed)
    assert state.tasks["t"].state is TaskState.PENDING
    assert isinstance(state.outbox[UnblockKey("a", "poll://uni@g/p")], Unblock)
    assert_sound(timed)


def test_the_dead_are_not_dispatched(timed: DatabaseStore, clock: Clock) -> None:
    timed.run(create("a", EXTERNAL, FAR), start("t", START + 10), suspend("t", "a"))
    clock.advance(10)
    timed.run(settle("a"))
    state = snapshot(timed)
    assert state.promises["t"].state is PromiseState.REJECTED_TIMEDOUT
    assert state.tasks["t"].state is TaskState.FULFILLED
    assert state.outbox == {}
    assert_sound(timed)


def test_many_awaiters_and_listeners_are_told_in_one_go(timed: DatabaseStore) -> None:
    timed.run(
        create("a", EXTERNAL, FAR),
        *(start(f"t{n}", FAR) for n in range(MANY)),
        *(suspend(f"t{n}", "a") for n in range(MANY)),
        *(listen("a", f"https://example.org/{n}") for n in range(MANY)),
    )
    timed.run(settle("a"))
    state = snapshot(timed)
    assert {task.state for task in state.tasks.values()} == {TaskState.PENDING}
    assert len(state.outbox) == MANY
    assert_sound(timed)


def test_more_awaiters_than_one_transaction_locks_are_told_in_several(
    timed: DatabaseStore,
) -> None:
    wide = MAX_LOCKED_IDS + 500
    timed.run(create("a", EXTERNAL, FAR))
    _park(timed, wide)
    timed.run(settle("a"))
    left = rows("select count(*) from durable_callback")[0][0]
    assert 0 < left < wide
    sweeper = Sweeper(timed)
    while sweeper.sweep() == 0:
        pass
    assert rows("select count(*) from durable_callback") == [(0,)]
    assert rows("select state, count(*) from durable_task group by state") == [("pending", wide)]
    assert not column("promise", "is_undrained", "a")


def _park(store: DatabaseStore, count: int) -> None:
    """Insert tasks that wait for ``a``: faster than the requests, and the same rows."""
    numbers = f"(select value as n from {_series(count)})"
    execute(
        "insert into durable_promise (id, state, timeout_at, created_at, tags, origin, is_external,"
        " is_root, is_undrained) select 't' || n, 'pending', %s, %s,"
        f""" '{{"resonate:target":"g"}}', 't' || n, true, true, false from {numbers} s""",
        FAR,
        START,
    )
    execute(
        "insert into durable_task (id, state, version, resumes, queue, not_before, releases)"
        f" select 't' || n, 'suspended', 1, '[]', 'g', 0, 0 from {numbers} s"
    )
    execute(
        "insert into durable_callback (awaited_id, awaiter_id)"
        f" select 'a', 't' || n from {numbers} s"
    )


def _series(count: int) -> str:
    return (
        "(with recursive s(value) as"
        f" (select 1 union all select value + 1 from s where value < {count})"
        " select value from s) r"
    )


def test_a_halted_awaiter_keeps_the_wakeup_for_later(timed: DatabaseStore) -> None:
    timed.run(create("a", EXTERNAL, FAR), start("t", FAR), suspend("t", "a"), TaskHalt("t"))
    timed.run(settle("a"))
    task = snapshot(timed).tasks["t"]
    assert (task.state, task.resumes) == (TaskState.HALTED, ("a",))


def test_an_awaiter_is_told_of_each_promise_once(timed: DatabaseStore) -> None:
    timed.run(create("a", EXTERNAL, FAR), create("b", EXTERNAL, FAR), start("t", FAR))
    timed.run(suspend("t", "a", "b"), PromiseRegisterCallback("a", "t"))
    timed.run(settle("a"), settle("b"))
    task = snapshot(timed).tasks["t"]
    assert (task.state, sorted(task.resumes)) == (TaskState.PENDING, ["a", "b"])
    assert_sound(timed)
