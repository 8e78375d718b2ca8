"""The guard tables of task.get, create, acquire and heartbeat (protocol.md 3.7 to 3.9, 3.11)."""

import pytest

from durable.machine.state import Promise, Task
from durable.protocol import tags
from durable.protocol.records import EMPTY, TaskRecord, Value
from durable.protocol.requests import PromiseCreate, Reply, Request, TaskCreate, TaskGet, TaskHalt
from durable.protocol.states import PromiseState, TaskState
from tests.machine.checked import CheckedStore, copied
from tests.machine.factories import (
    DYING_TASK_GIVEN,
    EXTERNAL,
    FAR,
    INTERNAL,
    NOW,
    TARGETED,
    TASK_GIVEN,
    TIMER,
    TTL,
    VALUE,
    Given,
    acquire,
    create,
    fulfill,
    give,
    heartbeat,
    release,
    settle,
    start,
    suspend,
)

BOTH = "A promise cannot be a timer and have a resonate:target tag"


@pytest.mark.parametrize(
    ("given", "request_", "status", "text"),
    [
        pytest.param((), TaskGet("a"), 404, "Task not found", id="get unknown"),
        pytest.param(
            (create("a", EXTERNAL),), TaskGet("a"), 404, "Task not found", id="get of no task"
        ),
        pytest.param(
            (),
            start(promise_tags=EXTERNAL),
            400,
            "Action must have a resonate:target tag",
            id="create without target",
        ),
        pytest.param((), start(promise_tags=TARGETED | TIMER), 400, BOTH, id="create of a timer"),
        pytest.param(
            (),
            start(promise_tags=TARGETED | {tags.DELAY: "1"}),
            400,
            "Action must not have a resonate:delay tag",
            id="create with a delay",
        ),
        pytest.param(
            (),
            start(promise_tags={tags.TARGET: ""}),
            400,
            "resonate:target must not be empty",
            id="create with an empty target",
        ),
        pytest.param(
            (create("a", EXTERNAL),),
            start(),
            422,
            "The promise does not have a resonate:target tag",
            id="create on an untargeted promise",
        ),
        pytest.param(
            (create("a", EXTERNAL), settle("a")),
            start(),
            422,
            "The promise does not have a resonate:target tag",
            id="create on an untargeted promise that is settled",
        ),
        *(
            pytest.param(TASK_GIVEN[state], start(), 409, "Already exists", id=f"create on {state}")
            for state in (TaskState.ACQUIRED, TaskState.SUSPENDED, TaskState.HALTED)
        ),
        pytest.param((), acquire(), 404, "Task not found", id="acquire unknown"),
        *(
            pytest.param(
                TASK_GIVEN[state],
                acquire(version=1),
                409,
                "Task is not pending",
                id=f"acquire {state}",
            )
            for state in TaskState
            if state is not TaskState.PENDING
        ),
        *(
            pytest.param(
                given,
                acquire(version=0 if state is TaskState.PENDING else 1),
                409,
                "Task is not pending",
                id=f"acquire expired and {state}",
            )
            for state, given in DYING_TASK_GIVEN.items()
        ),
        pytest.param(
            TASK_GIVEN[TaskState.PENDING],
            acquire(version=1),
            409,
            "Version mismatch",
            id="acquire ahead of the version",
        ),
        pytest.param(
            (start("a"), release("a")),
            acquire(version=0),
            409,
            "Version mismatch",
            id="acquire behind the version",
        ),
    ],
)
def test_refusals_change_nothing(
    store: CheckedStore, given: Given, request_: Request, status: int, text: str
) -> None:
    give(store, given)
    before = copied(store.state)
    assert store.ask(request_, NOW) == Reply(status, text)
    assert store.state == before


@pytest.mark.parametrize("state", TaskState)
def test_get_answers_with_the_record(store: CheckedStore, state: TaskState) -> None:
    give(store, TASK_GIVEN[state])
    task = store.task("a")
    expected = TaskRecord("a", state, task.version, resumes=0)
    if state is TaskState.ACQUIRED:
        expected = TaskRecord("a", state, 1, resumes=0, ttl=TTL, pid="p")
    assert store.ask(TaskGet("a"), NOW).task == expected


@pytest.mark.parametrize("state", DYING_TASK_GIVEN)
def test_get_projects_the_deadline(store: CheckedStore, state: TaskState) -> None:
    give(store, DYING_TASK_GIVEN[state])
    version = store.task("a").version
    seen = store.ask(TaskGet("a"), NOW).task
    assert seen == TaskRecord("a", TaskState.FULFILLED, version, resumes=0)


def test_create_acquires_a_new_task(store: CheckedStore) -> None:
    action = PromiseCreate("a", FAR, VALUE, TARGETED)
    reply = store.ask(TaskCreate("w", 5000, action), NOW)
    assert reply.status == 200
    assert reply.task == TaskRecord("a", TaskState.ACQUIRED, 1, resumes=0, ttl=5000, pid="w")
    assert (reply.promise.created_at, reply.promise.param) == (NOW, VALUE)
    assert store.task("a").expires_at == NOW + 5000
    assert store.task("a").retry_at is None


def test_create_past_the_deadline_is_born_fulfilled(store: CheckedStore) -> None:
    reply = store.ask(start("a", NOW), NOW)
    assert reply.status == 200
    assert reply.task == TaskRecord("a", TaskState.FULFILLED, 0, resumes=0)
    assert reply.promise.state is PromiseState.REJECTED_TIMEDOUT
    assert reply.promise.created_at == reply.promise.settled_at == NOW


def test_create_on_a_fulfilled_task_answers_with_the_result(store: CheckedStore) -> None:
    give(store, [start("a"), fulfill("a", value=VALUE)])
    before = copied(store.state)
    reply = store.ask(start("a"), NOW)
    assert reply.status == 200
    assert reply.task == TaskRecord("a", TaskState.FULFILLED, 1, resumes=0)
    assert reply.promise.value == VALUE
    assert store.state == before


@pytest.mark.parametrize("state", DYING_TASK_GIVEN)
def test_create_on_an_expired_task_answers_with_the_timeout(
    store: CheckedStore, state: TaskState
) -> None:
    give(store, DYING_TASK_GIVEN[state])
    before = copied(store.state)
    reply = store.ask(start("a"), NOW)
    assert reply.status == 200
    assert reply.task.state is TaskState.FULFILLED
    assert reply.promise.settled_at == NOW
    assert store.state == before


@pytest.mark.parametrize("delay", ["0", "50000"])
def test_create_acquires_a_pending_task(store: CheckedStore, delay: str) -> None:
    give(store, [create("a", TARGETED | {tags.DELAY: delay}, param=VALUE)])
    reply = store.ask(start("a", FAR + 1, pid="w", ttl=10), NOW)
    assert reply.status == 200
    assert reply.task == TaskRecord("a", TaskState.ACQUIRED, 1, resumes=0, ttl=10, pid="w")
    assert (reply.promise.timeout_at, reply.promise.param) == (FAR, VALUE)
    assert (store.task("a").expires_at, store.task("a").retry_at) == (NOW + 10, None)


def test_create_and_acquire_empty_the_resumes(store: CheckedStore) -> None:
    for take in (start("a"), acquire("a", version=1)):
        woken = CheckedStore(store.profile)
        give(woken, TASK_GIVEN[TaskState.SUSPENDED])
        give(woken, [settle("b")])
        woken.tick(0)
        assert woken.task("a").resumes == ("b",)
        assert woken.ask(take, NOW).task.resumes == 0
        assert woken.task("a").version == 2


def test_acquire_hands_the_task_over(store: CheckedStore) -> None:
    give(store, [create("a", TARGETED, param=VALUE)])
    reply = store.ask(acquire("a", 0, pid="w", ttl=10), NOW)
    assert reply.status == 200
    assert reply.task == TaskRecord("a", TaskState.ACQUIRED, 1, resumes=0, ttl=10, pid="w")
    assert reply.promise == store.promise("a").record(NOW)
    assert (store.task("a").expires_at, store.task("a").retry_at) == (NOW + 10, None)


def test_acquire_does_not_wait_for_the_retry(store: CheckedStore) -> None:
    give(store, [create("a", TARGETED | {tags.DELAY: "50000"})])
    assert store.ask(acquire("a", 0), NOW).status == 200


def test_acquire_works_until_the_deadline(store: CheckedStore) -> None:
    give(store, DYING_TASK_GIVEN[TaskState.PENDING])
    assert store.ask(acquire("a", 0), NOW - 1).status == 200


def test_a_task_without_a_promise_is_no_task(store: CheckedStore) -> None:
    """No step leads there; what a damaged store answers is still the table's."""
    task = Task("a", TaskState.PENDING, version=0, retry_at=0)
    for request, status in (
        (TaskGet("a"), 404),
        (acquire("a", 0), 409),
        (release("a", 0), 409),
        (TaskHalt("a"), 404),
    ):
        store.state.tasks["a"] = task
        assert super(CheckedStore, store).run(request, now=NOW)[0].status == status
        assert store.task("a") is task


def test_create_on_a_promise_without_its_task_is_a_conflict(store: CheckedStore) -> None:
    store.state.promises["a"] = Promise(
        "a", PromiseState.PENDING, EMPTY, EMPTY, TARGETED, timeout_at=FAR, created_at=0
    )
    [reply] = super(CheckedStore, store).run(start("a"), now=NOW)
    assert reply == Reply(409, "The promise has no task")


def test_heartbeat_extends_the_leases_held(store: CheckedStore) -> None:
    give(store, [start("a", ttl=5000), start("b", ttl=2000)])
    assert store.ask(heartbeat(("a", 1), ("b", 1)), NOW) == Reply(200)
    assert store.task("a").expires_at == NOW + 5000
    assert store.task("b").expires_at == NOW + 2000


def test_heartbeat_revives_a_lease_that_nobody_expired(store: CheckedStore) -> None:
    give(store, [start("a", ttl=10)])
    store.ask(heartbeat(("a", 1)), NOW)
    assert store.task("a").expires_at == NOW + 10


@pytest.mark.parametrize(
    ("given", "request_"),
    [
        pytest.param([start("a")], heartbeat(), id="no tasks"),
        pytest.param([start("a")], heartbeat(("a", 0)), id="version behind"),
        pytest.param([start("a")], heartbeat(("a", 2)), id="version ahead"),
        pytest.param([start("a")], heartbeat(("a", 1), pid="q"), id="another process"),
        pytest.param([start("a")], heartbeat(("z", 1)), id="unknown task"),
        pytest.param([create("a", INTERNAL)], heartbeat(("a", 1)), id="no task"),
        pytest.param(DYING_TASK_GIVEN[TaskState.ACQUIRED], heartbeat(("a", 1)), id="expired"),
        *(
            pytest.param(TASK_GIVEN[state], heartbeat(("a", 0), ("a", 1)), id=str(state))
            for state in TaskState
            if state is not TaskState.ACQUIRED
        ),
    ],
)
def test_heartbeat_skips_what_is_not_held(
    store: CheckedStore, given: Given, request_: Request
) -> None:
    give(store, given)
    before = copied(store.state)
    assert store.ask(request_, NOW) == Reply(200)
    assert store.state == before


def test_heartbeat_extends_what_is_held_among_what_is_not(store: CheckedStore) -> None:
    give(store, [start("a"), start("b", pid="q"), start("c"), create("d", TARGETED)])
    before = copied(store.state)
    store.ask(heartbeat(("z", 1), ("b", 1), ("a", 1), ("d", 0), ("c", 7), ("a", 1)), NOW)
    changed = {key for key, task in store.state.tasks.items() if task != before.tasks[key]}
    assert changed == {"a"}


def test_only_the_newest_version_holds(store: CheckedStore) -> None:
    for version in range(5):
        give(store, [create("a", TARGETED)])
        assert store.ask(acquire("a", version), NOW).task.version == version + 1
        assert store.ask(acquire("a", version), NOW).status == 409
        assert store.ask(release("a", version), NOW).status == 409
        assert store.ask(release("a", version + 1), NOW).status == 200


def test_a_lease_may_outlast_all_clocks(store: CheckedStore) -> None:
    give(store, [start("a", ttl=2**53 - 1), create("b", EXTERNAL, param=Value(data=""))])
    assert store.ask(heartbeat(("a", 1)), NOW).status == 200
    assert store.ask(suspend("a", "b"), NOW).status == 200
