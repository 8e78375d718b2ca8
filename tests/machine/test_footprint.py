"""A step reads and writes no id outside its footprint, else a store would lock too little."""

from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable.machine import dispatch, internal
from durable.machine.effects import (
    DeleteSchedule,
    Effect,
    SendMessage,
    SetPromise,
    SetSchedule,
    SetTask,
)
from durable.machine.env import Env
from durable.machine.footprint import Footprint, footprint_of
from durable.machine.memory import MemoryStore
from durable.machine.state import Config, Execute, Promise, Schedule, Task
from durable.protocol.profiles import PROFILES, Profile
from durable.protocol.requests import Request
from durable.testing.strategies import (
    START,
    Scene,
    any_internal_step,
    any_request,
    clock_advances,
)
from tests.machine.factories import (
    create,
    fence,
    heartbeat,
    listen,
    schedule,
    settle,
    start,
    suspend,
)


class Recorder:
    """A reader that remembers what was asked for."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.promise_ids: set[str] = set()
        self.schedule_ids: set[str] = set()

    def promise(self, promise_id: str) -> Promise | None:
        self.promise_ids.add(promise_id)
        return self.store.promise(promise_id)

    def task(self, task_id: str) -> Task | None:
        self.promise_ids.add(task_id)
        return self.store.task(task_id)

    def schedule(self, schedule_id: str) -> Schedule | None:
        self.schedule_ids.add(schedule_id)
        return self.store.schedule(schedule_id)

    def add_written(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case SetPromise(promise):
                    self.promise_ids.add(promise.id)
                case SetTask(task):
                    self.promise_ids.add(task.id)
                case SendMessage(message):
                    sent = message.task_id if isinstance(message, Execute) else message.promise.id
                    self.promise_ids.add(sent)
                case SetSchedule(schedule):
                    self.schedule_ids.add(schedule.id)
                case DeleteSchedule(schedule_id):
                    self.schedule_ids.add(schedule_id)


def second_look(store: MemoryStore, step: Request | internal.InternalStep, now: int) -> set[str]:
    """The ids that only a read of the schedule tells: what it fires."""
    due = store.schedule(step.id) if isinstance(step, internal.ScheduleFire) else None
    if due is None:
        return set()
    return {internal.occurrence_id(due, instant) for instant in internal.due_instants(due, now)}


def take(store: MemoryStore, step: Request | internal.InternalStep, now: int) -> Recorder:
    recorder = Recorder(store)
    env = Env(recorder, now=now, config=store.state.config)
    if isinstance(step, Request):
        dispatch.step(env, step)
    else:
        dispatch.fire(env, step)
    recorder.add_written(env.effects)
    expected = footprint_of(step)
    assert recorder.promise_ids <= {*expected.promises, *second_look(store, step, now)}
    assert recorder.schedule_ids <= {*expected.schedules}
    store.apply(env.effects)
    return recorder


@pytest.mark.timeout(0)
@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES.keys())
@given(data=st.data())
def test_steps_stay_within_their_footprint(profile: Profile, data: st.DataObject) -> None:
    store, now = MemoryStore(Config(profile)), START
    for _ in range(data.draw(st.integers(1, 30), label="steps")):
        now += data.draw(clock_advances)
        for step in steps_of(data, store, now):
            take(store, step, now)


def steps_of(
    data: st.DataObject, store: MemoryStore, now: int
) -> Iterator[Request | internal.InternalStep]:
    versions = {task.id: task.version for task in store.state.tasks.values()}
    scene = Scene(now, versions)
    match data.draw(st.integers(0, 4)):
        case 0:
            yield from store.due(now)
        case 1:
            yield data.draw(any_internal_step(scene))
        case _:
            yield data.draw(any_request(scene))


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (create("a"), Footprint(("a",))),
        (settle("a"), Footprint(("a",))),
        (listen("a"), Footprint(("a",))),
        (start("a"), Footprint(("a",))),
        (fence(create("x"), "a"), Footprint(("a", "x"))),
        (heartbeat(("a", 1), ("b", 1)), Footprint(("a", "b"))),
        (suspend("a", "b", "c"), Footprint(("a", "b", "c"))),
        (schedule("s"), Footprint(schedules=("s",))),
        (internal.CallbackDrain("b", "a"), Footprint(("b", "a"))),
        (internal.ScheduleFire("s"), Footprint(schedules=("s",))),
        (internal.ListenerDrain("a", "http://x"), Footprint(("a",))),
    ],
)
def test_footprints_are_no_larger_than_needed(
    step: Request | internal.InternalStep, expected: Footprint
) -> None:
    assert footprint_of(step) == expected
