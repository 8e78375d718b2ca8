"""The same programs and internal steps for the memory store, which is the oracle, and the database.

The database store drains in the settling transaction what the memory store leaves to be fired. In a
caller's transaction it leaves acquired awaiters alone, so those drains follow.
"""

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from django.db import transaction
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from durable.machine.internal import (
    CallbackDrain,
    InternalStep,
    LeaseExpiry,
    PromiseTimeout,
    RetryDispatch,
    ScheduleFire,
)
from durable.machine.memory import MemoryStore
from durable.machine.state import Config, ServerState, Task
from durable.protocol.profiles import COMPAT, STRICT, Profile
from durable.protocol.requests import (
    REQUESTS,
    PromiseGet,
    PromiseRegisterCallback,
    Reply,
    Request,
    ScheduleDelete,
    ScheduleGet,
    TaskContinue,
    TaskFence,
    TaskGet,
    TaskHalt,
)
from durable.protocol.states import TaskState
from durable.store.database import DatabaseStore
from durable.store.due import find_due
from durable.testing.strategies import (
    PROMISE_IDS,
    Scene,
    any_internal_step,
    any_request,
    clock_advances,
)
from durable.testing.strategies import REQUESTS as STRATEGIES
from durable.testing.strategies import START as SCENE_START
from tests.machine.factories import (
    EXTERNAL,
    TARGETED,
    TIMER,
    acquire,
    create,
    fence,
    fulfill,
    heartbeat,
    listen,
    release,
    schedule,
    settle,
    start,
    suspend,
)
from tests.store.conftest import MakeStore
from tests.store.support import (
    assert_sound,
    differences,
    drain_database,
    drain_memory,
    drains,
    snapshot,
    unordered,
    wipe,
)
from tests.store.timing import MINUTE, NEVER, Clock

CREATE = ("promise.create", "task.create")
MOST_REQUESTS = 3
MOST_STEPS = 3


TOUR: list[list[Request]] = [
    [create("a", EXTERNAL, NEVER), create("b", TARGETED, NEVER), create("c", TIMER, NEVER)],
    [acquire("b"), fence(create("d", EXTERNAL, NEVER), "b"), fence(settle("d"), "b")],
    [heartbeat(("b", 1)), PromiseRegisterCallback("a", "b"), listen("a"), PromiseGet("a")],
    [release("b"), TaskGet("b"), start("e", NEVER), suspend("e", "a", "c")],
    [TaskHalt("b"), settle("a"), TaskContinue("b")],
    [acquire("e", 1), fulfill("e", 2)],
    [schedule(), ScheduleGet("s"), ScheduleDelete("s"), schedule("t")],
    [create("f", TIMER, SCENE_START + MINUTE), create("g", TARGETED, NEVER), start("h", NEVER)],
]


class Differential(RuleBasedStateMachine):
    profile: ClassVar[Profile]
    make_store: ClassVar[MakeStore]
    succeeded: ClassVar[set[str]]
    fired: ClassVar[set[type]]

    def __init__(self) -> None:
        super().__init__()
        wipe()
        config = Config(profile=self.profile)
        self.clock = Clock(SCENE_START)
        self.memory = MemoryStore(config)
        self.store: DatabaseStore = self.make_store(config, clock=self.clock)

    def teardown(self) -> None:
        self.store.close()

    @initialize(data=st.data(), kinds=st.lists(st.sampled_from(CREATE), max_size=len(PROMISE_IDS)))
    def start_with_some(self, data: st.DataObject, kinds: list[str]) -> None:
        program = [
            data.draw(STRATEGIES[kind](Scene(self.clock.now, promise_ids=(promise_id,))))
            for promise_id, kind in zip(PROMISE_IDS, kinds, strict=False)
        ]
        self._run(program)

    @rule(data=st.data(), kind=st.sampled_from(sorted(STRATEGIES)), is_inline=st.booleans())
    def ask_one_thing(self, data: st.DataObject, kind: str, is_inline: bool) -> None:
        self._run([data.draw(STRATEGIES[kind](self._scene()))], is_inline=is_inline)

    @rule(data=st.data(), count=st.integers(1, MOST_REQUESTS), is_inline=st.booleans())
    def ask_anything(self, data: st.DataObject, count: int, is_inline: bool) -> None:
        scene = self._scene()
        self._run([data.draw(any_request(scene)) for _ in range(count)], is_inline=is_inline)

    @rule(data=st.data(), count=st.integers(1, MOST_REQUESTS), is_inline=st.booleans())
    def ask_what_fits(self, data: st.DataObject, count: int, is_inline: bool) -> None:
        if fitting := list(_fitting(self.memory.state, self.clock.now)):
            program = [data.draw(st.sampled_from(fitting)) for _ in range(count)]
            self._run(program, is_inline=is_inline)

    def tour(self, *, is_inline: bool) -> None:
        """Every kind of request and step with success, which chance may miss in a short run."""
        for program in TOUR:
            self._run(program, is_inline=is_inline)
        self.clock.advance(10 * MINUTE)
        for _ in range(2):
            self._fire(self.memory.due(self.clock.now))

    @rule(data=st.data(), count=st.integers(1, MOST_STEPS))
    def fire_what_is_due(self, data: st.DataObject, count: int) -> None:
        if due := self.memory.due(self.clock.now):
            self._fire(data.draw(st.lists(st.sampled_from(due), max_size=count, unique=True)))

    @rule(data=st.data(), count=st.integers(1, MOST_STEPS))
    def fire_anything(self, data: st.DataObject, count: int) -> None:
        scene = self._scene()
        self._fire([data.draw(any_internal_step(scene)) for _ in range(count)])

    @rule(ahead=clock_advances)
    def let_time_pass(self, ahead: int) -> None:
        self.clock.advance(ahead)
        self._assert_same_due()

    def _scene(self) -> Scene:
        tasks = self.memory.state.tasks
        versions = {key: tasks[key].version for key in PROMISE_IDS if key in tasks}
        return Scene(self.clock.now, versions)

    def _run(self, program: list[Request], *, is_inline: bool = False) -> None:
        expected = self.memory.run(*program, now=self.clock.now)
        if is_inline:
            with transaction.atomic():
                replies = self.store.run(*program)
        else:
            replies = self.store.run(*program)
        assert replies == expected
        for request, reply in zip(program, replies, strict=True):
            self.succeeded.update(_successes(request, reply))
        self._compare(has_spared=is_inline)

    def _fire(self, steps: list[InternalStep]) -> None:
        before = unordered(self.memory.state)
        for step in steps:
            self.memory.fire(step, now=self.clock.now)
        if unordered(self.memory.state) != before:
            self.fired.update(map(type, steps))
        self.store.fire(*steps)
        self._compare()

    def _compare(self, *, has_spared: bool = False) -> None:
        left = drains(find_due(self.store, limit=100).steps)
        assert left == [] or has_spared
        assert all(self._is_lease_spared(step) for step in left)
        drain_memory(self.memory, self.clock.now)
        drain_database(self.store)
        assert differences(unordered(self.memory.state), snapshot(self.store)) == []
        assert_sound(self.store)

    def _is_lease_spared(self, step: InternalStep) -> bool:
        task = self.memory.task(step.awaiter) if isinstance(step, CallbackDrain) else None
        return task is not None and task.state is TaskState.ACQUIRED

    def _assert_same_due(self) -> None:
        now = self.clock.now
        expected = {step for step in self.memory.due(now) if not self._is_resting(step)}
        assert set(find_due(self.store, limit=1000).steps) == expected

    def _is_resting(self, step: InternalStep) -> bool:
        """Back-off is not the machine's: the database holds back what was released too often."""
        from durable.models import Task

        return (
            type(step).__name__ == "RetryDispatch"
            and Task.objects.filter(pk=step.id, not_before__gt=self.clock.now).exists()
        )


def _fitting(state: ServerState, now: int) -> Iterator[Request]:
    """What a sensible client might ask next, to get further than chance would."""
    alive = [one for one in state.promises.values() if one.is_alive(now)]
    awaitable = [one.id for one in alive if one.is_external(state.config.profile)]
    for promise_id in awaitable:
        yield from (listen(promise_id), settle(promise_id))
    for promise in alive:
        if promise.is_targeted:
            task = state.tasks[promise.id]
            awaited = [one for one in awaitable if one != promise.id]
            yield from (PromiseRegisterCallback(one, task.id) for one in awaited)
            yield from _fitting_for_task(task, awaited)


def _fitting_for_task(task: Task, awaited: list[str]) -> Iterator[Request]:
    match task.state:
        case TaskState.PENDING:
            yield from (acquire(task.id, task.version, ttl=5000), TaskHalt(task.id))
        case TaskState.ACQUIRED:
            yield from (suspend(task.id, one, version=task.version) for one in awaited)
            yield from (fence(settle(one), task.id, task.version) for one in awaited)
            yield from (release(task.id, task.version), fulfill(task.id, task.version))
        case TaskState.SUSPENDED:
            yield TaskHalt(task.id)
        case TaskState.HALTED:
            yield TaskContinue(task.id)


def _successes(request: Request, reply: Reply) -> set[str]:
    if not reply.is_ok:
        return set()
    if isinstance(request, TaskFence) and reply.action and reply.action.reply.is_ok:
        return {request.kind, f"{request.kind} {reply.action.kind}"}
    return {request.kind}


@pytest.mark.timeout(120 + settings().max_examples)
@pytest.mark.parametrize("profile", [COMPAT, STRICT], ids=lambda profile: profile.name)
def test_the_database_holds_what_the_machine_says(profile: Profile, make_store: Any) -> None:
    machine = type(
        profile.name.title(),
        (Differential,),
        {
            "profile": profile,
            "make_store": staticmethod(make_store),
            "succeeded": set(),
            "fired": set(),
        },
    )
    for is_inline in (False, True):
        tourist = machine()
        tourist.tour(is_inline=is_inline)
        tourist.teardown()
    chosen = settings(max_examples=settings().max_examples // 5, stateful_step_count=30)
    run_state_machine_as_test(machine, settings=chosen)
    assert set(REQUESTS) - machine.succeeded == set()
    assert {"task.fence promise.create", "task.fence promise.settle"} <= machine.succeeded
    assert {PromiseTimeout, LeaseExpiry, RetryDispatch, ScheduleFire} <= machine.fired
