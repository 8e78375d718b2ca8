"""Statements of starts, checkpoints and endings write what the general way writes, or nothing."""

from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from durable.protocol import tags
from durable.protocol.annotations import Annotation
from durable.protocol.records import EMPTY, Value
from durable.protocol.requests import Reply, Request
from durable.protocol.states import PromiseState, TaskState
from durable.store import specialised
from durable.store.base import Program
from durable.store.database import DatabaseStore
from tests.machine.factories import (
    EXTERNAL,
    INTERNAL,
    TARGETED,
    TIMER,
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
from tests.store.support import column, rows, wipe
from tests.store.threads import TIMEOUT, Threads, eventually
from tests.store.timing import MINUTE, NEVER, START, Clock

pytestmark = pytest.mark.postgres_only(reason="SQLite goes the general way")

TTL = 15_000
EXAMPLES = 400
TABLES = {
    "durable_promise": "id",
    "durable_task": "id",
    "durable_callback": "awaited_id, awaiter_id",
    "durable_listener": "promise_id, address",
}

type Notes = dict[str, Annotation]

values = st.sampled_from([EMPTY, Value(data="eyJmdW5jIjoiZiJ9"), Value({"ü": "ß\\\"'"}, "☃")])
deadlines = st.sampled_from([NEVER, NEVER, START + MINUTE, START + 1, START, START - 1])
states = st.sampled_from(
    [PromiseState.RESOLVED, PromiseState.REJECTED, PromiseState.REJECTED_CANCELED]
)
versions = st.sampled_from([1, 1, 1, 0, 2])
lineage = {tags.ORIGIN: "root", tags.BRANCH: "t", tags.PARENT: "t"}
child_tags = st.sampled_from([INTERNAL, lineage, EXTERNAL, TIMER, TARGETED])
notes = st.sampled_from([None, Annotation(5, 2, "Error: no"), Annotation(attempts=1)])


@st.composite
def starts(draw: st.DrawFn) -> tuple[list[Request], Notes]:
    delay = {tags.DELAY: str(START + 5)}
    own = draw(
        st.sampled_from(
            [
                TARGETED,
                TARGETED | lineage,
                TARGETED | dict.fromkeys(lineage, "new"),
                {tags.TARGET: "https://example.org"},
                TARGETED | delay,
                TARGETED | TIMER,
            ]
        )
    )
    promise_id = draw(st.sampled_from(["new", "t", ""]))
    made = create(promise_id, own, draw(deadlines), draw(values))
    note = {"new": Annotation(started_by="user:1")} if draw(st.booleans()) else {}
    return [made], note


@st.composite
def checkpoints(draw: st.DrawFn) -> tuple[list[Request], Notes]:
    version = draw(versions)
    child = draw(st.sampled_from(["c", "c", "old", "t"]))
    note = draw(notes)
    actions = [
        create(child, draw(child_tags), draw(deadlines), draw(values)),
        settle(child, draw(states), draw(values)),
    ]
    if draw(st.booleans()) and draw(st.booleans()):
        actions = actions[:1]
    return [fence(one, "t", version) for one in actions], {child: note} if note else {}


@st.composite
def endings(draw: st.DrawFn) -> tuple[list[Request], Notes]:
    note = draw(notes)
    ended = fulfill("t", draw(versions), draw(states), draw(values))
    return [ended], {"t": note} if note else {}


def prepare(store: DatabaseStore, *, deadline: int, happened: set[str]) -> None:
    """Make a task ``t`` that is held at version 1, if nothing else has happened."""
    at = START - 1
    store.run(
        create("t", TARGETED, deadline, Value(data="eyJmdW5jIjoiZiJ9")),
        now=at,
        annotations={"t": Annotation(started_at=1, attempts=3, last_error="Error: before")},
    )
    if "not taken" not in happened:
        store.run(acquire("t", 0, ttl=TTL), now=at)
    if "child" in happened:
        store.run(create("old", INTERNAL, NEVER), now=at)
    if "awaited" in happened:
        store.run(start("w", NEVER), now=at)
        store.run(suspend("w", "t"), now=at)
    if "listened to" in happened:
        store.run(listen("t"), now=at)
    if "given back" in happened:
        store.run(release("t"), acquire("t", 1, ttl=TTL), now=at)


def everything() -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {
        table: rows(f"select * from {table} order by {order}") for table, order in TABLES.items()
    }
    events = "select task_id, event, at, version, pid from durable_historyevent order by id"
    return {**found, "history": rows(events)}


@pytest.mark.timeout(90)
def test_rows_and_replies_are_those_of_the_general_way(timed: DatabaseStore, clock: Clock) -> None:
    @settings(
        max_examples=max(settings().max_examples, EXAMPLES),
        suppress_health_check=[HealthCheck.too_slow],
        deadline=None,
    )
    @given(
        program=st.one_of(starts(), checkpoints(), endings()),
        deadline=st.sampled_from([NEVER, NEVER, NEVER, START + 1, START]),
        happened=st.sets(
            st.sampled_from(["not taken", "child", "awaited", "listened to", "given back"]),
            max_size=1,
        ),
    )
    def compare(program: tuple[list[Request], Notes], deadline: int, happened: set[str]) -> None:
        requests, annotations = program
        outcomes = []
        for is_general in (True, False):
            wipe()
            timed.rewind()
            clock.now = START - 1
            prepare(timed, deadline=deadline, happened=happened)
            clock.now = START
            if is_general:
                with transaction.atomic():
                    replies = timed.run(*requests, annotations=annotations)
            else:
                replies = timed.run(*requests, annotations=annotations)
            outcomes.append((replies, everything()))
        general, special = outcomes
        assert special[0] == general[0]
        assert special[1] == general[1]

    compare()


def run_specialised(store: DatabaseStore, *programs: Program) -> dict[Program, list[Reply]]:
    store.connection.ensure_connection()
    clock = store.statement_clock()
    return specialised.run(store.connection, programs, store.config, clock)[0]


def checkpoint(child: str = "c", version: int = 1) -> Program:
    made = create(child, INTERNAL, NEVER)
    return Program((fence(made, "t", version), fence(settle(child), "t", version)))


@pytest.fixture
def held(timed: DatabaseStore) -> DatabaseStore:
    prepare(timed, deadline=NEVER, happened=set())
    return timed


def test_all_of_a_batch_are_answered(held: DatabaseStore) -> None:
    programs = [
        checkpoint(),
        checkpoint("d"),
        Program((create("s", TARGETED, NEVER),)),
        Program((fulfill("t"),)),
    ]
    assert set(run_specialised(held, *programs)) == set(programs)
    assert column("task", "state", "t") == "fulfilled"
    assert rows("select id from durable_promise order by id") == [("c",), ("d",), ("s",), ("t",)]


@pytest.mark.parametrize(
    "requests",
    [
        [create("e", EXTERNAL, NEVER)],
        [create("i", INTERNAL, NEVER)],
        [create("s", TARGETED | {tags.DELAY: str(START + 5)}, NEVER)],
        [fence(create("c", INTERNAL, NEVER), "t")],
        [fence(create("c", EXTERNAL, NEVER), "t"), fence(settle("c"), "t")],
        [fence(create("c", INTERNAL, NEVER), "t"), fence(settle("d"), "t")],
        [fence(create("c", INTERNAL, NEVER), "t"), fence(settle("c"), "t", 2)],
        [fulfill("t"), create("s", TARGETED, NEVER)],
        [create("", TARGETED, NEVER)],
        [release("t")],
    ],
)
def test_others_are_left_alone(held: DatabaseStore, requests: list[Request]) -> None:
    before = everything()
    assert run_specialised(held, Program(tuple(requests))) == {}
    assert everything() == before


def test_of_two_programs_about_one_promise_the_second_is_left(held: DatabaseStore) -> None:
    one, other = checkpoint(), checkpoint()
    assert set(run_specialised(held, one, other)) == {one}
    submitted = [held.submit(*program.requests) for program in (checkpoint("d"), checkpoint("d"))]
    first, second = (one.result(TIMEOUT)[1].action for one in submitted)
    assert first is not None
    assert second is not None
    assert (first.reply.applied, second.reply.applied) == (True, False)


def test_the_right_version_does_not_cover_for_a_stale_one(held: DatabaseStore) -> None:
    held.run(release("t"), acquire("t", 1))
    held.run(fence(create("reset", INTERNAL, NEVER), "t", 2))  # progress: no releases
    stale, right = checkpoint("stale", 1), checkpoint("right", 2)
    assert set(run_specialised(held, stale, right)) == {right}
    assert rows("select id from durable_promise where id = 'stale'") == []


def test_what_the_database_refuses_does_not_fail_its_neighbours(held: DatabaseStore) -> None:
    good = held.submit(*checkpoint().requests)
    bad = held.submit(*checkpoint("d", 2**40).requests)
    other = held.submit(create("s", TARGETED, NEVER))
    assert good.result(TIMEOUT)[1].is_ok
    assert other.result(TIMEOUT)[0].is_ok
    assert bad.result(TIMEOUT)[0].status == 409


# -- races ---------------------------------------------------------------------------------------


def test_a_takeover_under_way_refuses_the_checkpoint(held: DatabaseStore, threads: Threads) -> None:
    taking_over = threads.hold(lambda: held.run(release("t"), acquire("t", 1, pid="other")))
    late = held.submit(*checkpoint().requests)
    assert run_specialised(held, checkpoint()) == {}  # the row is locked: nobody waits for it
    taking_over.commit()
    assert [reply.status for reply in late.result(TIMEOUT)] == [409, 409]
    assert rows("select id from durable_promise where id = 'c'") == []


def test_a_takeover_waits_for_a_checkpoint_under_way(held: DatabaseStore, threads: Threads) -> None:
    program = checkpoint()
    writing = threads.hold(lambda: run_specialised(held, program))
    taking_over = threads.call(lambda: held.run(release("t"), acquire("t", 1, pid="other")))
    eventually(
        lambda: rows("select 1 from pg_stat_activity where wait_event_type = 'Lock'"), "a wait"
    )
    writing.commit()
    assert all(reply.is_ok for reply in taking_over.result(TIMEOUT))
    assert column("promise", "state", "c") == "resolved"
    assert column("task", "version", "t") == 2


def test_a_child_under_way_is_waited_for(held: DatabaseStore, threads: Threads) -> None:
    creating = threads.hold(lambda: held.run(create("c", INTERNAL, NEVER)))
    program = threads.call(lambda: held.run(*checkpoint().requests))
    creating.commit()
    created, settled = program.result(TIMEOUT)
    assert created.is_ok
    assert settled.action is not None
    assert settled.action.reply.applied
    assert column("promise", "state", "c") == "resolved"


def test_an_ending_tells_who_registers_meanwhile(held: DatabaseStore, threads: Threads) -> None:
    """It waits for the lock of who registers, and then sees the registration."""
    held.run(start("w", NEVER))
    parking = threads.hold(lambda: held.run(suspend("w", "t")))
    assert run_specialised(held, Program((fulfill("t"),))) == {}
    ending = held.submit(fulfill("t"))
    parking.commit()
    assert ending.result(TIMEOUT)[0].applied
    assert column("task", "state", "w") == "pending"


def test_nobody_parks_behind_an_ending(held: DatabaseStore, threads: Threads) -> None:
    """Both at once, often: the awaiter learns of it, at once or by being resumed."""
    for number in range(60):
        ended, awaiter = f"e{number}", f"w{number}"
        held.run(start(ended, NEVER), start(awaiter, NEVER))
        ending = threads.call(lambda ended=ended: held.run(fulfill(ended)))
        with transaction.atomic():
            [parked] = held.run(suspend(awaiter, ended))
        assert ending.result(TIMEOUT)[0].is_ok
        expected = TaskState.ACQUIRED if parked.status == 300 else TaskState.PENDING
        assert column("task", "state", awaiter) == expected.value
        assert not rows("select 1 from durable_callback where awaited_id = %s", ended)
