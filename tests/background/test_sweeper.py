"""One look at what is due: everything fires, once, and one failure stops nothing else."""

import threading
from collections import Counter
from collections.abc import Callable

import pytest
from django.db import connection
from pytest_django import Settings

from durable.background import sweeper as sweeper_module
from durable.background.sweeper import Sweeper
from durable.machine.internal import MAX_OCCURRENCES
from durable.models import HistoryEvent, OutboxMessage, Promise, TaskEvent
from durable.protocol import tags
from durable.protocol.requests import PromiseRegisterCallback, TaskHalt
from durable.protocol.states import PromiseState, TaskState
from durable.store.claims import claim, heartbeat
from durable.store.database import DatabaseStore
from tests.background.broken import refusing
from tests.machine.factories import (
    EXTERNAL,
    TARGETED,
    TIMER,
    create,
    listen,
    schedule,
    settle,
    start,
    suspend,
)
from tests.store.conftest import MakeStore
from tests.store.postgres import wait_for_blocked
from tests.store.support import assert_sound, column, execute, rows, snapshot
from tests.store.threads import TIMEOUT, Threads
from tests.store.timing import MINUTE, NEVER, START, Clock

FAR = START + 600 * MINUTE
URL = {tags.TARGET: "https://example.org/run"}


def sweep_until_quiet(sweeper: Sweeper) -> int:
    """Sweep as long as something fires; return how often something did."""
    count = 0
    while sweeper.sweep() == 0:
        count += 1
    return count


def state_of(task_id: str) -> str:
    return str(column("task", "state", task_id))


def test_deadlines_are_stored(timed: DatabaseStore, clock: Clock) -> None:
    timed.run(create("a", EXTERNAL, START + 10), create("t", TIMER, START + 10))
    timed.run(start("w", START + 10), start("p", FAR), suspend("p", "a"))
    sweeper = Sweeper(timed)
    assert sweeper.sweep() == pytest.approx(0.01)
    clock.advance(10)
    assert sweeper.sweep() == 0
    state = snapshot(timed)
    assert state.promises["a"].state is PromiseState.REJECTED_TIMEDOUT
    assert state.promises["t"].state is PromiseState.RESOLVED
    assert state.tasks["w"].state is TaskState.FULFILLED
    assert (state.tasks["p"].state, state.tasks["p"].resumes) == (TaskState.PENDING, ("a",))
    assert_sound(timed)


def test_leases_expire(timed: DatabaseStore, clock: Clock) -> None:
    timed.run(start("a", FAR, ttl=10), start("b", FAR, ttl=20))
    clock.advance(10)
    sweep_until_quiet(Sweeper(timed))
    assert (state_of("a"), state_of("b")) == ("pending", "acquired")


def test_tasks_of_urls_are_dispatched_again_and_again(timed: DatabaseStore, clock: Clock) -> None:
    timed.run(create("url", URL, FAR), create("group", TARGETED, FAR))
    sweeper = Sweeper(timed)
    for _ in range(3):
        sweep_until_quiet(sweeper)
        [message] = OutboxMessage.objects.all()
        assert (message.promise_id, message.version) == ("url", 0)
        assert column("task", "retry_at", "url") == clock.now + 5000
        clock.advance(5000)


def test_a_halted_task_is_left_alone(timed: DatabaseStore) -> None:
    timed.run(create("url", URL, FAR), TaskHalt("url"))
    assert sweep_until_quiet(Sweeper(timed)) == 0
    assert OutboxMessage.objects.count() == 0


def test_schedules_fire_for_every_instant_missed(timed: DatabaseStore, clock: Clock) -> None:
    timed.run(schedule("s", "* * * * *", promise_tags=URL), schedule("t", "0 0 1 1 *"))
    clock.advance(5 * MINUTE)
    sweep_until_quiet(Sweeper(timed))
    assert Promise.objects.count() == 5
    assert OutboxMessage.objects.count() == 5
    assert_sound(timed)


@pytest.mark.timeout(60)
def test_a_long_outage_is_made_up_in_pieces(timed: DatabaseStore, clock: Clock) -> None:
    """More instants than one firing makes, and more ids than one transaction locks."""
    missed = MAX_OCCURRENCES + 100
    timed.run(*(schedule(name, "* * * * * *") for name in "abc"))
    clock.advance(missed * 1000)
    assert sweep_until_quiet(Sweeper(timed)) == 3
    assert Promise.objects.count() == 3 * missed
    left = rows("select min(next_run_at) from durable_schedule")
    assert left == [(clock.now // 1000 * 1000 + 1000,)]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_many_schedules_after_a_long_outage_do_not_exhaust_the_lock_table(
    timed: DatabaseStore, clock: Clock
) -> None:
    timed.run(*(schedule(f"s{number}", "* * * * * *") for number in range(12)))
    clock.advance(MAX_OCCURRENCES * 1000)
    sweep_until_quiet(Sweeper(timed))
    assert Promise.objects.count() == 12 * MAX_OCCURRENCES


def test_drains_that_were_left_are_made_up(timed: DatabaseStore) -> None:
    timed.run(create("a", EXTERNAL, FAR), start("t", FAR), suspend("t", "a"), listen("a"))
    execute(
        "update durable_promise set state = 'resolved', settled_at = %s, is_undrained = %s"
        " where id = 'a'",
        START,
        True,
    )
    sweep_until_quiet(Sweeper(timed))
    assert state_of("t") == "pending"
    assert OutboxMessage.objects.get().address == "poll://uni@g/p"
    assert_sound(timed)


def test_the_pause_lasts_until_the_next_instant_but_not_long(
    timed: DatabaseStore, clock: Clock
) -> None:
    sweeper = Sweeper(timed)
    assert sweeper.sweep() == 1.5
    timed.run(create("a", EXTERNAL, START + 400))
    assert sweeper.sweep() == pytest.approx(0.4)
    clock.advance(398)
    assert sweeper.sweep() == pytest.approx(0.005)
    timed.run(create("b", EXTERNAL, START + 5000))
    clock.advance(2)
    assert sweeper.sweep() == 0
    assert sweeper.sweep() == 1.5


def test_more_than_a_batch_is_fired_in_several(timed: DatabaseStore, clock: Clock) -> None:
    timed.run(*(create(f"p{number}", EXTERNAL, START + 10) for number in range(450)))
    clock.advance(10)
    assert sweep_until_quiet(Sweeper(timed)) == 3
    assert Promise.objects.filter(state="pending").count() == 0


@pytest.mark.parametrize("count", [2, 3])
def test_several_sweepers_fire_each_thing_once(
    count: int, make_store: MakeStore, threads: Threads
) -> None:
    clock = Clock(START)
    stores = [make_store(clock=clock) for _ in range(count)]
    stores[0].run(
        *(create(f"p{n}", EXTERNAL, START + 10) for n in range(20)),
        *(listen(f"p{n}", f"http://{n}") for n in range(20)),
        *(start(f"t{n}", FAR) for n in range(20)),
        *(suspend(f"t{n}", f"p{n}") for n in range(20)),
        *(start(f"l{n}", FAR, ttl=10) for n in range(20)),
        *(create(f"u{n}", URL, FAR) for n in range(20)),
        *(schedule(f"s{n}", "* * * * *", promise_tags=EXTERNAL) for n in range(5)),
    )
    clock.advance(2 * MINUTE)
    together = threading.Barrier(count)

    def work(number: int) -> None:
        sweeper = Sweeper(stores[number])
        together.wait(TIMEOUT)
        for _ in range(200):
            if sweeper.sweep() > 0.1:  # nothing fired, and nothing is held by another
                return

    for call in [threads.call(lambda n=n: work(n)) for n in range(count)]:
        call.result(TIMEOUT * 2)
    events = Counter(HistoryEvent.objects.values_list("task_id", "event"))
    assert set(events.values()) == {1}
    assert Counter(event for _, event in events) == {
        TaskEvent.ACQUIRED: 40,
        TaskEvent.SUSPENDED: 20,
        TaskEvent.RESUMED: 20,
        TaskEvent.LEASE_EXPIRED: 20,
    }
    assert Promise.objects.exclude(id__regex="^[ptlu]").count() == 10
    assert OutboxMessage.objects.filter(version__isnull=True).count() == 20
    assert OutboxMessage.objects.filter(record__isnull=True).count() == 20
    assert_sound(stores[0])


@pytest.mark.parametrize(
    ("table", "given", "state"),
    [
        ("promise", lambda one: create(one, EXTERNAL, START + 10), "rejected_timedout"),
        ("task", lambda one: start(one, FAR, ttl=10), "pending"),
    ],
    ids=["deadlines", "leases"],
)
def test_a_step_that_fails_stops_no_other(
    table: str,
    given: Callable[[str], object],
    state: str,
    timed: DatabaseStore,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    timed.run(*(given(one) for one in ("a", "bad", "z")))  # type: ignore[arg-type]
    timed.run(create("other", EXTERNAL, START + 10), start("lease", FAR, ttl=10))
    clock.advance(10)
    sweeper = Sweeper(timed)
    with refusing(table, "bad"):
        assert sweeper.sweep() == 0
        assert sweeper.sweep() == pytest.approx(0.05)
        assert [column(table, "state", one) for one in ("a", "z")] == [state] * 2
        assert column(table, "state", "bad") != state
        assert column("promise", "state", "other") == "rejected_timedout"
        assert state_of("lease") == "pending"
    assert "cannot fire" in caplog.text
    sweep_until_quiet(sweeper)
    assert column(table, "state", "bad") == state


@pytest.mark.postgres_only(reason="SQLite has one writer; rows do not change under a sweep")
def test_a_beat_under_way_is_no_error(
    make_store: MakeStore, threads: Threads, caplog: pytest.LogCaptureFixture
) -> None:
    """It changes a row that the sweep has read; the sweep looks again, and the lease goes on."""
    clock = Clock(START)
    store = make_store(clock=clock)
    store.run(start("t", FAR, ttl=1000), start("u", FAR, "q", ttl=1000))
    clock.advance(2000)
    beat = threads.hold(lambda: heartbeat(store, "p", {"t": 1}))
    swept = threads.call(Sweeper(store).sweep)
    wait_for_blocked()
    beat.commit()
    assert swept.result(TIMEOUT) == 0
    assert (state_of("t"), state_of("u")) == ("acquired", "pending")
    assert caplog.records == []


@pytest.mark.postgres_only(reason="SQLite has one writer; rows do not change under a sweep")
def test_a_claim_under_way_is_no_error(
    make_store: MakeStore, threads: Threads, caplog: pytest.LogCaptureFixture
) -> None:
    """The awaiter is being claimed while its second wake-up is drained."""
    clock = Clock(START)
    store = make_store(clock=clock)
    store.run(create("a", EXTERNAL, START + 10), create("t", TARGETED, FAR))
    store.run(PromiseRegisterCallback("a", "t"))
    clock.advance(10)
    claiming = threads.hold(lambda: claim(store, ["g"], pid="w", ttl=1000, limit=1))
    swept = threads.call(Sweeper(store).sweep)
    wait_for_blocked()
    claiming.commit()
    swept.result(TIMEOUT)
    sweep_until_quiet(Sweeper(store))
    task = snapshot(store).tasks["t"]
    assert (task.state, task.version, task.resumes) == (TaskState.ACQUIRED, 1, ("a",))
    assert caplog.records == []
    assert_sound(store)


@pytest.mark.postgres_only(reason="SQLite has one writer: a sweep waits for the other")
def test_what_is_held_is_left_and_looked_at_again_soon(
    make_store: MakeStore, threads: Threads
) -> None:
    clock = Clock(START)
    store = make_store(clock=clock)
    store.run(*(create(one, EXTERNAL, START + 10) for one in "ab"))
    clock.advance(10)
    held = threads.hold(lambda: store.run(settle("a")))
    sweeper = Sweeper(store)
    assert sweeper.sweep() == 0
    assert sweeper.sweep() == pytest.approx(0.05)
    held.commit()
    sweep_until_quiet(sweeper)
    assert Promise.objects.filter(state="rejected_timedout").count() == 2


ONE_WRITER = pytest.mark.sqlite_only(reason="PostgreSQL keeps nobody waiting")


@ONE_WRITER
@pytest.mark.parametrize("is_other_due", [False, True], ids=["leases", "leases and others"])
def test_a_sweep_that_had_to_wait_spares_the_leases(
    is_other_due: bool,
    timed: DatabaseStore,
    clock: Clock,
    threads: Threads,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A caller holds the database; the workers cannot extend their leases, and are not dead."""
    settings.DURABLE_HEARTBEAT_MS = 60_000
    monkeypatch.setattr(sweeper_module, "_LOCK_PATIENCE", 0.02)
    timed.run(start("t", FAR, ttl=1000))
    if is_other_due:
        timed.run(create("a", EXTERNAL, START + 1000))
    clock.advance(1000)
    sweeper = Sweeper(timed)
    held = threads.hold(lambda: None)
    swept = threads.call(sweeper.sweep)
    with pytest.raises(TimeoutError):
        swept.result(0.1)
    held.commit()
    swept.result(TIMEOUT)
    sweep_until_quiet(sweeper)
    assert state_of("t") == "acquired"
    if is_other_due:
        assert column("promise", "state", "a") == "rejected_timedout"
    assert heartbeat(timed, "p", {"t": 1}) == set()


@ONE_WRITER
def test_a_sweep_that_gave_up_waiting_spares_the_leases(
    timed: DatabaseStore,
    clock: Clock,
    threads: Threads,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The caller takes longer than the busy timeout, which is twenty seconds."""
    settings.DURABLE_HEARTBEAT_MS = 60_000
    timed.run(start("t", FAR, ttl=1000))
    clock.advance(1000)
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "timeout", 0.02)
    sweeper = Sweeper(timed)
    held = threads.hold(lambda: None)
    assert threads.call(sweeper.sweep).result(TIMEOUT) > 0
    held.commit()
    sweep_until_quiet(sweeper)
    assert state_of("t") == "acquired"


@ONE_WRITER
def test_the_rest_of_the_leases_ends(
    timed: DatabaseStore,
    clock: Clock,
    threads: Threads,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.DURABLE_HEARTBEAT_MS = 0
    monkeypatch.setattr(sweeper_module, "_LOCK_PATIENCE", 0.02)
    timed.run(start("t", FAR, ttl=1000))
    clock.advance(1000)
    sweeper = Sweeper(timed)
    held = threads.hold(lambda: None)
    swept = threads.call(sweeper.sweep)
    with pytest.raises(TimeoutError):
        swept.result(0.1)
    held.commit()
    swept.result(TIMEOUT)
    sweep_until_quiet(sweeper)
    assert state_of("t") == "pending"


def test_a_lease_without_practical_end_never_expires(timed: DatabaseStore, clock: Clock) -> None:
    timed.run(start("t", NEVER, ttl=NEVER))
    clock.advance(10**12)
    sweep_until_quiet(Sweeper(timed))
    assert state_of("t") == "acquired"
