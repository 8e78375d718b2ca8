"""Inside a caller's transaction: part of it, whatever becomes of it, and in nobody's way."""

import threading
from collections.abc import Callable, Iterator

import pytest
from django.db import OperationalError, connection, transaction

from durable.background.sweeper import Sweeper
from durable.exceptions import PromiseNotFoundError, WaitInTransactionError
from durable.machine.internal import CallbackDrain, LeaseExpiry
from durable.models import HistoryEvent, OutboxMessage, Promise, Task
from durable.notify import get_notifier
from durable.notify.base import LATENT, SETTLED, ready
from durable.protocol.requests import PromiseGet, PromiseRegisterCallback
from durable.protocol.states import PromiseState, TaskState
from durable.store.base import IsolationLevelError
from durable.store.claims import claim, heartbeat
from durable.store.database import DatabaseStore
from durable.store.due import find_due
from tests.machine.factories import (
    EXTERNAL,
    TARGETED,
    create,
    fence,
    fulfill,
    listen,
    release,
    schedule,
    settle,
    start,
    suspend,
)
from tests.store.conftest import MakeStore
from tests.store.heard import Heard
from tests.store.postgres import wait_for_blocked
from tests.store.support import assert_sound, column, execute, rows, snapshot
from tests.store.threads import TIMEOUT, RollBackError, Threads
from tests.store.timing import MINUTE, NEVER, START, Clock

FAR = START + 60 * MINUTE
ONE_WRITER = "SQLite has one writer: others wait for the caller"


@pytest.fixture
def heard(store: DatabaseStore) -> Iterator[Heard]:
    found = Heard()
    end = get_notifier("default").subscribe(found)
    found.wait_for("*")  # listening has begun
    found.forget()
    yield found
    end()


def roll_back(work: Callable[[], object]) -> None:
    with pytest.raises(RollBackError), transaction.atomic():
        work()
        raise RollBackError


def count_rows() -> list[int]:
    models = (Promise, Task, HistoryEvent, OutboxMessage)
    return [model.objects.count() for model in models]


def test_what_rolls_back_never_was(store: DatabaseStore, heard: Heard) -> None:
    store.run(create("a", EXTERNAL, NEVER), start("t", NEVER), suspend("t", "a"), listen("a"))
    before, counts = snapshot(store), count_rows()
    heard.forget()

    def work() -> None:
        [settled] = store.run(settle("a"))
        assert settled.applied
        store.run(create("b", EXTERNAL, NEVER), start("c", NEVER), schedule())
        assert store.run(PromiseGet("a"), PromiseGet("b"))[1].is_ok
        assert Promise.objects.filter(id="b").exists()

    roll_back(work)
    assert snapshot(store) == before
    assert count_rows() == counts
    store.run(create("d", {"resonate:target": "later"}, NEVER))  # is told after what came before
    heard.wait_for(ready("later"))
    assert heard.topics.isdisjoint({SETTLED, LATENT, ready("g")})
    assert store.run(settle("a"))[0].applied


def test_what_commits_wakes_others_at_once(store: DatabaseStore, heard: Heard) -> None:
    store.run(create("a", EXTERNAL, NEVER), start("t", NEVER), suspend("t", "a"))
    heard.forget()
    with transaction.atomic():
        store.run(settle("a"))
        assert heard.topics.isdisjoint({SETTLED, ready("g")})
    heard.wait_for(SETTLED)
    heard.wait_for(ready("g"))
    [taken] = claim(store, ["g"], pid="w", ttl=1000, limit=5)
    assert taken.task.id == "t"


def test_a_savepoint_takes_back_its_part(store: DatabaseStore) -> None:
    with transaction.atomic():
        store.run(create("a", EXTERNAL, NEVER))
        roll_back(lambda: store.run(create("b", EXTERNAL, NEVER), settle("a")))
        with transaction.atomic():
            store.run(create("c", EXTERNAL, NEVER))
        assert store.run(settle("a"))[0].applied
    assert sorted(Promise.objects.values_list("id", flat=True)) == ["a", "c"]
    assert_sound(store)


def test_a_program_in_a_transaction_sees_what_the_caller_did_before(store: DatabaseStore) -> None:
    with transaction.atomic():
        store.run(start("t", NEVER))
        [made] = store.run(fence(create("a", EXTERNAL, NEVER), "t"))
        assert made.action is not None
        [ended] = store.run(fulfill("t"))
        assert ended.applied
        assert store.run(settle("t"))[0].applied is False
    assert_sound(store)


def test_a_program_that_fails_leaves_the_callers_transaction_usable(store: DatabaseStore) -> None:
    from durable.protocol.annotations import Annotation

    with transaction.atomic():
        store.run(create("a", EXTERNAL, NEVER))
        with pytest.raises(Exception, match="attempts"):
            store.run(create("b", EXTERNAL, NEVER), annotations={"b": Annotation(attempts=-1)})
        store.run(create("c", EXTERNAL, NEVER))
    assert sorted(Promise.objects.values_list("id", flat=True)) == ["a", "c"]


def test_submitting_is_never_part_of_the_callers_transaction(store: DatabaseStore) -> None:
    if connection.vendor == "sqlite":  # the other connection could not begin meanwhile
        with pytest.raises(RollBackError), transaction.atomic():
            submitted = store.submit(create("a", EXTERNAL, NEVER))
            raise RollBackError
    else:
        with pytest.raises(RollBackError), transaction.atomic():
            submitted = store.submit(create("a", EXTERNAL, NEVER))
            submitted.result(TIMEOUT)
            raise RollBackError
    assert submitted.result(TIMEOUT)[0].is_ok
    assert column("promise", "state", "a") == "pending"


def test_a_wait_in_a_transaction_is_refused_at_once(store: DatabaseStore) -> None:
    from durable.client.local import LocalSender

    with transaction.atomic(), pytest.raises(WaitInTransactionError) as refused:
        LocalSender().wait("a")
    assert str(refused.value) == (
        "cannot wait for 'a' inside transaction.atomic(): nothing that happens there can be seen "
        "by others before the block ends; wait after it"
    )
    with pytest.raises(PromiseNotFoundError, match=r"^there is no promise 'a'$"):
        LocalSender().wait("a")


@pytest.mark.postgres_only(reason=ONE_WRITER)
def test_one_caller_waits_for_the_other_and_sees_what_it_did(
    store: DatabaseStore, threads: Threads
) -> None:
    store.run(create("a", EXTERNAL, NEVER))
    first = threads.hold(lambda: store.run(settle("a", PromiseState.REJECTED)))

    def second() -> bool:
        with transaction.atomic():
            [reply] = store.run(settle("a"))
        return reply.applied

    late = threads.call(second)
    wait_for_blocked()
    first.commit()
    assert late.result(TIMEOUT) is False
    assert column("promise", "state", "a") == "rejected"


@pytest.mark.postgres_only(reason=ONE_WRITER)
def test_callers_that_wait_for_each_other_get_djangos_error(
    store: DatabaseStore, threads: Threads
) -> None:
    store.run(create("a", EXTERNAL, NEVER), create("b", EXTERNAL, NEVER))
    together = threading.Barrier(2)

    def both(one: str, other: str) -> str:
        try:
            with transaction.atomic():
                store.run(settle(one))
                together.wait(TIMEOUT)
                store.run(settle(other))
        except OperationalError as error:
            return str(error)
        return ""

    calls = [threads.call(lambda pair=pair: both(*pair)) for pair in ("ab", "ba")]
    messages = sorted(call.result(TIMEOUT) for call in calls)
    assert messages[0] == ""
    assert messages[1].startswith("deadlock detected")
    assert_sound(store)


@pytest.mark.postgres_only(reason=ONE_WRITER)
def test_a_caller_that_takes_its_time_stops_no_other_execution(
    store: DatabaseStore, threads: Threads
) -> None:
    """It settled what an acquired and a suspended task wait for; now it talks to a slow host."""
    store.run(create("a", EXTERNAL, NEVER), start("busy", NEVER, ttl=1000), start("parked", NEVER))
    store.run(PromiseRegisterCallback("a", "busy"), suspend("parked", "a"), start("other", NEVER))
    held = threads.hold(lambda: store.run(settle("a")))

    before = column("task", "expires_at", "busy")
    assert heartbeat(store, "p", {"busy": 1}) == set()
    assert column("task", "expires_at", "busy") > before
    assert store.run(fence(create("busy.1", EXTERNAL, NEVER), "busy"))[0].is_ok
    assert store.run(fence(create("x", EXTERNAL, NEVER), "other"), fulfill("other"))[1].is_ok
    assert store.run(create("new", TARGETED, NEVER), create("y", EXTERNAL, NEVER))[0].is_ok
    assert [one.task.id for one in claim(store, ["g"], pid="w", ttl=1000, limit=5)] == ["new"]
    Sweeper(store).sweep()
    assert store.run(PromiseGet("a"))[0].is_ok
    assert store.run(fence(settle("y"), "busy"))[0].applied

    held.commit()
    Sweeper(store).sweep()
    tasks = snapshot(store).tasks
    assert (tasks["busy"].state, tasks["busy"].resumes) == (TaskState.ACQUIRED, ("a",))
    assert (tasks["parked"].state, tasks["parked"].resumes) == (TaskState.PENDING, ("a",))
    assert_sound(store)


@pytest.mark.postgres_only(reason=ONE_WRITER)
def test_leases_are_not_expired_while_a_caller_holds_their_task(
    make_store: MakeStore, threads: Threads
) -> None:
    clock = Clock(START)
    store = make_store(clock=clock)
    store.run(start("t", FAR, ttl=1000))
    held = threads.hold(lambda: store.run(fence(create("a", EXTERNAL, FAR), "t")))
    clock.advance(MINUTE)
    assert store.fire(LeaseExpiry("t")) == 0
    assert heartbeat(store, "p", {"t": 1}) == set()
    held.commit()
    assert store.fire(LeaseExpiry("t")) == 0
    assert column("task", "expires_at", "t") == START + MINUTE + 1000


def test_an_acquired_awaiter_is_left_to_the_background(timed: DatabaseStore) -> None:
    timed.run(create("a", EXTERNAL, FAR), start("t", FAR), PromiseRegisterCallback("a", "t"))
    with transaction.atomic():
        timed.run(settle("a"))
        assert column("promise", "is_undrained", "a")
    assert find_due(timed, limit=10).steps == [CallbackDrain("a", "t")]
    Sweeper(timed).sweep()
    assert snapshot(timed).tasks["t"].resumes == ("a",)
    assert not column("promise", "is_undrained", "a")
    assert_sound(timed)


def test_the_background_is_told_of_drains_that_are_left(store: DatabaseStore, heard: Heard) -> None:
    store.run(create("a", EXTERNAL, NEVER), start("t", NEVER), PromiseRegisterCallback("a", "t"))
    heard.forget()
    with transaction.atomic():
        store.run(settle("a"))
    heard.wait_for("due")


def test_an_awaiter_of_the_same_program_is_no_exception(timed: DatabaseStore) -> None:
    """Its row is this transaction's already, so sparing it would help nobody."""
    with transaction.atomic():
        timed.run(
            create("a", EXTERNAL, FAR),
            start("t", FAR),
            suspend("t", "a"),
            settle("a"),
        )
    assert snapshot(timed).tasks["t"].state is TaskState.PENDING
    assert find_due(timed, limit=10, groups=False).steps == []


def test_a_transaction_that_was_marked_to_roll_back_still_does(store: DatabaseStore) -> None:
    with transaction.atomic():
        store.run(create("a", EXTERNAL, NEVER))
        transaction.set_rollback(True)
    assert rows("select id from durable_promise") == []


@pytest.mark.postgres_only(reason="SQLite's transactions are serializable, one after the other")
@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_a_transaction_with_an_old_snapshot_is_refused(level: str, store: DatabaseStore) -> None:
    """It would not see what was settled while it waited for its lock, and lose a wake-up."""
    store.run(create("a", EXTERNAL, NEVER))
    with pytest.raises(IsolationLevelError) as refused, transaction.atomic():
        execute(f"set transaction isolation level {level}")
        store.run(settle("a"))
    assert str(refused.value) == (
        f"programs cannot run in a {level} transaction: they have to read what others committed "
        "before their locks were granted; use READ COMMITTED"
    )
    with transaction.atomic():
        execute(f"set transaction isolation level {level}")
        assert store.run(PromiseGet("a"))[0].is_ok


@pytest.mark.postgres_only(reason=ONE_WRITER)
def test_a_row_that_a_claim_took_meanwhile_is_read_again(
    store: DatabaseStore, threads: Threads
) -> None:
    """A claim changes rows without the locks of programs; the guard tells, the step runs anew."""
    store.run(create("t", TARGETED, NEVER))
    taken = threads.hold(lambda: claim(store, ["g"], pid="w", ttl=60_000, limit=1))

    def halt() -> int:
        with transaction.atomic():
            [reply] = store.run(release("t", 1))
            [settled] = store.run(settle("t"))
        return reply.status if settled.applied else 0

    late = threads.call(halt)
    wait_for_blocked()
    taken.commit()
    assert late.result(TIMEOUT) == 409
    assert [one.task.version for one in taken.result] == [1]
    assert column("task", "state", "t") == "fulfilled"
    assert column("task", "version", "t") == 1
