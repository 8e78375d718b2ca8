"""The sequences S1 to S22 of protocol.md 8.2: rules of the specification beyond the answers C."""

import pytest

from durable.machine.state import Execute, Unblock
from durable.protocol import tags
from durable.protocol.profiles import COMPAT, STRICT
from durable.protocol.records import EMPTY
from durable.protocol.requests import PromiseRegisterCallback, TaskContinue, TaskGet, TaskHalt
from durable.protocol.states import PromiseState, TaskState
from tests.machine.checked import CheckedStore
from tests.machine.factories import (
    ADDRESS,
    EXTERNAL,
    GROUP,
    TARGETED,
    TASK_GIVEN,
    TIMER,
    VALUE,
    acquire,
    create,
    fence,
    fulfill,
    give,
    heartbeat,
    listen,
    schedule,
    settle,
    start,
    suspend,
)


def execute_versions(store: CheckedStore) -> list[int]:
    return [m.version for m in store.state.outbox.values() if isinstance(m, Execute)]


def test_s1_suspend_on_two_equal_ids(store: CheckedStore) -> None:
    give(store, [create("b", EXTERNAL), start("a")])
    assert store.ask(suspend("a", "b", "b"), 0).status == 400


def test_s2_suspend_on_nothing(store: CheckedStore) -> None:
    give(store, [start("a")])
    assert store.ask(suspend("a"), 0).status == 400


def test_s3_suspend_on_itself(store: CheckedStore) -> None:
    give(store, [start("a")])
    assert store.ask(suspend("a", "a"), 0).status == 400


@pytest.mark.parametrize("state", [PromiseState.REJECTED_TIMEDOUT, PromiseState.PENDING])
def test_s4_settle_states_come_before_existence(store: CheckedStore, state: PromiseState) -> None:
    assert store.ask(settle("a", state), 0).status == 400


def test_s5_a_late_settle_reads_the_timeout(store: CheckedStore) -> None:
    give(store, [create("a", EXTERNAL, 100)])
    reply = store.ask(settle("a", value=VALUE), 200)
    assert (reply.status, reply.promise.state) == (200, PromiseState.REJECTED_TIMEDOUT)
    assert (reply.promise.settled_at, reply.promise.value) == (100, EMPTY)


@pytest.mark.parametrize(
    ("promise_tags", "state"),
    [
        pytest.param(TARGETED, PromiseState.REJECTED_TIMEDOUT, id="S6"),
        pytest.param(TIMER, PromiseState.RESOLVED, id="S7"),
    ],
)
def test_s6_s7_born_past_the_deadline(
    store: CheckedStore, promise_tags: dict[str, str], state: PromiseState
) -> None:
    promise = store.ask(create("a", promise_tags, 100), 100).promise
    assert promise.state is state
    assert promise.created_at == promise.settled_at == promise.timeout_at == 100
    if tags.TARGET in promise_tags:
        task = store.ask(TaskGet("a"), 100).task
        assert (task.state, task.version) == (TaskState.FULFILLED, 0)


def test_s8_a_timer_with_a_target() -> None:
    both = TIMER | TARGETED
    for request, compatible in (
        (create("a", both), 200),
        (start("a", promise_tags=both), 400),
        (schedule(promise_tags=both), 400),
    ):
        assert CheckedStore(COMPAT).ask(request, 0).status == compatible
        assert CheckedStore(STRICT).ask(request, 0).status == 400


def test_s9_a_delay_holds_the_first_dispatch(store: CheckedStore) -> None:
    give(store, [create("a", TARGETED | {tags.DELAY: "5000"}, 99_999)])
    store.tick(4999)
    assert execute_versions(store) == []
    store.tick(5000)
    assert execute_versions(store) == [0]


def test_s10_dispatch_repeats_every_retry_timeout(store: CheckedStore) -> None:
    give(store, [create("a", TARGETED)])
    for now, retry_at in ((0, 5000), (4999, 5000), (5000, 10_000)):
        store.tick(now)
        assert store.task("a").retry_at == retry_at
        assert list(store.state.outbox.values()) == [Execute("a", 0, GROUP)]


def test_s11_a_lease_expires_on_the_millisecond(store: CheckedStore) -> None:
    give(store, [create("a", TARGETED), acquire("a", 0, ttl=1000)])
    store.tick(999)
    assert store.task("a").state is TaskState.ACQUIRED
    assert execute_versions(store) == []
    store.tick(1000)
    assert (store.task("a").state, store.task("a").version) == (TaskState.PENDING, 1)
    assert execute_versions(store) == [1]


def test_s12_a_heartbeat_never_fails(store: CheckedStore) -> None:
    give(store, [start("a", ttl=100), start("b", ttl=100)])
    for request in (
        heartbeat(("a", 1), pid="q"),
        heartbeat(("a", 2)),
        heartbeat(("z", 1)),
        heartbeat(),
    ):
        assert store.ask(request, 50).status == 200
    assert store.task("a").expires_at == store.task("b").expires_at == 100
    assert store.ask(heartbeat(("a", 1), ("b", 1)), 50).status == 200
    assert store.task("a").expires_at == store.task("b").expires_at == 150


def test_s13_fence_on_itself_and_on_nothing(store: CheckedStore) -> None:
    give(store, [start("a")])
    assert store.ask(fence(settle("a")), 0).status == 400
    reply = store.ask(fence(settle("z")), 0)
    assert (reply.status, reply.action.reply.status) == (200, 404)


def test_s14_a_replayed_create_meets_the_first(store: CheckedStore) -> None:
    give(store, [start("a")])
    first = store.ask(fence(create("x", EXTERNAL, 5000)), 0).action.reply.promise
    again = store.ask(fence(create("x", EXTERNAL, 7000)), 100).action.reply.promise
    assert again == first
    assert again.timeout_at == 5000


def test_s15_suspend_on_what_is_settled(store: CheckedStore) -> None:
    give(store, [create("b", EXTERNAL), create("c", EXTERNAL), settle("c"), start("a")])
    assert store.ask(suspend("a", "b", "c"), 0).status == 300
    task = store.ask(TaskGet("a"), 0).task
    assert (task.state, task.version, task.resumes) == (TaskState.ACQUIRED, 1, 0)
    assert store.promise("b").callbacks == store.promise("c").callbacks == ()


def test_s16_two_wake_ups_before_one_acquire(store: CheckedStore) -> None:
    give(store, [create("b", EXTERNAL), create("c", EXTERNAL), start("a"), suspend("a", "b", "c")])
    for awaited, resumes in (("b", 1), ("c", 2)):
        store.ask(settle(awaited), 10)
        store.tick(10)
        assert store.ask(TaskGet("a"), 10).task.resumes == resumes
    assert execute_versions(store) == [1]


def test_s17_a_halted_task_remembers_its_wake_ups(store: CheckedStore) -> None:
    give(store, [*TASK_GIVEN[TaskState.SUSPENDED], TaskHalt("a"), settle("b")])
    store.tick(10)
    task = store.ask(TaskGet("a"), 10).task
    assert (task.state, task.resumes) == (TaskState.HALTED, 1)
    give(store, [TaskContinue("a")])
    task = store.ask(TaskGet("a"), 10).task
    assert (task.state, task.resumes) == (TaskState.PENDING, 1)
    assert store.ask(acquire("a", 1), 10).task.resumes == 0


def test_s18_unsuitable_callbacks(store: CheckedStore) -> None:
    give(store, [create("b", EXTERNAL), create("u", EXTERNAL), create("a", TARGETED)])
    for awaited, awaiter, status in (
        ("b", "z", 422),
        ("b", "u", 422),
        ("z", "a", 404),
        ("b", "b", 400),
    ):
        reply = store.ask(PromiseRegisterCallback(awaited, awaiter), 0)
        assert reply.status == status


def test_s19_a_client_settles_under_the_holder(store: CheckedStore) -> None:
    give(store, [start("a"), settle("a")])
    assert store.task("a").state is TaskState.FULFILLED
    assert store.ask(fulfill("a"), 0).status == 409


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (TaskState.SUSPENDED, 409),
        (TaskState.HALTED, 409),
        (TaskState.ACQUIRED, 409),
        (TaskState.PENDING, 200),
        (TaskState.FULFILLED, 200),
    ],
)
def test_s20_create_on_what_exists(store: CheckedStore, state: TaskState, status: int) -> None:
    give(store, TASK_GIVEN[state])
    assert store.ask(start("a"), 0).status == status


def test_s20_create_on_untargeted_and_on_delayed(store: CheckedStore) -> None:
    give(store, [create("u", EXTERNAL), create("d", TARGETED | {tags.DELAY: "5000"})])
    assert store.ask(start("u"), 0).status == 422
    assert store.ask(start("d"), 0).status == 200


def test_s21_settling_twice_tells_everybody_once(store: CheckedStore) -> None:
    give(store, [create("b", EXTERNAL), listen("b"), listen("b", GROUP)])
    for task_id in ("a", "c"):
        give(store, [start(task_id), suspend(task_id, "b")])
    for _ in range(2):
        store.ask(settle("b", value=VALUE), 10)
        store.tick(10)
    record = store.promise("b").record(10)
    told = [m for m in store.state.outbox.values() if isinstance(m, Unblock)]
    assert told == [Unblock(record, ADDRESS), Unblock(record, GROUP)]
    assert [store.task(task_id).resumes for task_id in ("a", "c")] == [("b",), ("b",)]
    assert execute_versions(store) == [1, 1]


def test_s22_acquire_of_what_is_not_to_be_had(store: CheckedStore) -> None:
    give(store, [create("w", TARGETED), create("h", TARGETED), TaskHalt("h")])
    give(store, [start("f"), fulfill("f")])
    for request, status in (
        (acquire("f", 1), 409),
        (acquire("h", 0), 409),
        (acquire("w", 1), 409),
        (acquire("z", 0), 404),
    ):
        assert store.ask(request, 0).status == status
