"""claim() against the machine: what it takes, in which order, and that it is task.acquire."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from durable.machine.memory import MemoryStore
from durable.machine.state import Config
from durable.protocol import tags
from durable.protocol.addresses import group_of
from durable.protocol.claims import Claim
from durable.protocol.records import Value
from durable.protocol.requests import Request, TaskAcquire, TaskHalt
from durable.protocol.states import PromiseState, TaskState
from durable.store.claims import claim
from durable.store.database import DatabaseStore
from tests.machine.factories import (
    EXTERNAL,
    INTERNAL,
    TARGETED,
    acquire,
    create,
    fence,
    fulfill,
    release,
    settle,
    start,
    suspend,
)
from tests.store.conftest import MakeStore
from tests.store.support import (
    assert_sound,
    differences,
    drain_memory,
    history,
    rows,
    snapshot,
    unordered,
    wipe,
)
from tests.store.threads import Threads
from tests.store.timing import MINUTE, NEVER, START, Clock

FAR = START + 60 * MINUTE
TTL = 15_000


def take(
    store: DatabaseStore, *groups: str, pid: str = "w", ttl: int = TTL, limit: int = 100
) -> list[Claim]:
    return claim(store, groups or ("g",), pid=pid, ttl=ttl, limit=limit)


def ids(claims: list[Claim]) -> list[str]:
    return [one.task.id for one in claims]


def targeted(target: str, **more: str) -> dict[str, str]:
    return {tags.TARGET: target, **more}


def test_a_claim_is_an_acquisition(timed: DatabaseStore, clock: Clock) -> None:
    value = Value({"h": "1"}, "x")
    timed.run(create("a", TARGETED | {"k": "v"}, FAR, value))
    clock.advance(7)
    [taken] = take(timed)
    memory = MemoryStore(timed.config)
    memory.run(create("a", TARGETED | {"k": "v"}, FAR, value), now=START)
    [expected] = memory.run(TaskAcquire("a", 0, "w", TTL), now=clock.now)
    assert (taken.task, taken.promise) == (expected.task, expected.promise)
    assert taken.history == ()
    assert differences(unordered(memory.state), snapshot(timed)) == []
    assert take(timed) == []


def test_only_tasks_of_the_groups_are_taken(timed: DatabaseStore) -> None:
    timed.run(
        create("a", targeted("g"), FAR),
        create("b", targeted("poll://any@g"), FAR),
        create("c", targeted("poll://any@g/p"), FAR),
        create("d", targeted("poll://uni@g/p"), FAR),
        create("e", targeted("other"), FAR),
        create("f", targeted("https://g"), FAR),
        create("g", targeted("poll://any@two%20words"), FAR),
        create("h", INTERNAL, FAR),
    )
    assert sorted(ids(take(timed))) == ["a", "b", "c"]
    assert sorted(ids(take(timed, "two words", "other", "nobody"))) == ["e", "g"]
    assert take(timed, "https://g", "") == []


def test_the_one_that_waits_longest_is_taken_first(timed: DatabaseStore, clock: Clock) -> None:
    for number in (3, 1, 2):
        timed.run(create(f"t{number}", TARGETED, FAR))
        clock.advance(1)
    assert [ids(take(timed, limit=2)), ids(take(timed, limit=2))] == [["t3", "t1"], ["t2"]]


def test_nothing_is_taken_before_its_delay(timed: DatabaseStore, clock: Clock) -> None:
    timed.run(create("a", TARGETED | {tags.DELAY: str(START + 10)}, FAR))
    assert take(timed) == []
    clock.advance(9)
    assert take(timed) == []
    clock.advance(1)
    assert ids(take(timed)) == ["a"]


def test_the_dead_are_not_taken(timed: DatabaseStore, clock: Clock) -> None:
    """Its deadline has come, though nothing has stored that yet."""
    timed.run(create("a", TARGETED, START + 10), create("b", TARGETED, START + 11))
    clock.advance(10)
    assert ids(take(timed)) == ["b"]
    assert snapshot(timed).tasks["a"].state is TaskState.PENDING


def test_only_pending_tasks_are_taken(timed: DatabaseStore) -> None:
    timed.run(create("x", EXTERNAL, FAR), create("h", TARGETED, FAR), TaskHalt("h"))
    timed.run(start("a", FAR), start("s", FAR), suspend("s", "x"), start("f", FAR), fulfill("f"))
    assert take(timed) == []


def test_a_second_claim_brings_the_history(timed: DatabaseStore, clock: Clock) -> None:
    timed.run(create("a", TARGETED, FAR), create("other", TARGETED, FAR))
    assert [one.history for one in take(timed)] == [(), ()]
    timed.run(
        fence(create("a.2", INTERNAL, FAR), "a"),
        fence(create("a.1", EXTERNAL, START + 5), "a"),
        fence(settle("a.2", PromiseState.REJECTED, Value(data="x")), "a"),
        fence(create("a.3", targeted("h"), FAR), "a"),
    )
    timed.run(start("a.4", FAR))
    timed.run(release("a"), release("other"))
    clock.advance(5)
    histories = {one.task.id: one.history for one in take(timed)}
    assert [(one.id, one.state) for one in histories["a"]] == [
        ("a.1", PromiseState.REJECTED_TIMEDOUT),
        ("a.2", PromiseState.REJECTED),
        ("a.3", PromiseState.PENDING),
    ]
    assert histories["a"][1].value == Value(data="x")
    assert histories["other"] == ()


def test_the_history_holds_what_an_sdk_created_by_tag(timed: DatabaseStore) -> None:
    """An SDK's replay asks for what carries its branch, however it was created."""
    timed.run(create("a", TARGETED | {tags.BRANCH: "a", tags.ORIGIN: "a"}, FAR))
    child = {tags.BRANCH: "a", tags.ORIGIN: "a", tags.PARENT: "a"}
    timed.run(create("a.1", child, FAR), create("a.2", child, FAR), settle("a.2"))
    timed.run(create("a.3", child | targeted("g") | {tags.BRANCH: "a.3"}, FAR))
    timed.run(acquire("a"), release("a"))
    [taken] = [one for one in take(timed) if one.task.id == "a"]
    assert [one.id for one in taken.history] == ["a.1", "a.2"]


def test_a_claim_is_in_the_history_of_the_task(timed: DatabaseStore, clock: Clock) -> None:
    timed.run(create("a", TARGETED, FAR))
    clock.advance(3)
    take(timed, pid="me")
    assert history("a") == [("acquired", START + 3, 1, "me")]


def test_a_limit_of_none_takes_nothing(timed: DatabaseStore) -> None:
    timed.run(create("a", TARGETED, FAR))
    assert take(timed, limit=0) == []
    assert claim(timed, [], pid="w", ttl=TTL, limit=5) == []


def test_a_claim_knows_the_time_of_this_process(timed: DatabaseStore, clock: Clock) -> None:
    """A clock that went back does not bring back a task whose deadline was seen."""
    timed.run(create("a", TARGETED, START + 10))
    clock.advance(10)
    timed.run(create("b", EXTERNAL, FAR))
    clock.now = START
    assert take(timed) == []


@pytest.mark.postgres_only(reason="SQLite has one writer; nobody can be passed over")
def test_what_another_transaction_writes_is_passed_over(
    store: DatabaseStore, threads: Threads
) -> None:
    store.run(*(create(f"t{number}", TARGETED, NEVER) for number in range(3)))
    held = threads.hold(lambda: store.run(TaskHalt("t1")))
    assert sorted(ids(take(store))) == ["t0", "t2"]
    held.roll_back()
    assert ids(take(store)) == ["t1"]


@pytest.mark.postgres_only(reason="SQLite has one writer; nobody can be passed over")
def test_several_claim_at_once_and_each_task_goes_to_one(
    make_store: MakeStore, threads: Threads
) -> None:
    stores = [make_store() for _ in range(4)]
    stores[0].run(*(create(f"t{number}", TARGETED, NEVER) for number in range(40)))

    def take_all(number: int) -> list[str]:
        taken: list[str] = []
        while found := take(stores[number], pid=f"w{number}", limit=3):
            taken += ids(found)
        return taken

    calls = [threads.call(lambda number=number: take_all(number)) for number in range(4)]
    taken = [call.result(15) for call in calls]
    assert sorted(one for some in taken for one in some) == sorted(f"t{n}" for n in range(40))
    holders = dict(rows("select id, pid from durable_task"))
    assert all(holders[one] == f"w{n}" for n, some in enumerate(taken) for one in some)


GROUPS = ("g", "h")
IDS = tuple("abcdef")


@st.composite
def situations(draw: st.DrawFn) -> list[list[Request]]:
    """Programs that bring tasks into every state, at instants 10 ms apart."""
    programs: list[list[Request]] = []
    for task_id in draw(st.permutations(IDS)):
        deadline = START + draw(st.sampled_from((20, 65, MINUTE)))
        target = draw(st.sampled_from(GROUPS))
        delay = draw(st.sampled_from((None, START + 15, START + 64, START + 66)))
        more = {} if delay is None or delay >= deadline else {tags.DELAY: str(delay)}
        then: list[Request] = draw(
            st.sampled_from(
                (
                    [],
                    [],
                    [acquire(task_id)],
                    [acquire(task_id), release(task_id)],
                    [acquire(task_id), suspend(task_id, "x")],
                    [acquire(task_id), suspend(task_id, "x"), settle("x")],
                    [TaskHalt(task_id)],
                    [acquire(task_id), fulfill(task_id)],
                )
            )
        )
        programs.append([create(task_id, targeted(target, **more), deadline), *then])
    return programs


@settings(
    max_examples=settings().max_examples // 2,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    programs=situations(),
    groups=st.lists(st.sampled_from(GROUPS), unique=True),
    limit=st.integers(0, 7),
)
def test_claims_are_acquisitions_of_the_machine(
    programs: list[list[Request]], groups: list[str], limit: int, make_store: Any
) -> None:
    wipe()
    clock = Clock(START)
    store, memory = make_store(Config(), clock=clock), MemoryStore()
    for program in [[create("x", EXTERNAL, FAR)], *programs]:
        assert store.run(*program) == memory.run(*program, now=clock.now)
        drain_memory(memory, clock.now)
        clock.advance(10)
    ready = dict(rows("select id, not_before from durable_task where not_before <= %s", clock.now))
    expected = [
        task
        for task in memory.state.tasks.values()
        if task.state is TaskState.PENDING
        and task.id in ready
        and memory.state.promises[task.id].is_alive(clock.now)
        and group_of(memory.state.promises[task.id].tags[tags.TARGET]) in groups
    ]
    taken = claim(store, groups, pid="w", ttl=TTL, limit=limit)
    instants = [ready[one.task.id] for one in taken]
    assert instants == sorted(ready[task.id] for task in expected)[:limit]
    for one in taken:
        [reply] = memory.run(
            TaskAcquire(one.task.id, one.task.version - 1, "w", TTL), now=clock.now
        )
        assert (one.task, one.promise) == (reply.task, reply.promise)
    assert differences(unordered(memory.state), snapshot(store)) == []
    assert_sound(store)
    store.close()
