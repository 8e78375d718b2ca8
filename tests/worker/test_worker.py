"""A worker in this process: leases, what it shows of itself, tasks that cannot go on."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import durable
from durable.background.runner import BackgroundRunner
from durable.models import HistoryEvent, Promise, Task, TaskEvent
from durable.models import Worker as WorkerRow
from durable.protocol.requests import TaskHalt
from durable.store import get_store
from durable.worker import Worker
from durable.workflow.registry import Registry
from tests.processes import wait_until

FAST = {"DURABLE_LEASE_MS": 1500, "DURABLE_HEARTBEAT_MS": 100}


@pytest.fixture
def registry(monkeypatch) -> Registry:
    """Functions of one test only."""
    registry = Registry()
    monkeypatch.setattr("durable.worker.worker.registry", registry)
    return registry


@pytest.fixture
def make_worker(transactional_db, settings) -> Iterator[Callable[..., Worker]]:
    for name, value in FAST.items():
        setattr(settings, name, value)
    runner = BackgroundRunner(get_store())
    runner.start()
    made: list[Worker] = []

    def make(**options: Any) -> Worker:
        made.append(Worker(["default"], concurrency=4, **options))
        made[-1].start()
        return made[-1]

    yield make
    for worker in made:
        worker.stop()
    runner.stop()


def task(task_id: str) -> Task:
    return Task.objects.get(promise_id=task_id)


def events(task_id: str) -> list[TaskEvent]:
    rows = HistoryEvent.objects.filter(task_id=task_id).order_by("id")
    return [TaskEvent(row.event) for row in rows]


def test_the_row_shows_what_runs_and_goes_with_the_worker(make_worker, registry) -> None:
    entered, leave = threading.Event(), threading.Event()

    @registry.function(name="hold")
    def hold() -> str:
        entered.set()
        leave.wait(10)
        return "done"

    worker = make_worker()
    handle = durable.start("hold-1", "hold")
    assert entered.wait(10)
    wait_until(
        lambda: bool(WorkerRow.objects.get(pid=worker.pid).running), seconds=5, what="the beat"
    )
    [running] = WorkerRow.objects.get(pid=worker.pid).running
    assert {key: running[key] for key in ("task", "promise", "function", "attempt")} == {
        "task": "hold-1",
        "promise": "hold-1",
        "function": "hold",
        "attempt": 1,
    }
    leave.set()
    assert handle.result(timeout=10) == "done"
    worker.stop()
    assert not WorkerRow.objects.exists()


def test_a_lease_outlives_user_code_that_blocks(make_worker, registry) -> None:
    """A step that holds its thread for several leases keeps its task: the heartbeat is apart."""
    leave = threading.Event()

    @registry.function(name="slow")
    def slow() -> str:
        leave.wait(15)
        return "slow but once"

    make_worker()
    handle = durable.start("slow-1", "slow")
    wait_until(lambda: task("slow-1").state == "acquired", seconds=10, what="the claim")
    first = task("slow-1").expires_at
    assert first is not None
    wait_until(
        lambda: (task("slow-1").expires_at or 0) > first + 2 * FAST["DURABLE_LEASE_MS"],
        seconds=15,
        what="two leases",
    )
    leave.set()
    assert handle.result(timeout=10) == "slow but once"
    assert events("slow-1") == [TaskEvent.ACQUIRED]


def test_a_worker_that_lost_its_lease_settles_nothing(make_worker, registry) -> None:
    entered, leave = threading.Event(), threading.Event()

    @registry.function(name="robbed")
    def robbed() -> str:
        entered.set()
        leave.wait(10)
        return "from the one who lost it"

    worker = make_worker()
    handle = durable.start("robbed-1", "robbed")
    assert entered.wait(10)
    [halted] = get_store().run(TaskHalt("robbed-1"))
    assert halted.is_ok
    wait_until(lambda: not worker.held(), seconds=10, what="the loss noticed")
    leave.set()
    worker.stop()
    assert handle.record().is_pending
    assert task("robbed-1").state == "halted"


def test_stopping_gives_back_what_does_not_end(make_worker, registry) -> None:
    entered, leave = threading.Event(), threading.Event()

    @registry.function(name="stubborn")
    def stubborn() -> None:
        entered.set()
        leave.wait(20)

    worker = make_worker(grace=0.2)
    durable.start("stubborn-1", "stubborn")
    assert entered.wait(10)
    worker.stop()
    leave.set()
    assert task("stubborn-1").state == "pending"
    assert events("stubborn-1") == [TaskEvent.ACQUIRED, TaskEvent.RELEASED]


def test_a_changed_workflow_parks_and_goes_on_when_the_code_fits(make_worker, registry) -> None:
    called: list[str] = []

    def first() -> str:
        called.append("first")
        return "first"

    def second() -> str:
        called.append("second")
        return "second"

    step: list[Callable[[], str]] = [first]

    @registry.function(name="changing")
    async def changing(ctx: durable.Context) -> str:
        made = await ctx.run(step[0])
        await (await ctx.promise())
        return made

    make_worker()
    handle = durable.start("changing-1", "changing")
    wait_until(lambda: task("changing-1").state == "suspended", seconds=10, what="the wait")
    step[0] = second
    durable.promises.resolve("changing-1:2", None)
    wait_until(lambda: task("changing-1").stuck is not None, seconds=10, what="the mark")
    stuck = str(task("changing-1").stuck)
    assert "changing-1:1" in stuck
    assert "first" in stuck
    assert "second" in stuck
    assert handle.record().is_pending
    step[0] = first
    assert handle.result(timeout=15) == "first"
    assert called == ["first"]
    assert task("changing-1").stuck is None


def test_an_unknown_function_is_stuck_and_named(make_worker, registry) -> None:
    make_worker()
    durable.start("lost-1", "nowhere")
    wait_until(lambda: task("lost-1").stuck is not None, seconds=10, what="the mark")
    assert "'nowhere'" in str(task("lost-1").stuck)
    assert Promise.objects.get(id="lost-1").state == "pending"


def test_a_worker_takes_no_more_than_it_can_run(make_worker, registry) -> None:
    leave = threading.Event()

    @registry.function(name="busy")
    def busy() -> None:
        leave.wait(20)

    worker = make_worker()
    handles = [durable.start(f"busy-{n}", "busy") for n in range(6)]
    wait_until(lambda: len(worker.held()) == 4, seconds=10, what="a full worker")
    assert Task.objects.filter(state="acquired").count() == 4
    leave.set()
    for handle in handles:
        handle.result(timeout=10)
