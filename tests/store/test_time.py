"""Time: one for all processes, never going back, never before what is there."""

import pytest
import time_machine
from django.db import connection, transaction

from durable import clock as system_clock
from durable.machine.internal import LeaseExpiry, PromiseTimeout, ScheduleFire
from durable.protocol.requests import PromiseGet, Reply, ScheduleGet, TaskGet
from durable.protocol.states import PromiseState
from durable.store.claims import claim, heartbeat
from durable.store.database import DatabaseStore
from durable.store.due import find_due
from tests.machine.factories import EXTERNAL, TARGETED, acquire, create, schedule, settle, start
from tests.store.conftest import MakeStore
from tests.store.support import assert_sound, column, execute, history, rows
from tests.store.timing import MINUTE, NEVER, START, Clock

FAR = START + 60 * MINUTE
HOUR = 60 * MINUTE
SLACK = 30_000
"""How slow a busy machine may be (ms), and still an hour is told from a minute."""


def born(reply: Reply) -> int:
    assert reply.promise is not None
    return reply.promise.created_at


def server_now() -> int:
    """The time that all processes share."""
    if connection.vendor == "sqlite":
        return system_clock.now_ms()
    [[now]] = rows("select (extract(epoch from clock_timestamp()) * 1000)::bigint")
    return int(now)


def test_now_is_a_lower_bound(timed: DatabaseStore, clock: Clock) -> None:
    [later] = timed.run(create("a", EXTERNAL, FAR), now=START + 500)
    assert born(later) == START + 500
    clock.advance(1000)
    [latest] = timed.run(create("b", EXTERNAL, FAR), now=START + 500)
    assert born(latest) == START + 1000


def test_the_last_time_used_is_a_lower_bound(timed: DatabaseStore, clock: Clock) -> None:
    clock.advance(1000)
    timed.run(create("a", EXTERNAL, FAR))
    clock.now = START
    [later] = timed.run(create("b", EXTERNAL, FAR))
    assert born(later) == START + 1000


@pytest.mark.parametrize("is_inline", [False, True], ids=["committed", "inline"])
def test_what_was_seen_to_be_over_stays_over(
    timed: DatabaseStore, clock: Clock, is_inline: bool
) -> None:
    """The clock goes back behind a deadline that a reply has told of."""
    timed.run(create("a", EXTERNAL, START + 10), create("t", TARGETED, START + 10))
    clock.advance(10)
    if is_inline:
        with transaction.atomic():
            [seen] = timed.run(settle("a"))
    else:
        [seen] = timed.run(PromiseGet("a"))
    assert seen.promise is not None
    assert not seen.promise.is_pending
    clock.now = START
    [again, taken] = timed.run(settle("a"), acquire("t"))
    assert (again.applied, taken.status) == (False, 409)
    assert claim(timed, ["g"], pid="w", ttl=10, limit=1) == []


@pytest.mark.parametrize("behind", [1, 3_600_000], ids=["a little", "an hour"])
def test_a_process_behind_follows_what_it_reads(make_store: MakeStore, behind: int) -> None:
    """Its clock is behind that of the process that wrote the row; nothing settles before birth."""
    ahead = make_store(clock=Clock(START))
    late = make_store(clock=Clock(START - behind))
    ahead.run(create("a", EXTERNAL, FAR), start("t", FAR), schedule())
    [settled] = late.run(settle("a"))
    assert settled.promise is not None
    assert settled.promise.settled_at == START
    [made] = late.run(create("b", EXTERNAL, FAR))
    assert born(made) == START
    assert_sound(late)


def test_the_newest_instant_of_any_row_counts(make_store: MakeStore) -> None:
    """Settlements, leases, and schedules as well as births; each seen by a process of its own."""
    clock = Clock(START)
    ahead = make_store(clock=clock)
    ahead.run(create("a", EXTERNAL, FAR), create("t", TARGETED, FAR))
    clock.advance(100)
    ahead.run(settle("a"))
    clock.advance(100)
    ahead.run(acquire("t", ttl=50))
    clock.advance(100)
    ahead.run(schedule())
    for request, expected in (
        (PromiseGet("a"), START + 100),
        (TaskGet("t"), START + 200),
        (ScheduleGet("s"), START + 300),
    ):
        late = make_store(clock=Clock(START - HOUR))
        late.run(request)
        assert born(late.run(create(f"after {request.kind}", EXTERNAL, FAR))[0]) == expected
        late.close()


def test_firing_raises_the_time_too(make_store: MakeStore) -> None:
    clock = Clock(START)
    ahead = make_store(clock=clock)
    ahead.run(start("t", FAR, ttl=10), create("x", EXTERNAL, START + 10))
    clock.advance(10)
    late = make_store(clock=Clock(START - HOUR))
    assert late.fire(LeaseExpiry("t"), PromiseTimeout("x")) == 0
    assert late.now() == START
    assert late.fire(LeaseExpiry("t"), PromiseTimeout("x"), now=START + 10) == 2
    assert history("t")[-1] == ("lease expired", START + 10, 1, "p")


def test_a_beat_that_extended_a_lease_is_an_instant_of_its_row(make_store: MakeStore) -> None:
    clock = Clock(START)
    ahead, late = make_store(clock=clock), make_store(clock=Clock(START))
    ahead.run(start("t", FAR, ttl=10))
    clock.advance(5)
    assert heartbeat(ahead, "p", {"t": 1}) == set()
    late.run(TaskGet("t"))
    assert late.now() == START + 5


@pytest.mark.postgres_only(reason="SQLite has no clock but the host's")
@pytest.mark.parametrize("skew", [-HOUR, HOUR], ids=["behind", "ahead"])
def test_the_hosts_clock_does_not_matter(make_store: MakeStore, skew: int) -> None:
    """Everything that decides by time reads the server's; a wrong host infects nobody."""
    here = server_now()
    with time_machine.travel((system_clock.now_ms() + skew) / 1000, tick=True):
        skewed = make_store()
        [made] = skewed.run(create("t", TARGETED, here + 2 * MINUTE))
        assert abs(born(made) - here) < SLACK
        [taken] = claim(skewed, ["g"], pid="p", ttl=MINUTE, limit=1)
        assert abs(column("task", "expires_at", "t") - MINUTE - here) < SLACK
        assert abs(history("t")[0][1] - here) < SLACK
        assert heartbeat(skewed, "p", {taken.task.id: 1}) == set()
        assert abs(column("task", "expires_at", "t") - MINUTE - here) < SLACK
        skewed.run(create("soon", EXTERNAL, here + 2 * MINUTE), create("past", EXTERNAL, here + 1))
        found = find_due(skewed, limit=10)
        assert PromiseTimeout("soon") not in found.steps
        assert abs(found.now - here) < SLACK
        assert found.next_at is not None
        assert abs(found.next_at - MINUTE - here) < SLACK
        assert skewed.fire(PromiseTimeout("soon")) == 0
    other = make_store()
    [seen] = other.run(TaskGet("t"))
    assert seen.task is not None
    assert abs(other.now() - server_now()) < SLACK


@pytest.mark.sqlite_only(reason="PostgreSQL has a clock of its own")
def test_without_a_servers_clock_it_is_the_hosts(make_store: MakeStore) -> None:
    with time_machine.travel(START / 1000, tick=False):
        [made] = make_store().run(create("a", EXTERNAL, FAR))
    assert born(made) == START


def test_the_real_clock_is_used_when_none_is_given(store: DatabaseStore) -> None:
    before = server_now()
    [made] = store.run(create("a", EXTERNAL, NEVER))
    assert before <= born(made) <= server_now()


def test_what_is_missed_is_made_up_with_the_instants_of_then(
    timed: DatabaseStore, clock: Clock
) -> None:
    timed.run(schedule(cron="* * * * *", promise_tags=EXTERNAL))
    clock.advance(3 * MINUTE)
    timed.fire(ScheduleFire("s"))
    found = rows("select created_at from durable_promise order by created_at")
    assert len(found) == 3
    assert all(START < created <= clock.now for [created] in found)
    assert {created % MINUTE for [created] in found} == {0}


def test_a_deadline_settles_at_the_deadline(timed: DatabaseStore, clock: Clock) -> None:
    timed.run(create("a", EXTERNAL, START + 10))
    clock.advance(HOUR)
    timed.fire(PromiseTimeout("a"))
    assert column("promise", "settled_at", "a") == START + 10
    assert column("promise", "state", "a") == PromiseState.REJECTED_TIMEDOUT


def test_a_store_set_back_starts_over(timed: DatabaseStore, clock: Clock) -> None:
    """The debug surface sets the clock back, for a database that it has emptied."""
    clock.advance(HOUR)
    timed.run(create("a", EXTERNAL, FAR))
    execute("delete from durable_promise")
    clock.now = START
    timed.rewind()
    [made] = timed.run(create("a", EXTERNAL, FAR))
    assert born(made) == START
