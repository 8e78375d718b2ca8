"""The conformance answers C1 to C11 by the sequences of protocol.md 8.2; C12 is the gateway's."""

from collections.abc import Iterator

import pytest

from durable.machine.state import Execute, ServerState, Unblock
from durable.protocol import tags
from durable.protocol.records import EMPTY, PromiseRecord, TaskRecord
from durable.protocol.requests import (
    PromiseGet,
    PromiseRegisterCallback,
    Request,
    TaskContinue,
    TaskGet,
    TaskHalt,
)
from durable.protocol.states import PromiseState, TaskState
from tests.machine.checked import CheckedStore
from tests.machine.factories import (
    ADDRESS,
    EXTERNAL,
    FAR,
    GROUP,
    INTERNAL,
    TARGETED,
    TIMER,
    VALUE,
    acquire,
    create,
    fence,
    fulfill,
    give,
    heartbeat,
    listen,
    release,
    settle,
    start,
    suspend,
)


def executes(store: CheckedStore) -> list[Execute]:
    return [message for message in store.state.outbox.values() if isinstance(message, Execute)]


def unblocks(store: CheckedStore) -> list[Unblock]:
    return [message for message in store.state.outbox.values() if isinstance(message, Unblock)]


@pytest.mark.parametrize(
    ("promise_tags", "state"),
    [(EXTERNAL, PromiseState.REJECTED_TIMEDOUT), (TIMER, PromiseState.RESOLVED)],
    ids=["external", "timer"],
)
def test_c1_external_deadlines_fire_by_themselves(
    store: CheckedStore, promise_tags: dict[str, str], state: PromiseState
) -> None:
    give(store, [create("B", promise_tags, 1000), start("A")])
    assert store.ask(suspend("A", "B"), 10).status == 200
    store.tick(1000)
    promise, task = store.promise("B"), store.task("A")
    assert (promise.state, promise.settled_at, promise.value) == (state, 1000, EMPTY)
    assert (task.state, task.resumes, task.version) == (TaskState.PENDING, ("B",), 1)
    assert executes(store) == [Execute("A", 1, GROUP)]


def test_c1_internal_deadlines_are_projected_only(store: CheckedStore) -> None:
    give(store, [create("P", INTERNAL, 1000)])
    assert store.due(2000) == []
    store.tick(2000)
    assert store.promise("P").state is PromiseState.PENDING
    seen = store.ask(PromiseGet("P"), 2000).promise
    assert (seen.state, seen.settled_at) == (PromiseState.REJECTED_TIMEDOUT, 1000)


def test_c2_no_callback_on_an_internal_promise(store: CheckedStore) -> None:
    give(store, [create("A", TARGETED), create("P", INTERNAL)])
    assert store.ask(PromiseRegisterCallback("P", "A"), 0).status == 422
    assert store.promise("P").callbacks == ()


def test_c2_no_suspension_on_an_internal_promise(store: CheckedStore) -> None:
    give(store, [start("A")])
    store.ask(create("P", INTERNAL), 1)
    assert store.ask(suspend("A", "P"), 2).status == 422
    assert store.task("A").state is TaskState.ACQUIRED


@pytest.mark.parametrize("order", ["PS", "SP"])
def test_c2_unsuitable_wins_over_settled(store: CheckedStore, order: str) -> None:
    give(store, [create("P", INTERNAL), create("S", EXTERNAL), settle("S"), start("A")])
    assert store.ask(suspend("A", *order), 2).status == 422


def test_c3_no_listener_on_an_internal_promise(store: CheckedStore) -> None:
    give(store, [create("P", INTERNAL)])
    assert store.ask(listen("P", GROUP), 0).status == 422
    assert store.promise("P").listeners == ()


def test_c4_create_sees_the_deadline(store: CheckedStore) -> None:
    give(store, [create("A", TARGETED, 1000)])
    reply = store.ask(start("A", pid="x", ttl=5000), 1000)
    assert reply.status == 200
    assert (reply.task.state, reply.task.version) == (TaskState.FULFILLED, 0)
    assert reply.promise.state is PromiseState.REJECTED_TIMEDOUT
    assert reply.promise.settled_at == 1000


def test_c4_halt_sees_the_deadline(store: CheckedStore) -> None:
    give(store, [create("A", TARGETED, 1000)])
    assert store.ask(TaskHalt("A"), 1000).status == 409


def test_c4_continue_sees_the_deadline(store: CheckedStore) -> None:
    give(store, [create("A", TARGETED, 1000)])
    assert store.ask(TaskHalt("A"), 500).status == 200
    assert store.ask(TaskContinue("A"), 1000).status == 409
    store.tick(9000)
    assert executes(store) == []


def test_c5_lease_expiry_sees_the_deadline(store: CheckedStore) -> None:
    give(store, [start("A", timeout_at=200, ttl=100)])
    for now in (300, 400, 9000):
        store.tick(now)
        assert store.task("A").state is TaskState.FULFILLED
        assert executes(store) == []


def test_c5_retry_sees_the_deadline(store: CheckedStore) -> None:
    give(store, [create("A", TARGETED | {tags.DELAY: "150"}, 200)])
    store.tick(300)
    assert executes(store) == []
    assert store.task("A").state is TaskState.FULFILLED


def test_c6_a_dead_awaiter_is_not_resumed(store: CheckedStore) -> None:
    give(store, [start("A", timeout_at=1000), create("B", EXTERNAL, 10_000)])
    assert store.ask(suspend("A", "B"), 10).status == 200
    assert store.ask(settle("B"), 1500).status == 200
    store.tick(1500)
    assert executes(store) == []
    assert store.ask(TaskGet("A"), 1500).task.state is TaskState.FULFILLED
    assert store.ask(acquire("A", 1), 1500).status == 409
    assert store.promise("B").callbacks == ()
    promise = store.promise("A")
    assert (promise.state, promise.settled_at) == (PromiseState.REJECTED_TIMEDOUT, 1000)


def test_c7_heartbeat_does_not_extend_the_dead(store: CheckedStore) -> None:
    give(store, [start("A", timeout_at=1000, ttl=5000)])
    assert store.ask(heartbeat(("A", 1)), 1500).status == 200
    assert store.task("A").expires_at == 5000


AFTER_ITS_DEADLINE: list[Request] = [
    PromiseGet("A"),
    create("A", TARGETED),
    settle("A", value=VALUE),
    listen("A"),
    PromiseRegisterCallback("A", "B"),
    TaskGet("A"),
    start("A"),
]


def records(store: CheckedStore, now: int) -> Iterator[PromiseRecord | TaskRecord]:
    for request in AFTER_ITS_DEADLINE:
        reply = store.ask(request, now)
        assert reply.status == 200, request
        assert not reply.applied
        assert reply.promise or reply.task
        yield from filter(None, (reply.promise, reply.task))


@pytest.mark.parametrize("ticks", [False, True], ids=["before a sweep", "after a sweep"])
def test_c8_every_record_is_projected(store: CheckedStore, ticks: bool) -> None:
    give(store, [create("A", TARGETED, 1000), create("B", TARGETED)])
    for now in (1000, 1700, 9000):
        if ticks:
            store.tick(now)
        for record in records(store, now):
            if isinstance(record, PromiseRecord):
                assert (record.state, record.settled_at, record.value) == (
                    PromiseState.REJECTED_TIMEDOUT,
                    1000,
                    EMPTY,
                )
            else:
                assert record == TaskRecord("A", TaskState.FULFILLED, 0, resumes=0)
    assert store.promise("A").listeners == store.promise("A").callbacks == ()


def test_c8_fence_projects_what_it_meets(store: CheckedStore) -> None:
    give(store, [create("x", EXTERNAL, 1000), start("A")])
    for action in (create("x", EXTERNAL), settle("x")):
        inner = store.ask(fence(action, "A"), 1000).action.reply
        assert (inner.status, inner.promise.settled_at) == (200, 1000)


def test_c9_no_message_is_ahead_of_its_task(store: CheckedStore) -> None:
    give(store, [create("A", TARGETED)])
    store.tick(0)
    assert executes(store) == [Execute("A", 0, GROUP)]
    give(store, [acquire("A", 0)])
    store.tick(0)
    assert executes(store) == [Execute("A", 0, GROUP)]
    give(store, [release("A", 1)])
    store.tick(0)
    assert executes(store) == [Execute("A", 1, GROUP)]


def test_c10_one_of_two_acquires(store: CheckedStore) -> None:
    give(store, [create("A", TARGETED)])
    statuses = [store.ask(acquire("A", 0, pid=pid), 0).status for pid in "xy"]
    assert statuses == [200, 409]
    assert store.task("A").version == 1


def test_c10_an_old_holder_is_fenced_off(store: CheckedStore) -> None:
    give(store, [create("b", EXTERNAL), start("A", ttl=100)])
    store.tick(100)
    assert store.ask(acquire("A", 1, pid="y"), 100).task.version == 2
    for request in (
        fence(create("x"), "A"),
        fulfill("A"),
        suspend("A", "b"),
        release("A"),
    ):
        assert store.ask(request, 100).status == 409
    assert store.task("A").pid == "y"


def test_c10_versions_count_acquisitions(store: CheckedStore) -> None:
    give(store, [create("A", TARGETED)])
    for version in range(20):
        assert store.task("A").version == version
        give(store, [acquire("A", version), release("A", version + 1)])


def test_c11_a_settled_promise_takes_no_subscription(store: CheckedStore) -> None:
    give(store, [create("S", EXTERNAL), settle("S", value=VALUE), create("A", TARGETED)])
    for request in (PromiseRegisterCallback("S", "A"), listen("S", ADDRESS)):
        reply = store.ask(request, 0)
        assert (reply.status, reply.promise.value) == (200, VALUE)
    store.tick(FAR - 1)
    assert store.promise("S").callbacks == store.promise("S").listeners == ()
    assert unblocks(store) == []


def test_c11_a_late_callback_wakes_nobody(store: CheckedStore) -> None:
    give(store, [create("B", EXTERNAL), create("S", EXTERNAL), settle("S"), start("A")])
    give(store, [suspend("A", "B"), PromiseRegisterCallback("S", "A")])
    store.tick(10)
    assert store.task("A").state is TaskState.SUSPENDED
    assert executes(store) == []


def test_no_answer_depends_on_who_swept(store: CheckedStore) -> None:
    """Reads may project or materialise (latitude L1): the answers are the same."""
    given = [create("A", TARGETED, 1000), create("B", TARGETED)]
    swept = CheckedStore(store.profile)
    for one in (store, swept):
        give(one, given)
    swept.tick(1000)
    assert isinstance(swept.state, ServerState)
    assert list(records(store, 1000)) == list(records(swept, 1000))
