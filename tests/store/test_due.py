"""find_due(): everything that may be fired, the oldest first, and when to look again."""

import pytest

from durable.machine.internal import (
    CallbackDrain,
    LeaseExpiry,
    ListenerDrain,
    PromiseTimeout,
    RetryDispatch,
    ScheduleFire,
)
from durable.protocol import tags
from durable.store.database import DatabaseStore
from durable.store.due import find_due
from tests.machine.factories import (
    EXTERNAL,
    INTERNAL,
    TARGETED,
    TIMER,
    create,
    schedule,
    start,
)
from tests.store.support import execute
from tests.store.timing import MINUTE, START, Clock

FAR = START + 600 * MINUTE
URL = {tags.TARGET: "https://example.org/run"}


def test_nothing_is_due_in_an_empty_database(timed: DatabaseStore, clock: Clock) -> None:
    assert find_due(timed, limit=10) == ([], None, clock.now)


def test_all_kinds_are_found(timed: DatabaseStore, clock: Clock) -> None:
    timed.run(
        create("timeout", EXTERNAL, START + 10),
        create("timer", TIMER, START + 10),
        create("internal", INTERNAL, START + 10),
        create("retry", TARGETED, FAR),
        start("lease", FAR, ttl=10),
        schedule("schedule", "* * * * *"),
    )
    clock.advance(MINUTE)
    found = find_due(timed, limit=10)
    assert set(found.steps) == {
        PromiseTimeout("timeout"),
        PromiseTimeout("timer"),
        RetryDispatch("retry"),
        LeaseExpiry("lease"),
        ScheduleFire("schedule"),
    }
    assert found.next_at == FAR  # of what is not due: the deadlines of the tasks


def test_drains_are_always_due(timed: DatabaseStore) -> None:
    timed.run(create("a", EXTERNAL, FAR), start("t", FAR))
    execute("insert into durable_callback (awaited_id, awaiter_id) values ('a', 't')")
    execute("insert into durable_listener (promise_id, address) values ('a', 'http://x')")
    assert find_due(timed, limit=10, groups=False).steps == []
    execute(
        "update durable_promise set state = 'resolved', settled_at = %s, is_undrained = %s"
        " where id = 'a'",
        START,
        True,
    )
    found = find_due(timed, limit=10, groups=False)
    assert set(found.steps) == {CallbackDrain("a", "t"), ListenerDrain("a", "http://x")}


def test_the_boundary_is_inclusive(timed: DatabaseStore, clock: Clock) -> None:
    timed.run(create("a", EXTERNAL, START + 10), start("t", FAR, ttl=10))
    clock.advance(9)
    assert find_due(timed, limit=10) == ([], START + 10, clock.now)
    clock.advance(1)
    found = find_due(timed, limit=10)
    assert set(found.steps) == {PromiseTimeout("a"), LeaseExpiry("t")}


def test_the_longest_due_of_each_kind_come_first(timed: DatabaseStore, clock: Clock) -> None:
    timed.run(*(create(f"p{n}", EXTERNAL, START + 10 - n) for n in range(5)))
    timed.run(*(start(f"t{n}", FAR, ttl=10 - n) for n in range(5)))
    clock.advance(10)
    assert find_due(timed, limit=2).steps == [
        PromiseTimeout("p4"),
        PromiseTimeout("p3"),
        LeaseExpiry("t4"),
        LeaseExpiry("t3"),
    ]


@pytest.mark.parametrize("has_groups", [True, False])
def test_tasks_of_groups_are_left_to_who_serves_them(
    timed: DatabaseStore, has_groups: bool
) -> None:
    timed.run(create("url", URL, FAR), create("group", TARGETED, FAR))
    expected = {RetryDispatch("url"), *([RetryDispatch("group")] if has_groups else [])}
    assert set(find_due(timed, limit=10, groups=has_groups).steps) == expected


def test_a_delayed_task_is_not_due_before(timed: DatabaseStore, clock: Clock) -> None:
    timed.run(create("a", URL | {tags.DELAY: str(START + 10)}, FAR))
    assert find_due(timed, limit=10).steps == []
    clock.advance(10)
    assert find_due(timed, limit=10).steps == [RetryDispatch("a")]
