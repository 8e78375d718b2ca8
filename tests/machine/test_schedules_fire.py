"""Firing schedules (protocol.md 4.7): catch-up, templates, tags, the dead, and the last of all."""

import pytest

from durable.machine.internal import MAX_OCCURRENCES, ScheduleFire, due_instants
from durable.machine.state import Execute
from durable.protocol import tags
from durable.protocol.profiles import COMPAT, STRICT
from durable.protocol.records import EMPTY
from durable.protocol.requests import ScheduleDelete
from durable.protocol.states import PromiseState, TaskState
from durable.protocol.validation import MAX_INSTANT
from tests.machine.checked import CheckedStore, copied
from tests.machine.factories import (
    EXTERNAL,
    GROUP,
    INTERNAL,
    TARGETED,
    TIMER,
    VALUE,
    create,
    give,
    schedule,
    settle,
)

MINUTE = 60_000
HOUR = 60 * MINUTE


def test_s23_every_missed_occurrence_fires(store: CheckedStore) -> None:
    give(store, [schedule(promise_param=VALUE)])
    store.tick(16 * MINUTE)
    for n, instant in enumerate((5 * MINUTE, 10 * MINUTE, 15 * MINUTE)):
        promise = store.promise(f"s-{instant}")
        assert list(store.state.promises)[n] == promise.id
        assert (promise.created_at, promise.timeout_at) == (instant, instant + HOUR)
        assert (promise.state, promise.param) == (PromiseState.PENDING, VALUE)
    assert len(store.state.promises) == 3
    fired = store.schedule("s")
    assert (fired.last_run_at, fired.next_run_at) == (15 * MINUTE, 20 * MINUTE)


def test_an_occurrence_fires_on_its_millisecond(store: CheckedStore) -> None:
    give(store, [schedule()])
    store.tick(5 * MINUTE - 1)
    assert not store.state.promises
    store.tick(5 * MINUTE)
    assert list(store.state.promises) == [f"s-{5 * MINUTE}"]


def test_a_targeted_occurrence_is_dispatched(store: CheckedStore) -> None:
    give(store, [schedule(promise_tags=TARGETED)])
    now = 11 * MINUTE
    store.tick(now)
    for instant in (5 * MINUTE, 10 * MINUTE):
        task = store.task(f"s-{instant}")
        assert (task.state, task.version, task.retry_at) == (TaskState.PENDING, 0, now + 5000)
    assert [m for m in store.state.outbox.values() if isinstance(m, Execute)] == [
        Execute(f"s-{instant}", 0, GROUP) for instant in (5 * MINUTE, 10 * MINUTE)
    ]


@pytest.mark.parametrize(
    ("promise_tags", "state"),
    [
        (INTERNAL, PromiseState.REJECTED_TIMEDOUT),
        (TARGETED, PromiseState.REJECTED_TIMEDOUT),
        (TIMER, PromiseState.RESOLVED),
    ],
    ids=["internal", "targeted", "timer"],
)
def test_an_occurrence_whose_deadline_has_passed_is_born_dead(
    store: CheckedStore, promise_tags: dict[str, str], state: PromiseState
) -> None:
    """The trap of 4.7: neither pending in the past nor settled with an early birth."""
    give(store, [schedule(promise_tags=promise_tags, promise_timeout=MINUTE)])
    now = 11 * MINUTE
    store.tick(now)
    for instant, deadline in ((5 * MINUTE, 6 * MINUTE), (10 * MINUTE, 11 * MINUTE)):
        promise = store.promise(f"s-{instant}")
        assert (promise.state, promise.value) == (state, EMPTY)
        assert promise.created_at == promise.settled_at == promise.timeout_at == deadline
        task = store.task(promise.id)
        assert (task is None) == (promise_tags is not TARGETED)
        assert task is None or (task.state, task.version) == (TaskState.FULFILLED, 0)
    assert not store.state.outbox


def test_a_timeout_of_nothing_is_born_dead(store: CheckedStore) -> None:
    give(store, [schedule(promise_tags=TARGETED, promise_timeout=0)])
    store.tick(5 * MINUTE)
    assert store.task(f"s-{5 * MINUTE}").state is TaskState.FULFILLED


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{.id}}-{{.timestamp}}", "s-300000"),
        ("{{.id}}/{{.id}}/{{.timestamp}}.{{.timestamp}}", "s/s/300000.300000"),
        ("plain", "plain"),
        ("{{ .id }}-{{.name}}-{id}", "{{ .id }}-{{.name}}-{id}"),
    ],
)
def test_templates_are_plain_replacement(store: CheckedStore, template: str, expected: str) -> None:
    give(store, [schedule(promise_id=template)])
    store.tick(5 * MINUTE)
    assert list(store.state.promises) == [expected]


def test_a_template_without_the_instant_fires_once(store: CheckedStore) -> None:
    give(store, [schedule(promise_id="{{.id}}", promise_tags=TARGETED)])
    store.tick(16 * MINUTE)
    promise = store.promise("s")
    assert (promise.created_at, store.schedule("s").last_run_at) == (5 * MINUTE, 15 * MINUTE)
    store.tick(60 * MINUTE)
    assert list(store.state.promises) == ["s"]
    assert store.promise("s") is promise
    assert store.schedule("s").last_run_at == 60 * MINUTE


def test_an_id_that_is_taken_is_left_alone(store: CheckedStore) -> None:
    give(store, [create("s-300000", EXTERNAL, param=VALUE), settle("s-300000"), schedule()])
    taken = store.promise("s-300000")
    store.tick(10 * MINUTE)
    assert store.promise("s-300000") is taken
    assert list(store.state.promises) == ["s-300000", "s-600000"]
    assert store.schedule("s").last_run_at == 10 * MINUTE


def test_tags_are_injected_when_compatible() -> None:
    store = CheckedStore(COMPAT)
    given = TARGETED | {"own": "1", tags.ORIGIN: "mine", tags.SCHEDULE: "mine"}
    give(store, [schedule(promise_tags=given)])
    store.tick(5 * MINUTE)
    assert store.promise("s-300000").tags == TARGETED | {
        "own": "1",
        tags.SCHEDULE: "s",
        tags.ORIGIN: "s-300000",
        tags.BRANCH: "s-300000",
        tags.PARENT: "s-300000",
    }
    assert store.schedule("s").promise_tags == given


def test_tags_are_as_given_when_strict() -> None:
    store = CheckedStore(STRICT)
    give(store, [schedule(promise_tags=TARGETED | {"own": "1"})])
    store.tick(5 * MINUTE)
    assert store.promise("s-300000").tags == TARGETED | {"own": "1"}


def test_a_schedule_that_ends_fires_its_last_and_rests(store: CheckedStore) -> None:
    """A year field runs out: what is next then never comes."""
    give(store, [schedule(cron="0 0 0 1 1,7 * 1970")])
    july = 181 * 24 * HOUR
    assert store.schedule("s").next_run_at == july
    store.tick(july)
    ended = store.schedule("s")
    assert (ended.last_run_at, ended.next_run_at) == (july, MAX_INSTANT)
    for now in (4_000_000_000_000, MAX_INSTANT):
        store.tick(now)
        assert store.schedule("s") is ended
    assert list(store.state.promises) == [f"s-{july}"]


def test_a_long_outage_is_caught_up_in_portions(store: CheckedStore) -> None:
    give(store, [schedule(cron="* * * * *")])
    missed = MAX_OCCURRENCES + 500
    now = missed * MINUTE
    store.fire(ScheduleFire("s"), now=now)
    assert len(store.state.promises) == MAX_OCCURRENCES
    assert store.schedule("s").last_run_at == MAX_OCCURRENCES * MINUTE
    assert store.due(now) == [ScheduleFire("s")]
    store.tick(now)
    assert len(store.state.promises) == missed
    assert store.schedule("s").next_run_at == now + MINUTE
    assert store.due(now) == []


def test_the_instants_due_are_the_chain_of_next(store: CheckedStore) -> None:
    give(store, [schedule(cron="*/20 * * * * *")])
    created = store.schedule("s")
    assert created is not None
    found = due_instants(created, 2 * MINUTE)
    assert found == [20_000, 40_000, 60_000, 80_000, 100_000, 120_000]


def test_the_deadline_of_an_occurrence_stays_within_the_wire(store: CheckedStore) -> None:
    """Else a child of it, with the same deadline, would be refused at the door."""
    give(store, [schedule(promise_tags=TARGETED, promise_timeout=MAX_INSTANT)])
    store.tick(5 * MINUTE)
    timeout_at = store.promise("s-300000").timeout_at
    assert timeout_at == MAX_INSTANT
    assert store.ask(create("child", timeout_at=timeout_at), 5 * MINUTE).status == 200


def test_a_deleted_schedule_does_not_fire(store: CheckedStore) -> None:
    give(store, [schedule(), ScheduleDelete("s")])
    before = copied(store.state)
    store.fire(ScheduleFire("s"), now=5 * MINUTE)
    assert store.state == before


def test_two_schedules_fire_side_by_side(store: CheckedStore) -> None:
    give(store, [schedule("s"), schedule("t", cron="*/10 * * * *")])
    store.tick(10 * MINUTE)
    assert set(store.state.promises) == {"s-300000", "s-600000", "t-600000"}
