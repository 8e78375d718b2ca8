"""Any requests and internal steps in any order, under a clock that only moves forward.

The store checks the whole catalogue after every step. A run in which some kind of request never
succeeded, or some internal step never did anything, has not tested it and fails.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from durable.machine import internal
from durable.machine.state import ServerState, Task
from durable.protocol.profiles import COMPAT, STRICT, Profile
from durable.protocol.requests import (
    REQUESTS,
    PromiseRegisterCallback,
    Request,
    ScheduleCreate,
    ScheduleDelete,
    ScheduleGet,
    TaskContinue,
    TaskHalt,
)
from durable.protocol.states import TaskState
from durable.testing import strategies
from durable.testing.strategies import PROMISE_IDS, START, Scene, any_internal_step, clock_advances
from tests.machine.checked import CheckedStore
from tests.machine.factories import (
    EXTERNAL,
    TARGETED,
    acquire,
    create,
    fence,
    fulfill,
    listen,
    release,
    settle,
    start,
    suspend,
)

INTERNAL_STEPS = {
    internal.PromiseTimeout,
    internal.ListenerDrain,
    internal.CallbackDrain,
    internal.LeaseExpiry,
    internal.RetryDispatch,
    internal.ScheduleFire,
}
KINDS = sorted(REQUESTS)
ACTIONS = [
    *["ask anything"] * 4,
    *["ask what fits"] * 4,
    *["fire what is due"] * 2,
    "fire anything",
    *["let time pass"] * 2,
    "tick",
]
ROUNDS = 3
"""Few examples miss something now and then; they get another chance."""
EXAMPLES = 100
"""Fewer do not reach every step."""

HORIZON = 60_000
MANY = 30
FIRED = 2
"""How many of the promises that schedules fired take part in what follows."""


def fitting_requests(state: ServerState, now: int) -> dict[str, list[Request]]:
    """What a client might ask next that has seen no deadline pass, by kind.

    Chance alone does not get far: most of what it asks finds nothing, or nothing alive.
    """
    fitting = defaultdict(list)
    for request in (*_first_requests(state, now), *_further_requests(state)):
        fitting[request.kind].append(request)
    return fitting


def _first_requests(state: ServerState, now: int) -> Iterator[Request]:
    for promise_id in PROMISE_IDS:
        if promise_id not in state.promises:
            for timeout_at in (now + 5000, now + HORIZON):
                yield create(promise_id, EXTERNAL, timeout_at)
                yield create(promise_id, TARGETED, timeout_at)
                yield start(promise_id, timeout_at, ttl=5000)
    if "s" in state.schedules:
        yield from (ScheduleGet("s"), ScheduleDelete("s"))
    elif len(state.promises) < MANY:
        yield ScheduleCreate("s", "*/20 * * * * *", "{{.id}}-{{.timestamp}}", 60_000)


def _further_requests(state: ServerState) -> Iterator[Request]:
    found = [state.promises[key] for key in PROMISE_IDS if key in state.promises]
    pending = [promise for promise in found if promise.is_pending]
    awaitable = [one.id for one in pending if one.is_external(state.config.profile)]
    for promise in pending:
        if promise.id in awaitable:
            yield from (listen(promise.id), settle(promise.id))
        if promise.is_targeted:
            awaited = [one for one in awaitable if one != promise.id]
            yield from (PromiseRegisterCallback(one, promise.id) for one in awaited)
            yield from _fitting_task_requests(state.tasks[promise.id], awaited)


def _fitting_task_requests(task: Task, awaited: list[str]) -> Iterator[Request]:
    match task.state:
        case TaskState.PENDING:
            yield acquire(task.id, task.version, ttl=5000)
            yield TaskHalt(task.id)
        case TaskState.ACQUIRED:
            yield from (suspend(task.id, one, version=task.version) for one in awaited)
            yield fence(create(PROMISE_IDS[0]), task.id, task.version)
            yield release(task.id, task.version)
            yield fulfill(task.id, task.version)
        case TaskState.SUSPENDED:
            yield TaskHalt(task.id)
        case TaskState.HALTED:
            yield TaskContinue(task.id)


def instants_from(state: ServerState, now: int) -> list[int]:
    """The clock, and deadlines of all kinds that are near, to meet them on the millisecond."""
    instants = {promise.timeout_at for promise in state.promises.values()}
    for task in state.tasks.values():
        instants |= {task.expires_at or 0, task.retry_at or 0}
    return [now, now, *sorted(instant for instant in instants if now < instant < now + HORIZON)]


class AnyOrder(RuleBasedStateMachine):
    profile: ClassVar[Profile]
    succeeded: ClassVar[set[str]]
    effective: ClassVar[set[type]]

    def __init__(self) -> None:
        super().__init__()
        self.store = CheckedStore(self.profile)
        self.now = START

    # One rule, since hypothesis leaves out some of several in most examples (swarm testing), and
    # the long chains need them all.
    @rule(data=st.data(), action=st.sampled_from(ACTIONS))
    def step(self, data: st.DataObject, action: str) -> None:
        match action:
            case "ask anything":
                kind = data.draw(st.sampled_from(KINDS))
                self._send(kind, data.draw(strategies.REQUESTS[kind](self._scene())))
            case "ask what fits":
                fitting = fitting_requests(self.store.state, self.now)
                if fitting:
                    kind = data.draw(st.sampled_from(sorted(fitting, reverse=True)))
                    self._send(kind, data.draw(st.sampled_from(fitting[kind])))
            case "fire what is due":
                if due := self.store.due(self.now):
                    self.store.fire(data.draw(st.sampled_from(due)), now=self.now)
            case "fire anything":
                self.store.fire(data.draw(any_internal_step(self._scene())), now=self.now)
            case "let time pass":
                self.now += data.draw(clock_advances)
                self.now = data.draw(st.sampled_from(instants_from(self.store.state, self.now)))
            case "tick":
                self.store.tick(self.now)

    def _scene(self) -> Scene:
        fired = [key for key in self.store.state.promises if key not in PROMISE_IDS][:FIRED]
        promise_ids = (*PROMISE_IDS, *fired)
        tasks = self.store.state.tasks
        versions = {key: tasks[key].version for key in promise_ids if key in tasks}
        return Scene(self.now, versions, promise_ids)

    def _send(self, kind: str, request: Request) -> None:
        reply = self.store.ask(request, self.now)
        assert reply.status in {200, 300, 400, 404, 409, 422}
        assert bool(reply.error) == (reply.status >= 400)
        if reply.is_ok:
            self.succeeded.add(kind)

    def teardown(self) -> None:
        self.effective.update(self.store.effective)


class Compat(AnyOrder):
    profile = COMPAT
    succeeded: ClassVar[set[str]] = set()
    effective: ClassVar[set[type]] = set()


class Strict(AnyOrder):
    profile = STRICT
    succeeded: ClassVar[set[str]] = set()
    effective: ClassVar[set[type]] = set()


@pytest.mark.timeout(0)
@pytest.mark.parametrize("machine", [Compat, Strict])
def test_no_order_breaks_a_property(machine: type[AnyOrder]) -> None:
    examples = max(settings().max_examples, EXAMPLES)
    machine.succeeded.clear()
    machine.effective.clear()
    for _ in range(ROUNDS):
        run_state_machine_as_test(machine, settings=settings(max_examples=examples))
        if machine.succeeded == REQUESTS.keys() and machine.effective == INTERNAL_STEPS:
            break
    assert machine.succeeded == REQUESTS.keys()
    assert machine.effective == INTERNAL_STEPS
