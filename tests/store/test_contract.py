"""What every store promises: the same programs get the same replies, whatever is below.

Run on the memory store, on the database in transactions of its own, and in a caller's.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from django.db import transaction

from durable.machine.internal import InternalStep, LeaseExpiry, PromiseTimeout, RetryDispatch
from durable.machine.memory import MemoryStore
from durable.machine.state import Execute, ExecuteKey, ServerState, UnblockKey
from durable.protocol import tags
from durable.protocol.records import EMPTY, Value
from durable.protocol.requests import (
    PromiseGet,
    PromiseRegisterCallback,
    Reply,
    Request,
    ScheduleDelete,
    ScheduleGet,
    TaskContinue,
    TaskGet,
    TaskHalt,
)
from durable.protocol.states import PromiseState, TaskState
from durable.store.database import DatabaseStore
from tests.machine.factories import (
    ADDRESS,
    EXTERNAL,
    GROUP,
    INTERNAL,
    TARGETED,
    TIMER,
    TTL,
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
from tests.store.support import assert_sound, drain_database, drain_memory, snapshot, unordered
from tests.store.timing import MINUTE, NEVER, START, Clock

FAR = START + 60 * MINUTE
RESOLVED, REJECTED = PromiseState.RESOLVED, PromiseState.REJECTED


@dataclass
class Subject:
    """A store as the tests below see it."""

    clock: Clock
    run: Callable[..., list[Reply]]
    fire: Callable[..., object]
    read: Callable[[], ServerState]
    settle_down: Callable[[], object]

    def ask(self, request: Request) -> Reply:
        [reply] = self.run(request)
        return reply


@pytest.fixture(params=["memory", "database", "inline"])
def subject(request: pytest.FixtureRequest, clock: Clock, timed: DatabaseStore) -> Subject:
    if request.param == "memory":
        return _on_memory(clock)
    return _on_database(timed, clock, inline=request.param == "inline")


def _on_memory(clock: Clock) -> Subject:
    memory = MemoryStore()

    def run(*requests: Request) -> list[Reply]:
        replies = memory.run(*requests, now=clock.now)
        drain_memory(memory, clock.now)
        return replies

    def fire(*steps: InternalStep) -> None:
        for step in steps:
            memory.fire(step, now=clock.now)
        drain_memory(memory, clock.now)

    return Subject(clock, run, fire, lambda: unordered(memory.state), lambda: None)


def _on_database(store: DatabaseStore, clock: Clock, *, inline: bool) -> Subject:
    def run(*requests: Request) -> list[Reply]:
        if not inline:
            return store.run(*requests)
        with transaction.atomic():
            replies = store.run(*requests)
        assert_sound(store)
        return replies

    return Subject(clock, run, store.fire, lambda: snapshot(store), lambda: drain_database(store))


def test_a_program_is_answered_in_order(subject: Subject) -> None:
    created, read, settled, late = subject.run(
        create("a", EXTERNAL, FAR), PromiseGet("a"), settle("a"), settle("a", REJECTED)
    )
    assert created.promise == read.promise
    assert read.promise is not None
    assert read.promise.is_pending
    assert (settled.applied, late.applied) == (True, False)
    assert settled.promise == late.promise
    assert settled.promise is not None
    assert (settled.promise.state, settled.promise.settled_at) == (RESOLVED, START)


def test_a_refusal_is_a_reply_and_undoes_nothing(subject: Subject) -> None:
    replies = subject.run(create("a", INTERNAL, FAR), settle("missing"), acquire("a"))
    assert [(reply.status, reply.error) for reply in replies] == [
        (200, ""),
        (404, "Promise not found"),
        (404, "Task not found"),
    ]
    assert subject.ask(PromiseGet("a")).is_ok


@pytest.mark.parametrize(
    "value",
    [
        EMPTY,
        Value(data=""),
        Value(headers={}),
        Value(headers={}, data=""),
        Value(headers={"Zoë": "naïve", "a": ""}, data="ẞ 🦜 \\ \" ' %s {id}"),
        Value(data="x" * 100_000),
    ],
    ids=["nothing", "empty data", "no headers", "both empty", "unicode", "long"],
)
def test_values_come_back_as_they_were(subject: Subject, value: Value) -> None:
    tagged = EXTERNAL | {"key '%s'": "ü\t\n", "": ""}
    subject.run(create("a", tagged, FAR, value), settle("a", REJECTED, value))
    record = subject.ask(PromiseGet("a")).promise
    assert record is not None
    assert (record.param, record.value, record.tags) == (value, value, tagged)
    assert subject.read().promises["a"].record(START) == record


@pytest.mark.parametrize(
    "promise_id", ["a b", "a:b.c/d", "Ä", "ä", "a%", "'; drop table x; --", "schedule s", "🦜" * 50]
)
def test_ids_are_compared_byte_by_byte(subject: Subject, promise_id: str) -> None:
    subject.run(create(promise_id, EXTERNAL, FAR), create(promise_id.swapcase(), EXTERNAL, FAR))
    subject.run(settle(promise_id))
    other = subject.ask(PromiseGet(promise_id.swapcase())).promise
    assert other is not None
    assert other.is_pending == (promise_id.swapcase() != promise_id)


def test_settling_resumes_the_awaiter_with_it(subject: Subject) -> None:
    subject.run(create("a", EXTERNAL, FAR), start("b", FAR), suspend("b", "a"))
    assert subject.read().tasks["b"].state is TaskState.SUSPENDED
    subject.run(settle("a"))
    task = subject.read().tasks["b"]
    assert (task.state, task.version, task.resumes) == (TaskState.PENDING, 1, ("a",))
    assert subject.read().promises["a"].callbacks == ()


def test_settling_tells_an_acquired_awaiter_soon(subject: Subject) -> None:
    subject.run(create("a", EXTERNAL, FAR), start("b", FAR), PromiseRegisterCallback("a", "b"))
    subject.run(settle("a"))
    subject.settle_down()
    task = subject.read().tasks["b"]
    assert (task.state, task.resumes) == (TaskState.ACQUIRED, ("a",))


def test_settling_enqueues_what_listeners_are_sent(subject: Subject) -> None:
    value = Value({"k": "v"}, "x")
    subject.run(create("a", EXTERNAL, FAR), listen("a"), settle("a", RESOLVED, value))
    state = subject.read()
    message = state.outbox[UnblockKey("a", ADDRESS)]
    assert message.promise == subject.ask(PromiseGet("a")).promise
    assert state.promises["a"].listeners == ()


def test_a_chain_of_the_dead_is_followed(subject: Subject) -> None:
    """The awaiter's own deadline has passed: it is settled, and its awaiter resumed, in one go."""
    subject.run(create("a", EXTERNAL, FAR), start("b", START + 10), suspend("b", "a"))
    subject.run(start("c", FAR), suspend("c", "b"))
    subject.clock.advance(10)
    subject.run(settle("a"))
    state = subject.read()
    assert state.promises["b"].state is PromiseState.REJECTED_TIMEDOUT
    assert state.tasks["b"].state is TaskState.FULFILLED
    assert (state.tasks["c"].state, state.tasks["c"].resumes) == (TaskState.PENDING, ("b",))


def test_suspending_on_what_is_settled_is_answered_with_300(subject: Subject) -> None:
    replies = subject.run(
        create("a", EXTERNAL, FAR), start("b", FAR), settle("a"), suspend("b", "a")
    )
    assert replies[-1].status == 300
    assert subject.read().tasks["b"].state is TaskState.ACQUIRED


def test_a_lease_is_taken_extended_and_given_back(subject: Subject) -> None:
    subject.run(create("a", TARGETED, FAR))
    first = subject.ask(acquire("a", 0, "p"))
    assert first.task is not None
    assert (first.task.version, first.task.pid, first.task.ttl) == (1, "p", TTL)
    assert subject.ask(acquire("a", 0, "q")).error == "Task is not pending"
    subject.clock.advance(5)
    assert subject.ask(heartbeat(("a", 1), ("gone", 1))).is_ok
    assert subject.read().tasks["a"].expires_at == START + 5 + TTL
    assert subject.ask(release("a", 1)).is_ok
    assert subject.ask(release("a", 1)).status == 409
    assert subject.ask(acquire("a", 0, "q")).error == "Version mismatch"
    assert subject.ask(acquire("a", 1, "q")).is_ok


def test_a_fence_creates_and_settles_under_the_lease(subject: Subject) -> None:
    subject.run(start("a", FAR))
    made, settled, stale = subject.run(
        fence(create("b", INTERNAL, FAR), "a"),
        fence(settle("b"), "a"),
        fence(settle("b"), "a", version=2),
    )
    assert made.action is not None
    assert made.action.reply.promise is not None
    assert settled.applied
    assert (stale.status, stale.error) == (409, "Task is not acquired or version mismatch")


def test_fulfilling_settles_promise_and_task(subject: Subject) -> None:
    subject.run(start("a", FAR), fulfill("a", 1, REJECTED, Value(data="x")))
    state = subject.read()
    assert state.tasks["a"].state is TaskState.FULFILLED
    assert (state.promises["a"].state, state.promises["a"].value.data) == (REJECTED, "x")
    task = subject.ask(TaskGet("a")).task
    assert task is not None
    assert (task.state, task.version) == (TaskState.FULFILLED, 1)


def test_a_halted_task_rests_until_it_is_continued(subject: Subject) -> None:
    subject.run(create("x", EXTERNAL, FAR), start("a", FAR), suspend("a", "x"), TaskHalt("a"))
    subject.run(settle("x"))
    assert subject.read().tasks["a"].resumes == ("x",)
    assert subject.ask(acquire("a", 1)).status == 409
    assert subject.ask(TaskContinue("a")).is_ok
    assert subject.read().tasks["a"].state is TaskState.PENDING


def test_a_deadline_is_seen_before_it_is_stored(subject: Subject) -> None:
    subject.run(create("a", TARGETED, START + 10), create("t", TIMER, START + 10))
    subject.clock.advance(10)
    seen = [subject.ask(PromiseGet(one)).promise for one in ("a", "t")]
    assert [one and one.state for one in seen] == [PromiseState.REJECTED_TIMEDOUT, RESOLVED]
    assert subject.ask(acquire("a")).error == "Task is not pending"
    assert subject.read().promises["a"].is_pending
    subject.fire(PromiseTimeout("a"), PromiseTimeout("t"), PromiseTimeout("missing"))
    stored = subject.read().promises
    assert [stored[one].settled_at for one in ("a", "t")] == [START + 10] * 2


def test_a_retry_is_sent_once_when_due(subject: Subject) -> None:
    subject.run(create("a", TARGETED, FAR))
    subject.fire(RetryDispatch("a"))
    subject.fire(RetryDispatch("a"))
    state = subject.read()
    assert state.outbox == {ExecuteKey("a"): Execute("a", 0, GROUP)}
    assert state.tasks["a"].retry_at == START + state.config.retry_timeout


def test_a_lease_expires_when_due(subject: Subject) -> None:
    subject.run(start("a", FAR, ttl=10))
    subject.fire(LeaseExpiry("a"))
    assert subject.read().tasks["a"].state is TaskState.ACQUIRED
    subject.clock.advance(10)
    subject.fire(LeaseExpiry("a"))
    task = subject.read().tasks["a"]
    assert (task.state, task.version, task.retry_at) == (TaskState.PENDING, 1, START + 10)


def test_schedules_are_made_read_and_deleted(subject: Subject) -> None:
    template = schedule(promise_tags=TARGETED, promise_param=Value({"a": "b"}, "x"))
    made = subject.ask(template)
    assert made.schedule is not None
    assert made.schedule.next_run_at > START
    assert subject.ask(schedule(cron="* * * * *")).schedule == made.schedule
    assert subject.ask(ScheduleGet("s")).schedule == made.schedule
    assert subject.ask(ScheduleDelete("s")).is_ok
    assert subject.ask(ScheduleDelete("s")).error == "Schedule not found"
    assert subject.read().schedules == {}


def test_a_schedule_deleted_and_made_anew_in_one_program_is_the_new_one(subject: Subject) -> None:
    subject.run(schedule(cron="0 0 * * *"))
    subject.run(ScheduleDelete("s"), schedule(cron="* * * * *", promise_tags=EXTERNAL))
    found = subject.read().schedules["s"]
    assert (found.cron, found.promise_tags) == ("* * * * *", EXTERNAL)


def test_a_schedule_made_and_deleted_in_one_program_never_was(subject: Subject) -> None:
    assert [reply.status for reply in subject.run(schedule(), ScheduleDelete("s"))] == [200, 200]
    assert subject.read().schedules == {}


def test_what_is_born_and_settled_in_one_program_is_stored_as_it_ended(subject: Subject) -> None:
    subject.run(
        create("a", EXTERNAL, FAR),
        listen("a"),
        start("b", FAR),
        suspend("b", "a"),
        settle("a"),
        acquire("b", 1),
    )
    state = subject.read()
    assert state.promises["a"].state is RESOLVED


def test_ids_no_text_can_hold_are_refused(subject: Subject) -> None:
    """PostgreSQL has no NUL in text; the refusal must come before the database sees it."""
    replies = subject.run(
        PromiseGet("a\0"), create("a", EXTERNAL, FAR), settle("\0"), TaskHalt("\0")
    )
    assert [(reply.status, reply.error) for reply in replies] == [
        (400, "Promise ID must not contain null bytes"),
        (200, ""),
        (400, "Promise ID must not contain null bytes"),
        (400, "Task ID must not contain null bytes"),
    ]


def test_numbers_reach_as_far_as_the_protocol_says(subject: Subject) -> None:
    subject.run(start("a", NEVER, ttl=NEVER), schedule(promise_timeout=NEVER))
    state = subject.read()
    assert state.promises["a"].timeout_at == NEVER
    assert state.tasks["a"].expires_at == START + NEVER


def test_a_delayed_task_is_dispatched_later(subject: Subject) -> None:
    subject.run(create("a", TARGETED | {tags.DELAY: str(START + 50)}, FAR))
    subject.fire(RetryDispatch("a"))
    assert subject.read().outbox == {}
    subject.clock.advance(50)
    subject.fire(RetryDispatch("a"))
    assert list(subject.read().outbox) == [ExecuteKey("a")]
