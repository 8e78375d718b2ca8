"""What happened to a task, written with the change itself: who, when, at which version."""

import pytest
from django.db import transaction

from durable.machine.internal import LeaseExpiry, PromiseTimeout
from durable.models import HistoryEvent
from durable.protocol.annotations import Annotation
from durable.protocol.requests import PromiseRegisterCallback, TaskContinue, TaskHalt
from durable.store.claims import claim
from durable.store.database import DatabaseStore
from tests.machine.factories import (
    EXTERNAL,
    TARGETED,
    acquire,
    create,
    fence,
    fulfill,
    heartbeat,
    release,
    settle,
    start,
    suspend,
)
from tests.store.support import history
from tests.store.threads import RollBackError
from tests.store.timing import MINUTE, START, Clock

FAR = START + 60 * MINUTE


def test_a_life_is_written_down(timed: DatabaseStore, clock: Clock) -> None:
    timed.run(create("x", EXTERNAL, FAR), create("t", TARGETED, FAR))
    assert history("t") == []
    clock.advance(1)
    timed.run(acquire("t", 0, "p"))
    clock.advance(1)
    timed.run(suspend("t", "x"))
    clock.advance(1)
    timed.run(settle("x"))
    clock.advance(1)
    claim(timed, ["g"], pid="w", ttl=5, limit=1)
    clock.advance(1)
    timed.run(release("t", 2))
    clock.advance(1)
    timed.run(acquire("t", 2, "q", ttl=1))
    clock.advance(1)
    timed.fire(LeaseExpiry("t"))
    clock.advance(1)
    timed.run(TaskHalt("t"))
    clock.advance(1)
    timed.run(TaskContinue("t"))
    clock.advance(1)
    timed.run(acquire("t", 3, "p"), fulfill("t", 4))
    assert history("t") == [
        ("acquired", START + 1, 1, "p"),
        ("suspended", START + 2, 1, "p"),
        ("resumed", START + 3, 1, None),
        ("acquired", START + 4, 2, "w"),
        ("released", START + 5, 2, "w"),
        ("acquired", START + 6, 3, "q"),
        ("lease expired", START + 7, 3, "q"),
        ("halted", START + 8, 3, None),
        ("continued", START + 9, 3, None),
        ("acquired", START + 10, 4, "p"),
    ]


def test_a_task_born_acquired_was_acquired(timed: DatabaseStore) -> None:
    timed.run(start("t", FAR, "p"))
    assert history("t") == [("acquired", START, 1, "p")]


def test_halting_says_from_whom_the_task_was_taken(timed: DatabaseStore) -> None:
    timed.run(start("t", FAR, "p"), TaskHalt("t"))
    assert history("t")[1:] == [("halted", START, 1, "p")]


def test_what_changes_nothing_for_people_is_not_written(timed: DatabaseStore, clock: Clock) -> None:
    timed.run(create("x", EXTERNAL, FAR), start("t", FAR), start("u", START + 5))
    timed.run(heartbeat(("t", 1)), fence(create("y", EXTERNAL, FAR), "t"), release("t", 7))
    timed.run(PromiseRegisterCallback("x", "t"), settle("x"))
    clock.advance(5)
    timed.fire(PromiseTimeout("u"), LeaseExpiry("t"))
    assert history("t") == [("acquired", START, 1, "p")]
    assert history("u") == [("acquired", START, 1, "p")]


def test_a_wakeup_of_a_halted_task_is_no_second_halt(timed: DatabaseStore) -> None:
    timed.run(create("x", EXTERNAL, FAR), start("t", FAR), suspend("t", "x"), TaskHalt("t"))
    before = history("t")
    timed.run(settle("x"))
    timed.run(TaskHalt("t"))
    assert history("t") == before


def test_what_rolls_back_is_not_written(timed: DatabaseStore) -> None:
    timed.run(create("t", TARGETED, FAR))
    with pytest.raises(RollBackError), transaction.atomic():
        timed.run(acquire("t"))
        assert HistoryEvent.objects.count() == 1
        raise RollBackError
    assert HistoryEvent.objects.count() == 0


def test_what_fails_is_not_written(timed: DatabaseStore) -> None:
    with pytest.raises(Exception, match="attempts"):
        timed.run(start("t", FAR), annotations={"t": Annotation(attempts=-1)})
    assert HistoryEvent.objects.count() == 0


def test_an_event_names_itself(timed: DatabaseStore) -> None:
    timed.run(start("t", FAR))
    assert str(HistoryEvent.objects.get()) == f"t acquired at {START}"
