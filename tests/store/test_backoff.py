"""A task given back again and again rests, ever longer; nobody who asks for it is refused."""

import pytest

from durable.machine.internal import LeaseExpiry, RetryDispatch
from durable.protocol import tags
from durable.protocol.annotations import Annotation
from durable.protocol.requests import PromiseRegisterCallback, TaskContinue, TaskHalt
from durable.store.claims import claim
from durable.store.database import DatabaseStore
from durable.store.due import find_due
from tests.machine.factories import (
    EXTERNAL,
    TARGETED,
    acquire,
    create,
    fence,
    fulfill,
    release,
    settle,
    suspend,
)
from tests.store.support import assert_sound, column
from tests.store.timing import MINUTE, START, Clock

FAR = START + 600 * MINUTE


def rest(store: DatabaseStore) -> int:
    return column("task", "not_before", "t") - store.clock_now()


def give_back(store: DatabaseStore, times: int, *, stuck: str | None = None) -> None:
    for _ in range(times):
        version = column("task", "version", "t")
        store.run(acquire("t", version))
        store.run(release("t", version + 1), annotations={"t": Annotation(stuck=stuck)})


def test_the_first_two_releases_are_free_and_the_rest_double(timed: DatabaseStore) -> None:
    timed.run(create("t", TARGETED, FAR))
    rests = []
    for _ in range(11):
        give_back(timed, 1)
        rests.append(rest(timed))
    assert rests == [0, 0, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000]


def test_a_resting_task_is_neither_claimed_nor_dispatched(
    timed: DatabaseStore, clock: Clock
) -> None:
    timed.run(create("t", TARGETED, FAR))
    give_back(timed, 3)
    assert claim(timed, ["g"], pid="w", ttl=1000, limit=1) == []
    assert find_due(timed, limit=5).steps == []
    clock.advance(1000)
    assert find_due(timed, limit=5).steps == [RetryDispatch("t")]
    assert len(claim(timed, ["g"], pid="w", ttl=1000, limit=1)) == 1


def test_who_asks_for_a_resting_task_gets_it(timed: DatabaseStore) -> None:
    """Back-off is not the machine's: an SDK that acquires is never refused by it."""
    timed.run(create("t", TARGETED, FAR))
    give_back(timed, 9)
    assert rest(timed) == 60_000
    [reply] = timed.run(acquire("t", 9))
    assert reply.is_ok


def test_a_lease_that_expires_counts_as_a_release(timed: DatabaseStore, clock: Clock) -> None:
    timed.run(create("t", TARGETED, FAR))
    for version in range(3):
        timed.run(acquire("t", version, ttl=1))
        clock.advance(1)
        timed.fire(LeaseExpiry("t"))
    assert rest(timed) == 1000


def test_parking_is_progress(timed: DatabaseStore) -> None:
    timed.run(create("t", TARGETED, FAR), create("x", EXTERNAL, FAR))
    give_back(timed, 5)
    timed.run(acquire("t", 5), suspend("t", "x", version=6))
    assert column("task", "releases", "t") == 0
    timed.run(settle("x"))
    assert rest(timed) == 0
    give_back(timed, 2)
    assert rest(timed) == 0


def test_continuing_starts_afresh(timed: DatabaseStore) -> None:
    timed.run(create("t", TARGETED, FAR))
    give_back(timed, 5)
    timed.run(TaskHalt("t"), TaskContinue("t"))
    assert (rest(timed), column("task", "releases", "t")) == (0, 0)


def test_a_wakeup_does_not_shorten_the_rest(timed: DatabaseStore) -> None:
    """It was released with the wake-up pending or not: the task did not get on."""
    timed.run(create("t", TARGETED, FAR), create("x", EXTERNAL, FAR))
    timed.run(PromiseRegisterCallback("x", "t"))
    give_back(timed, 5)
    timed.run(settle("x"))
    assert rest(timed) == 4000


def test_a_stuck_task_rests_from_the_first_time_and_says_why(timed: DatabaseStore) -> None:
    timed.run(create("t", TARGETED, FAR))
    give_back(timed, 1, stuck="the code changed")
    assert (rest(timed), column("task", "stuck", "t")) == (1000, "the code changed")
    give_back(timed, 1, stuck="still")
    assert (rest(timed), column("task", "stuck", "t")) == (2000, "still")


def test_the_mark_stays_while_somebody_tries_and_goes_with_the_next_release(
    timed: DatabaseStore,
) -> None:
    timed.run(create("t", TARGETED, FAR))
    give_back(timed, 1, stuck="why")
    timed.run(acquire("t", 1))
    assert column("task", "stuck", "t") == "why"
    timed.run(release("t", 2))
    assert column("task", "stuck", "t") is None


@pytest.mark.parametrize("ending", ["suspend", "fulfill", "settle", "halt"])
def test_progress_clears_the_mark(timed: DatabaseStore, ending: str) -> None:
    timed.run(create("t", TARGETED, FAR), create("x", EXTERNAL, FAR))
    give_back(timed, 1, stuck="why")
    timed.run(acquire("t", 1))
    match ending:
        case "suspend":
            timed.run(suspend("t", "x", version=2))
        case "fulfill":
            timed.run(fulfill("t", 2))
        case "settle":
            timed.run(settle("t"))
        case _:
            timed.run(TaskHalt("t"), TaskContinue("t"))
    assert column("task", "stuck", "t") is None
    assert column("task", "releases", "t") == 0


def test_a_delay_is_kept_until_then(timed: DatabaseStore, clock: Clock) -> None:
    timed.run(create("t", TARGETED | {tags.DELAY: str(START + 50)}, FAR))
    assert rest(timed) == 50
    give_back(timed, 1)  # by an SDK that acquired it all the same
    assert rest(timed) == 0


def test_a_step_is_progress(timed: DatabaseStore) -> None:
    timed.run(create("t", TARGETED, FAR))
    give_back(timed, 4, stuck="why")
    timed.run(acquire("t", 4))
    timed.run(fence(create("x", EXTERNAL, FAR), "t", 5))
    assert (column("task", "releases", "t"), column("task", "stuck", "t")) == (0, None)
    timed.run(release("t", 5))
    assert rest(timed) == 0
    assert_sound(timed)


def test_repeating_a_step_is_none(timed: DatabaseStore) -> None:
    timed.run(create("t", TARGETED, FAR), create("x", EXTERNAL, FAR), settle("x"))
    give_back(timed, 4)
    timed.run(acquire("t", 4))
    timed.run(fence(create("x", EXTERNAL, FAR), "t", 5), fence(settle("x"), "t", 5))
    assert column("task", "releases", "t") == 4


def test_many_releases_in_a_row_show_as_stuck_without_a_reason(timed: DatabaseStore) -> None:
    timed.run(create("t", TARGETED, FAR))
    give_back(timed, 4)
    assert column("task", "stuck", "t") is None
    give_back(timed, 1)
    assert column("task", "stuck", "t") == "given back 5 times in a row without progress"
