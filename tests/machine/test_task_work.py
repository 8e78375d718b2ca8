"""The guard tables of what a holder does, halt and continue (protocol.md 3.10, 3.12 to 3.16)."""

import pytest

from durable.protocol import tags
from durable.protocol.profiles import COMPAT, STRICT
from durable.protocol.records import EMPTY
from durable.protocol.requests import (
    PromiseCreate,
    PromiseRegisterCallback,
    PromiseSettle,
    Reply,
    Request,
    TaskContinue,
    TaskFulfill,
    TaskHalt,
    TaskSuspend,
)
from durable.protocol.states import PromiseState, TaskState
from tests.machine.checked import CheckedStore, copied
from tests.machine.factories import (
    DYING_TASK_GIVEN,
    EXTERNAL,
    FAR,
    GLOBAL,
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
    fence,
    fulfill,
    give,
    release,
    settle,
    start,
    suspend,
)

FENCE_TEXT = "Task is not acquired or version mismatch"
HELD_TEXT = "Task version mismatch or invalid state"
NEEDS_LEASE = [
    pytest.param(fence(create("x")), FENCE_TEXT, id="fence"),
    pytest.param(suspend("a", "s"), HELD_TEXT, id="suspend"),
    pytest.param(fulfill("a"), HELD_TEXT, id="fulfill"),
    pytest.param(release("a"), HELD_TEXT, id="release"),
]


@pytest.mark.parametrize(("request_", "text"), NEEDS_LEASE)
@pytest.mark.parametrize(
    "given",
    [
        *(
            pytest.param(given, id=str(state))
            for state, given in TASK_GIVEN.items()
            if state not in {None, TaskState.ACQUIRED}
        ),
        *(pytest.param(given, id=f"expired, {state}") for state, given in DYING_TASK_GIVEN.items()),
        pytest.param([start("a"), release("a"), acquire("a", 1)], id="version behind"),
        pytest.param([create("a", TARGETED)], id="never acquired"),
        pytest.param([start("a"), settle("a")], id="settled by a client"),
    ],
)
def test_work_needs_a_lease(
    store: CheckedStore, given: Given, request_: Request, text: str
) -> None:
    give(store, [create("s", EXTERNAL), *given])
    before = copied(store.state)
    assert store.ask(request_, NOW) == Reply(409, text)
    assert store.state == before


@pytest.mark.parametrize(("request_", "text"), NEEDS_LEASE)
def test_work_on_an_unknown_task(store: CheckedStore, request_: Request, text: str) -> None:
    del text
    give(store, [create("a", EXTERNAL)])
    assert store.ask(request_, NOW) == Reply(404, "Task not found")


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        pytest.param(
            fence(create("a")), "Action ID must not equal the task ID", id="fence on itself"
        ),
        pytest.param(
            fence(settle("a")), "Action ID must not equal the task ID", id="fence settles itself"
        ),
        pytest.param(
            fence(create("x", timeout_at=-1)),
            "TimeoutAt must be a non-negative integer",
            id="fence with malformed data",
        ),
        pytest.param(suspend("a"), "Actions array cannot be empty", id="suspend on nothing"),
        pytest.param(
            TaskSuspend("a", 1, (PromiseRegisterCallback("b", "x"),)),
            "All action awaiter IDs must match the task ID",
            id="suspend for another",
        ),
        pytest.param(
            suspend("a", "b", "a"),
            "Action awaited promise must not equal the task ID",
            id="suspend on itself",
        ),
        pytest.param(
            suspend("a", "b", "c", "b"), "Awaited promise IDs must be unique", id="suspend twice"
        ),
        pytest.param(
            fulfill("a", state=PromiseState.PENDING),
            "A promise cannot be settled to pending",
            id="fulfill to pending",
        ),
        pytest.param(
            fulfill("a", state=PromiseState.REJECTED_TIMEDOUT),
            "A promise cannot be settled to rejected_timedout",
            id="fulfill to timed out",
        ),
        pytest.param(
            TaskFulfill("a", 1, settle("b")),
            "Action ID must match the task ID",
            id="fulfill of another",
        ),
    ],
)
@pytest.mark.parametrize("given", [(), (start("a"),)], ids=["before existence", "held"])
def test_doors_come_before_everything(
    store: CheckedStore, given: Given, request_: Request, text: str
) -> None:
    give(store, given)
    before = copied(store.state)
    assert store.ask(request_, NOW) == Reply(400, text)
    assert store.state == before


def test_fence_creates_under_the_lease(store: CheckedStore) -> None:
    give(store, [start("a")])
    reply = store.ask(fence(create("x", TARGETED, param=VALUE)), NOW)
    assert (reply.status, reply.action.kind) == (200, "promise.create")
    assert reply.action.reply == Reply(200, promise=store.promise("x").record(NOW))
    assert store.task("x").state is TaskState.PENDING
    assert store.task("a").state is TaskState.ACQUIRED


def test_fence_settles_under_the_lease(store: CheckedStore) -> None:
    give(store, [start("a"), create("x")])
    for applied in (True, False):
        reply = store.ask(fence(settle("x", PromiseState.REJECTED, VALUE)), NOW)
        assert (reply.status, reply.action.kind, reply.applied) == (200, "promise.settle", applied)
        assert reply.action.reply.promise == store.promise("x").record(NOW)
    assert store.promise("x").value == VALUE


def test_fence_asks_for_no_pid_and_leaves_the_task(store: CheckedStore) -> None:
    give(store, [start("a")])
    task = store.task("a")
    store.ask(fence(create("x")), NOW)
    assert store.task("a") is task


@pytest.mark.parametrize(
    ("action", "status"),
    [
        pytest.param(settle("x"), 404, id="settle of a missing promise"),
        pytest.param(settle("x", PromiseState.PENDING), 400, id="settle to pending"),
        pytest.param(create("x", {tags.TARGET: ""}), 400, id="create with an empty target"),
        pytest.param(create("x", EXTERNAL | {tags.DELAY: "1"}), 400, id="create with a bad delay"),
    ],
)
def test_fence_answers_ok_around_an_inner_refusal(
    store: CheckedStore, action: PromiseCreate | PromiseSettle, status: int
) -> None:
    give(store, [start("a")])
    reply = store.ask(fence(action), NOW)
    assert reply.status == 200
    assert reply.action.reply.status == status
    assert reply.action.reply.error
    assert "x" not in store.state.promises


def test_fence_of_a_timer_with_a_target_depends_on_the_profile() -> None:
    for profile, status in ((COMPAT, 200), (STRICT, 400)):
        store = CheckedStore(profile)
        give(store, [start("a")])
        reply = store.ask(fence(create("x", TIMER | TARGETED)), NOW)
        assert (reply.status, reply.action.reply.status) == (200, status)
        assert "x" not in store.state.tasks


@pytest.mark.parametrize(
    "promise_tags", [EXTERNAL, TARGETED, TIMER], ids=["external", "targeted", "timer"]
)
def test_suspend_parks_the_task(store: CheckedStore, promise_tags: dict[str, str]) -> None:
    give(store, [create("b", promise_tags), create("c", EXTERNAL), start("a")])
    assert store.ask(suspend("a", "b", "c"), NOW) == Reply(200)
    assert store.task("a") == store.task("a").suspended()
    assert store.task("a").version == 1
    assert store.promise("b").callbacks == store.promise("c").callbacks == ("a",)


def test_suspend_keeps_a_callback_that_stands(store: CheckedStore) -> None:
    give(store, [create("b", EXTERNAL), start("a"), PromiseRegisterCallback("b", "a")])
    assert store.ask(suspend("a", "b"), NOW) == Reply(200)
    assert store.promise("b").callbacks == ("a",)


@pytest.mark.parametrize(
    ("given", "awaited"),
    [
        pytest.param((), ["b"], id="missing"),
        pytest.param([create("b", INTERNAL)], ["b"], id="internal"),
        pytest.param([create("b", INTERNAL), settle("b")], ["b"], id="internal and settled"),
        pytest.param([create("b", EXTERNAL)], ["b", "c"], id="one of two missing"),
        pytest.param([create("b", EXTERNAL), settle("b")], ["b", "c"], id="settled, then missing"),
        pytest.param([create("b", EXTERNAL, NOW)], ["c", "b"], id="missing, then expired"),
        pytest.param(
            [create("b", EXTERNAL), settle("b"), create("c")], ["b", "c"], id="settled, internal"
        ),
    ],
)
def test_suspend_on_what_cannot_be_awaited_wins_over_settled(
    store: CheckedStore, given: Given, awaited: list[str]
) -> None:
    give(store, [start("a"), *given])
    before = copied(store.state)
    assert store.ask(suspend("a", *awaited), NOW) == Reply(422, "Awaited promise not found")
    assert store.state == before


@pytest.mark.parametrize(
    "given",
    [
        pytest.param([create("b", EXTERNAL), settle("b")], id="settled"),
        pytest.param([create("b", EXTERNAL, NOW)], id="expired"),
        pytest.param([create("b", TIMER, NOW)], id="timer came"),
        pytest.param([create("b", TARGETED), settle("b")], id="targeted"),
    ],
)
def test_suspend_with_one_settled_leaves_the_task_with_its_holder(
    store: CheckedStore, given: Given
) -> None:
    give(store, [*given, create("c", EXTERNAL), start("a")])
    task = store.task("a")
    assert store.ask(suspend("a", "c", "b"), NOW) == Reply(300)
    assert store.task("a") == task
    assert (task.state, task.version, task.pid, task.expires_at) == (
        TaskState.ACQUIRED,
        1,
        "p",
        TTL,
    )
    assert store.promise("c").callbacks == ()


def test_suspend_with_one_settled_empties_the_resumes(store: CheckedStore) -> None:
    give(store, [create("b", EXTERNAL), create("c", EXTERNAL), start("a")])
    give(store, [PromiseRegisterCallback("b", "a"), settle("b")])
    store.tick(0)
    assert store.task("a").resumes == ("b",)
    assert store.ask(suspend("a", "b", "c"), NOW).status == 300
    assert store.task("a").resumes == ()


def test_suspend_on_global_scope_depends_on_the_profile() -> None:
    for profile, status in ((COMPAT, 200), (STRICT, 422)):
        store = CheckedStore(profile)
        give(store, [create("b", GLOBAL), start("a")])
        assert store.ask(suspend("a", "b"), NOW).status == status


@pytest.mark.parametrize(
    "state", [PromiseState.RESOLVED, PromiseState.REJECTED, PromiseState.REJECTED_CANCELED]
)
def test_fulfill_settles_promise_and_task(store: CheckedStore, state: PromiseState) -> None:
    give(store, [start("a")])
    reply = store.ask(fulfill("a", state=state, value=VALUE), NOW)
    assert (reply.status, reply.applied) == (200, True)
    assert reply.promise == store.promise("a").record(NOW)
    assert (reply.promise.state, reply.promise.value) == (state, VALUE)
    assert reply.promise.settled_at == NOW
    assert store.task("a") == store.task("a").fulfilled()


def test_fulfill_again_is_a_conflict(store: CheckedStore) -> None:
    give(store, [start("a"), fulfill("a")])
    assert store.ask(fulfill("a"), NOW) == Reply(409, HELD_TEXT)


def test_release_is_due_at_once_and_keeps_the_resumes(store: CheckedStore) -> None:
    give(store, [create("b", EXTERNAL), start("a")])
    give(store, [PromiseRegisterCallback("b", "a"), settle("b")])
    store.tick(0)
    assert store.ask(release("a"), NOW) == Reply(200)
    task = store.task("a")
    assert (task.state, task.version, task.resumes) == (TaskState.PENDING, 1, ("b",))
    assert (task.retry_at, task.pid, task.ttl, task.expires_at) == (NOW, None, None, None)


@pytest.mark.parametrize("state", [TaskState.PENDING, TaskState.ACQUIRED, TaskState.SUSPENDED])
def test_halt_stops_a_task(store: CheckedStore, state: TaskState) -> None:
    give(store, TASK_GIVEN[state])
    version = store.task("a").version
    assert store.ask(TaskHalt("a"), NOW) == Reply(200)
    task = store.task("a")
    assert (task.state, task.version) == (TaskState.HALTED, version)
    store.tick(NOW + 50_000)
    assert store.task("a") == task
    assert not store.state.outbox


def test_halt_keeps_the_resumes(store: CheckedStore) -> None:
    give(store, [*TASK_GIVEN[TaskState.SUSPENDED], settle("b")])
    store.tick(0)
    store.ask(TaskHalt("a"), NOW)
    assert store.task("a").resumes == ("b",)


def test_halt_again_changes_nothing(store: CheckedStore) -> None:
    give(store, TASK_GIVEN[TaskState.HALTED])
    task = store.task("a")
    assert store.ask(TaskHalt("a"), NOW) == Reply(200)
    assert store.task("a") is task


@pytest.mark.parametrize(
    ("given", "request_", "status", "text"),
    [
        pytest.param((), TaskHalt("a"), 404, "Task not found", id="halt unknown"),
        pytest.param(
            [create("a", EXTERNAL)], TaskHalt("a"), 404, "Task not found", id="halt no task"
        ),
        pytest.param(
            TASK_GIVEN[TaskState.FULFILLED],
            TaskHalt("a"),
            409,
            "Task is fulfilled",
            id="halt fulfilled",
        ),
        *(
            pytest.param(
                given, TaskHalt("a"), 409, "Task is fulfilled", id=f"halt expired, {state}"
            )
            for state, given in DYING_TASK_GIVEN.items()
        ),
        pytest.param((), TaskContinue("a"), 404, "Task not found", id="continue unknown"),
        *(
            pytest.param(
                TASK_GIVEN[state],
                TaskContinue("a"),
                409,
                "Task is not halted",
                id=f"continue {state}",
            )
            for state in TaskState
            if state is not TaskState.HALTED
        ),
        *(
            pytest.param(
                given, TaskContinue("a"), 409, "Task is not halted", id=f"continue expired, {state}"
            )
            for state, given in DYING_TASK_GIVEN.items()
        ),
    ],
)
def test_halt_and_continue_refuse(
    store: CheckedStore, given: Given, request_: Request, status: int, text: str
) -> None:
    give(store, given)
    before = copied(store.state)
    assert store.ask(request_, NOW) == Reply(status, text)
    assert store.state == before


@pytest.mark.parametrize("state", [TaskState.PENDING, TaskState.ACQUIRED, TaskState.SUSPENDED])
def test_continue_makes_the_task_pending_whatever_it_was(
    store: CheckedStore, state: TaskState
) -> None:
    give(store, [*TASK_GIVEN[state], TaskHalt("a")])
    version = store.task("a").version
    assert store.ask(TaskContinue("a"), NOW) == Reply(200)
    task = store.task("a")
    assert (task.state, task.version, task.retry_at) == (TaskState.PENDING, version, NOW)


def test_continue_again_is_a_conflict(store: CheckedStore) -> None:
    give(store, [*TASK_GIVEN[TaskState.HALTED], TaskContinue("a")])
    assert store.ask(TaskContinue("a"), NOW) == Reply(409, "Task is not halted")


def test_continue_without_a_promise(store: CheckedStore) -> None:
    """No step leads there; what a damaged store answers is still the table's."""
    give(store, TASK_GIVEN[TaskState.HALTED])
    del store.state.promises["a"]
    [reply] = super(CheckedStore, store).run(TaskContinue("a"), now=NOW)
    assert reply == Reply(404, "Promise not found")


def test_deadline_fulfils_whatever_the_state(store: CheckedStore) -> None:
    for given in DYING_TASK_GIVEN.values():
        dying = CheckedStore(store.profile)
        give(dying, given)
        dying.tick(NOW)
        assert dying.task("a").state is TaskState.FULFILLED
        assert dying.promise("a").settled_at == NOW
        assert dying.promise("a").value == EMPTY


def test_settled_promise_keeps_far_deadline(store: CheckedStore) -> None:
    give(store, TASK_GIVEN[TaskState.FULFILLED])
    settled = store.promise("a")
    store.tick(FAR)
    assert store.promise("a") == settled
