"""Every edge of the state machines of protocol.md 4.2 and 4.3, and every one that they lack."""

from collections.abc import Callable, Iterable
from itertools import product

import pytest

from durable.machine.internal import (
    CallbackDrain,
    InternalStep,
    LeaseExpiry,
    PromiseTimeout,
    RetryDispatch,
)
from durable.machine.properties import TRANSITION_PROPERTIES, Step
from durable.machine.state import Promise, ServerState, Task, deadline_verdict
from durable.protocol.records import EMPTY
from durable.protocol.requests import PromiseRegisterCallback, Request, TaskContinue, TaskHalt
from durable.protocol.states import SETTLEABLE, PromiseState, TaskState
from tests.machine.checked import CheckedStore
from tests.machine.factories import (
    EXTERNAL,
    FAR,
    INTERNAL,
    TARGETED,
    TASK_GIVEN,
    TIMER,
    acquire,
    create,
    fence,
    fulfill,
    give,
    heartbeat,
    release,
    settle,
    start,
    suspend,
)

PENDING, ACQUIRED, SUSPENDED, HALTED, FULFILLED = TaskState
LATE = 70_000
"""Leases and retries are due; nobody has swept yet."""

type Walk = Callable[[CheckedStore, int], object]


def asking(request_at_version: Callable[[int], Request], now: int = LATE) -> Walk:
    return lambda store, version: store.ask(request_at_version(version), now)


def firing(step: InternalStep, now: int = LATE) -> Walk:
    return lambda store, _: store.fire(step, now=now)


def drain_callback(store: CheckedStore, _: int) -> None:
    store.ask(settle("b"), LATE)
    store.fire(CallbackDrain("b", "a"), now=LATE)


WALKS: dict[str, Walk] = {
    "create promise": asking(lambda _: create("a", TARGETED)),
    "create past its deadline": asking(lambda _: create("a", TARGETED, LATE)),
    "create task": asking(lambda _: start("a")),
    "acquire": asking(lambda version: acquire("a", version)),
    "acquire at another version": asking(lambda version: acquire("a", version + 1)),
    "fence": asking(lambda version: fence(create("x"), "a", version)),
    "heartbeat": asking(lambda version: heartbeat(("a", version))),
    "suspend": asking(lambda version: suspend("a", "w", version=version)),
    "suspend on settled": asking(lambda version: suspend("a", "s", version=version)),
    "fulfill": asking(lambda version: fulfill("a", version)),
    "release": asking(lambda version: release("a", version)),
    "halt": asking(lambda _: TaskHalt("a")),
    "continue": asking(lambda _: TaskContinue("a")),
    "settle": asking(lambda _: settle("a")),
    "register callback": asking(lambda _: PromiseRegisterCallback("w", "a")),
    "callback drain": drain_callback,
    "lease expiry": firing(LeaseExpiry("a")),
    "retry dispatch": firing(RetryDispatch("a")),
    "promise timeout": firing(PromiseTimeout("a"), FAR),
    "early timeout": firing(PromiseTimeout("a")),
    "dead: acquire": asking(lambda version: acquire("a", version), FAR),
    "dead: create task": asking(lambda _: start("a"), FAR),
    "dead: suspend": asking(lambda version: suspend("a", "w", version=version), FAR),
    "dead: fulfill": asking(lambda version: fulfill("a", version), FAR),
    "dead: release": asking(lambda version: release("a", version), FAR),
    "dead: halt": asking(lambda _: TaskHalt("a"), FAR),
    "dead: continue": asking(lambda _: TaskContinue("a"), FAR),
    "dead: heartbeat": asking(lambda version: heartbeat(("a", version)), FAR),
    "dead: lease expiry": firing(LeaseExpiry("a"), FAR),
    "dead: retry dispatch": firing(RetryDispatch("a"), FAR),
}

MOVES: dict[str, dict[TaskState | None, TaskState]] = {
    "create promise": {None: PENDING},
    "create past its deadline": {None: FULFILLED},
    "create task": {None: ACQUIRED, PENDING: ACQUIRED},
    "acquire": {PENDING: ACQUIRED},
    "suspend": {ACQUIRED: SUSPENDED},
    "fulfill": {ACQUIRED: FULFILLED},
    "release": {ACQUIRED: PENDING},
    "halt": {PENDING: HALTED, ACQUIRED: HALTED, SUSPENDED: HALTED},
    "continue": {HALTED: PENDING},
    "settle": dict.fromkeys([PENDING, ACQUIRED, SUSPENDED, HALTED], FULFILLED),
    "callback drain": {SUSPENDED: PENDING},
    "lease expiry": {ACQUIRED: PENDING},
    "promise timeout": dict.fromkeys([PENDING, ACQUIRED, SUSPENDED, HALTED], FULFILLED),
}
"""All that moves a task from one state to another; no other walk may."""


@pytest.mark.parametrize("walk", WALKS)
@pytest.mark.parametrize("state", TASK_GIVEN)
def test_task_moves_only_where_the_table_says(
    store: CheckedStore, state: TaskState | None, walk: str
) -> None:
    give(store, [create("w", EXTERNAL, FAR + 1), create("s", EXTERNAL), settle("s")])
    give(store, [create("b", EXTERNAL)])
    give(store, TASK_GIVEN[state])
    if state is not None:
        give(store, [PromiseRegisterCallback("b", "a")])
    before = store.task("a")
    version = 0 if before is None else before.version
    WALKS[walk](store, version)
    if walk == "dead: create task" and state is None:
        assert store.task("a").state is FULFILLED
        return
    after = store.task("a")
    assert (after and after.state) == MOVES.get(walk, {}).get(state, state)
    if before is not None:
        assert after.version == version + (before.state is PENDING and after.state is ACQUIRED)
    if state is FULFILLED:
        assert after is before


LEGAL_TASK_EDGES = {
    *product([None], [PENDING, ACQUIRED, FULFILLED]),
    *product([PENDING], [PENDING, ACQUIRED, HALTED, FULFILLED]),
    *product([ACQUIRED], [ACQUIRED, SUSPENDED, PENDING, HALTED, FULFILLED]),
    *product([SUSPENDED], [SUSPENDED, PENDING, HALTED, FULFILLED]),
    *product([HALTED], [HALTED, PENDING, FULFILLED]),
    (FULFILLED, FULFILLED),
}
INTERNAL_TASK_EDGES = {
    *product([None], [PENDING, FULFILLED]),
    *product([PENDING], [PENDING, FULFILLED]),
    *product([ACQUIRED], [PENDING, ACQUIRED, FULFILLED]),
    *product([SUSPENDED], [PENDING, SUSPENDED, FULFILLED]),
    *product([HALTED], [HALTED, FULFILLED]),
    (FULFILLED, FULFILLED),
}


def found(name: str, before: ServerState, after: ServerState) -> list[str]:
    return list(TRANSITION_PROPERTIES[name].find(Step(before, after, now=LATE)))


def holding(*objects: Promise | Task | None) -> ServerState:
    state = ServerState()
    for one in objects:
        if isinstance(one, Promise):
            state.promises[one.id] = one
        elif isinstance(one, Task):
            state.tasks[one.id] = one
    return state


def test_every_illegal_task_edge_is_a_violation() -> None:
    for old, new in product([None, *TaskState], TaskState):
        before = holding(old and Task("a", old, version=1))
        after = holding(Task("a", new, version=2))
        legal = (old, new) in LEGAL_TASK_EDGES
        internal = (old, new) in INTERNAL_TASK_EDGES
        assert bool(found("consistent_task_state_edge_admissible", before, after)) == (not legal)
        assert bool(found("consistent_task_state_edge_internal_admissible", before, after)) == (
            not internal
        )
        assert legal or not internal


@pytest.mark.parametrize("promise_tags", [INTERNAL, TIMER], ids=["promise", "timer"])
def test_every_illegal_promise_edge_is_a_violation(promise_tags: dict[str, str]) -> None:
    verdict = deadline_verdict(promise_tags)
    for old, new in product([None, *PromiseState], PromiseState):
        before = holding(old and promise_in(old, promise_tags, created_at=0))
        after = holding(promise_in(new, promise_tags, created_at=1))
        by_server = (old is new) or (
            old in {None, PromiseState.PENDING} and new in {PromiseState.PENDING, verdict}
        )
        legal = by_server or (old is PromiseState.PENDING and new in SETTLEABLE)
        assert bool(found("consistent_promise_state_edge_admissible", before, after)) == (not legal)
        assert bool(found("consistent_promise_state_edge_internal_admissible", before, after)) == (
            not by_server
        )


def promise_in(state: PromiseState, promise_tags: dict[str, str], created_at: int) -> Promise:
    return Promise("a", state, EMPTY, EMPTY, promise_tags, timeout_at=FAR, created_at=created_at)


def test_settled_promises_stay_what_they_are(store: CheckedStore) -> None:
    for tags_, state in product((INTERNAL, EXTERNAL, TARGETED, TIMER), settled_states()):
        settled = CheckedStore(store.profile)
        give(settled, reach(tags_, state))
        settled.tick(LATE)
        promise = settled.promise("a")
        if promise.is_pending:
            assert tags_ is INTERNAL
            continue
        for request in (
            *(settle("a", other) for other in SETTLEABLE),
            create("a", TARGETED),
            create("a", TIMER, LATE),
        ):
            assert settled.ask(request, LATE).promise == promise.record(LATE)
        settled.tick(FAR)
        assert settled.promise("a") is promise


def settled_states() -> Iterable[PromiseState | None]:
    """The states that a client settles to; None stands for the deadline."""
    return [*SETTLEABLE, None]


def reach(promise_tags: dict[str, str], state: PromiseState | None) -> list[Request]:
    if state is None:
        return [create("a", promise_tags, LATE)]
    return [create("a", promise_tags), settle("a", state)]
