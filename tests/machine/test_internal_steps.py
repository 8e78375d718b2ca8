"""The internal steps (protocol.md 4.4): when each is due, and that it may fire at any time."""

import pytest

from durable.machine.internal import (
    CallbackDrain,
    InternalStep,
    LeaseExpiry,
    ListenerDrain,
    PromiseTimeout,
    RetryDispatch,
    ScheduleFire,
)
from durable.machine.state import Execute, ExecuteKey, Task, Unblock, UnblockKey
from durable.protocol.profiles import COMPAT, STRICT
from durable.protocol.records import EMPTY
from durable.protocol.requests import PromiseRegisterCallback, TaskContinue, TaskHalt
from durable.protocol.states import PromiseState, TaskState
from tests.machine.checked import CheckedStore, copied
from tests.machine.factories import (
    ADDRESS,
    DYING_TASK_GIVEN,
    EXTERNAL,
    GLOBAL,
    GROUP,
    INTERNAL,
    NOW,
    TARGETED,
    TASK_GIVEN,
    TIMER,
    VALUE,
    Given,
    acquire,
    create,
    give,
    listen,
    release,
    schedule,
    settle,
    start,
    suspend,
)

AWAITED_GIVEN = (create("b", EXTERNAL), create("a", TARGETED), PromiseRegisterCallback("b", "a"))


@pytest.mark.parametrize(
    ("given", "step"),
    [
        pytest.param((), PromiseTimeout("a"), id="timeout of nothing"),
        pytest.param([create("a", EXTERNAL, NOW + 1)], PromiseTimeout("a"), id="early timeout"),
        pytest.param([create("a", INTERNAL, NOW)], PromiseTimeout("a"), id="internal timeout"),
        pytest.param(
            [create("a", EXTERNAL, NOW), settle("a")], PromiseTimeout("a"), id="settled before"
        ),
        pytest.param((), ListenerDrain("a", ADDRESS), id="listener of nothing"),
        pytest.param(
            [create("a", EXTERNAL), listen("a")], ListenerDrain("a", ADDRESS), id="early listener"
        ),
        pytest.param(
            [create("a", EXTERNAL, NOW), listen("a")],
            ListenerDrain("a", ADDRESS),
            id="listener of an unstored timeout",
        ),
        pytest.param(
            [create("a", EXTERNAL), listen("a"), settle("a")],
            ListenerDrain("a", GROUP),
            id="unknown listener",
        ),
        pytest.param((), CallbackDrain("b", "a"), id="callback of nothing"),
        pytest.param(AWAITED_GIVEN, CallbackDrain("b", "a"), id="early callback"),
        pytest.param([*AWAITED_GIVEN, settle("b")], CallbackDrain("b", "z"), id="unknown awaiter"),
        pytest.param((), LeaseExpiry("a"), id="lease of nothing"),
        pytest.param([start("a", ttl=NOW + 1)], LeaseExpiry("a"), id="early lease expiry"),
        *(
            pytest.param(given, LeaseExpiry("a"), id=f"lease of {state}")
            for state, given in TASK_GIVEN.items()
            if state is not TaskState.ACQUIRED
        ),
        pytest.param([start("a", NOW, ttl=5)], LeaseExpiry("a"), id="lease of the dead"),
        pytest.param((), RetryDispatch("a"), id="retry of nothing"),
        *(
            pytest.param(given, RetryDispatch("a"), id=f"retry of {state}")
            for state, given in TASK_GIVEN.items()
            if state is not TaskState.PENDING
        ),
        pytest.param([create("a", TARGETED, NOW)], RetryDispatch("a"), id="retry of the dead"),
        pytest.param((), ScheduleFire("s"), id="schedule of nothing"),
        pytest.param([schedule()], ScheduleFire("s"), id="early schedule"),
    ],
)
def test_what_is_not_due_changes_nothing(
    store: CheckedStore, given: Given, step: InternalStep
) -> None:
    give(store, given)
    before = copied(store.state)
    store.fire(step, now=NOW)
    assert store.state == before


@pytest.mark.parametrize(
    ("given", "step"),
    [
        pytest.param([create("a", EXTERNAL, NOW)], PromiseTimeout("a"), id="timeout"),
        pytest.param(
            [create("a", EXTERNAL), listen("a"), settle("a")],
            ListenerDrain("a", ADDRESS),
            id="listener",
        ),
        pytest.param([*AWAITED_GIVEN, settle("b")], CallbackDrain("b", "a"), id="callback"),
        pytest.param([start("a", ttl=NOW)], LeaseExpiry("a"), id="lease"),
        pytest.param([create("a", TARGETED)], RetryDispatch("a"), id="retry"),
        pytest.param([schedule(cron="* * * * * *")], ScheduleFire("s"), id="schedule"),
    ],
)
def test_a_second_firing_changes_nothing(
    store: CheckedStore, given: Given, step: InternalStep
) -> None:
    give(store, given)
    before = copied(store.state)
    assert step in store.due(NOW)
    store.fire(step, now=NOW)
    after = copied(store.state)
    assert after != before
    assert step not in store.due(NOW)
    store.fire(step, now=NOW)
    assert store.state == after


@pytest.mark.parametrize("late", [0, 1, 5000])
@pytest.mark.parametrize(
    ("promise_tags", "state"),
    [
        (EXTERNAL, PromiseState.REJECTED_TIMEDOUT),
        (TARGETED, PromiseState.REJECTED_TIMEDOUT),
        (TIMER, PromiseState.RESOLVED),
    ],
    ids=["external", "targeted", "timer"],
)
def test_timeout_settles_at_the_deadline_however_late(
    store: CheckedStore, promise_tags: dict[str, str], state: PromiseState, late: int
) -> None:
    give(store, [create("a", promise_tags, NOW, VALUE)])
    store.fire(PromiseTimeout("a"), now=NOW + late)
    promise = store.promise("a")
    assert (promise.state, promise.settled_at, promise.value) == (state, NOW, EMPTY)
    task = store.task("a")
    assert task is None or task == task.fulfilled()


def test_timeout_of_global_scope_depends_on_the_profile() -> None:
    for profile, due in ((COMPAT, [PromiseTimeout("a")]), (STRICT, [])):
        store = CheckedStore(profile)
        give(store, [create("a", GLOBAL, NOW)])
        assert store.due(NOW) == due


def test_listener_drain_sends_the_stored_record(store: CheckedStore) -> None:
    give(store, [create("a", EXTERNAL), listen("a"), listen("a", GROUP), settle("a", value=VALUE)])
    store.fire(ListenerDrain("a", ADDRESS), now=NOW)
    assert store.promise("a").listeners == (GROUP,)
    assert store.state.outbox == {
        UnblockKey("a", ADDRESS): Unblock(store.promise("a").record(NOW), ADDRESS)
    }


RESUMED = ("b",)


@pytest.mark.parametrize(
    ("given", "state", "resumes"),
    [
        pytest.param([start("a"), suspend("a", "b")], TaskState.PENDING, RESUMED, id="suspended"),
        pytest.param([create("a", TARGETED)], TaskState.PENDING, RESUMED, id="pending"),
        pytest.param([start("a")], TaskState.ACQUIRED, RESUMED, id="acquired"),
        pytest.param(
            [create("a", TARGETED), TaskHalt("a")], TaskState.HALTED, RESUMED, id="halted"
        ),
        pytest.param(
            [start("a"), suspend("a", "b"), TaskHalt("a")],
            TaskState.HALTED,
            RESUMED,
            id="suspended, then halted",
        ),
    ],
)
def test_callback_drain_resumes_one(
    store: CheckedStore, given: Given, state: TaskState, resumes: tuple[str, ...]
) -> None:
    give(store, [create("b", EXTERNAL), *given, PromiseRegisterCallback("b", "a"), settle("b")])
    before = store.task("a")
    store.fire(CallbackDrain("b", "a"), now=NOW)
    task = store.task("a")
    assert store.promise("b").callbacks == ()
    assert (task.state, task.resumes, task.version) == (state, resumes, before.version)
    woken = before.state is TaskState.SUSPENDED
    assert task.retry_at == (NOW if woken else before.retry_at)
    assert (task.pid, task.expires_at) == (before.pid, before.expires_at)


def test_callback_drain_passes_a_fulfilled_awaiter(store: CheckedStore) -> None:
    give(store, [*AWAITED_GIVEN, settle("a"), settle("b")])
    task = store.task("a")
    store.fire(CallbackDrain("b", "a"), now=NOW)
    assert store.promise("b").callbacks == ()
    assert store.task("a") is task


@pytest.mark.parametrize("state", DYING_TASK_GIVEN)
def test_callback_drain_stores_the_end_of_a_dead_awaiter(
    store: CheckedStore, state: TaskState
) -> None:
    given = [create("b", EXTERNAL), *DYING_TASK_GIVEN[state], PromiseRegisterCallback("b", "a")]
    give(store, [*given, settle("b")])
    store.fire(CallbackDrain("b", "a"), now=NOW)
    assert store.task("a").state is TaskState.FULFILLED
    assert store.promise("a").settled_at == NOW
    assert not store.state.outbox


def test_other_callbacks_of_the_awaiter_stay(store: CheckedStore) -> None:
    give(store, [create("b", EXTERNAL), create("c", EXTERNAL), start("a"), suspend("a", "b", "c")])
    give(store, [settle("b")])
    store.tick(0)
    assert store.promise("c").callbacks == ("a",)
    give(store, [acquire("a", 1), suspend("a", "c", version=2), settle("c")])
    store.tick(0)
    task = store.task("a")
    assert (task.state, task.resumes, task.version) == (TaskState.PENDING, ("c",), 2)


def test_two_wake_ups_are_both_remembered(store: CheckedStore) -> None:
    give(store, [create("c", EXTERNAL), *AWAITED_GIVEN, PromiseRegisterCallback("c", "a")])
    give(store, [settle("b"), settle("c")])
    store.tick(0)
    assert sorted(store.task("a").resumes) == ["b", "c"]


def test_lease_expiry_keeps_version_and_resumes(store: CheckedStore) -> None:
    give(store, [create("b", EXTERNAL), start("a", ttl=NOW), PromiseRegisterCallback("b", "a")])
    give(store, [settle("b")])
    store.fire(CallbackDrain("b", "a"), now=0)
    store.fire(LeaseExpiry("a"), now=NOW + 7)
    task = store.task("a")
    assert (task.state, task.version, task.resumes) == (TaskState.PENDING, 1, ("b",))
    assert (task.retry_at, task.pid, task.ttl) == (NOW + 7, None, None)


def test_retry_dispatch_replaces_the_message_before(store: CheckedStore) -> None:
    give(store, [create("a", TARGETED)])
    store.fire(RetryDispatch("a"), now=NOW)
    assert store.task("a").retry_at == NOW + 5000
    give(store, [acquire("a", 0), release("a", 1)])
    store.fire(RetryDispatch("a"), now=NOW)
    assert store.state.outbox == {ExecuteKey("a"): Execute("a", 1, GROUP)}


def test_tick_settles_wakes_and_dispatches_in_one_go(store: CheckedStore) -> None:
    give(store, [create("t", TIMER, NOW), start("a"), suspend("a", "t"), listen("t")])
    give(store, [create("h", TARGETED), TaskHalt("h"), TaskContinue("h"), create("i", INTERNAL, 5)])
    store.tick(NOW)
    assert set(store.state.outbox) == {ExecuteKey("a"), ExecuteKey("h"), UnblockKey("t", ADDRESS)}
    assert store.due(NOW) == []
    store.tick(NOW)
    assert len(store.state.outbox) == 3


def test_keys_of_the_outbox_do_not_collide(store: CheckedStore) -> None:
    strange = f"b:notify:{ADDRESS}"
    give(store, [create("b", EXTERNAL), listen("b"), settle("b"), create(strange, TARGETED)])
    store.tick(0)
    assert len(store.state.outbox) == 2


def test_a_task_remembers_a_promise_once() -> None:
    """No sequence of steps wakes it twice by one; a store that repeats a drain must not either."""
    task = Task("a", TaskState.ACQUIRED, version=1, resumes=("b",))
    assert task.resumed_by("b") is task
    assert task.resumed_by("c").resumes == ("b", "c")
