"""Native workers and SDK workers in one group: each takes what it knows, and nothing spins."""

import threading

import pytest

import durable
from durable.models import GatewayProcess, HistoryEvent, Stream, Task
from durable.models import Worker as WorkerRow
from durable.protocol.claims import Wanted
from durable.store import get_store
from durable.store.claims import claim
from durable.worker import Worker
from durable.worker.strays import PATIENCE_MS, Strays
from durable.workflow.registry import Registry
from tests.processes import wait_until


@pytest.fixture
def registry(monkeypatch) -> Registry:
    registry = Registry()
    monkeypatch.setattr("durable.worker.worker.registry", registry)
    return registry


@pytest.fixture
def worker(transactional_db, registry):
    @registry.function(name="known")
    def known() -> str:
        return "native"

    worker = Worker(["g"], concurrency=4)
    worker.start()
    yield worker
    worker.stop()


def start(promise_id: str, function: str) -> durable.Handle:
    return durable.options(target="g").start(promise_id, function)


def test_a_native_worker_leaves_what_it_does_not_know(connect, worker) -> None:
    client = connect("g", "sdk")
    wait_until(Stream.objects.exists, seconds=5, what="the stream")
    foreign = [start(f"foreign-{n}", "unknown").id for n in range(5)]
    natives = [start(f"native-{n}", "known") for n in range(5)]
    assert [handle.result(timeout=10) for handle in natives] == ["native"] * 5
    offered = set()
    while len(offered & set(foreign)) < 5:
        offered.add(client.next()["data"]["task"]["id"])
    assert not HistoryEvent.objects.filter(task_id__in=foreign).exists()
    assert set(Task.objects.filter(promise_id__in=foreign).values_list("version", flat=True)) == {0}


def test_its_row_names_its_functions(worker) -> None:
    assert WorkerRow.objects.get().functions == ["known"]


def test_wanted_functions_only_are_claimed(transactional_db) -> None:
    for name in ("a", "b", "c"):
        start(name, name)
    store = get_store()

    def claimed(wanted: Wanted) -> set[str]:
        found = claim(store, ["g"], pid="w", ttl=60_000, limit=10, wanted=wanted)
        return {one.task.id for one in found}

    assert claimed(Wanted([], is_listed=True)) == set()
    assert claimed(Wanted(["b", "x"], is_listed=True)) == {"b"}
    assert claimed(Wanted(["a"], overdue_ms=60_000)) == set()
    assert claimed(Wanted(["a"])) == {"c"}
    assert claimed(Wanted()) == {"a"}


def test_strays_are_looked_for_where_nobody_else_may_know(transactional_db, monkeypatch) -> None:
    monkeypatch.setattr("durable.worker.strays._LOOK_SECONDS", 0.0)
    strays = Strays()
    found = strays.look(["g", "h"], {"mine"})
    assert found is not None
    assert (found.groups, found.wanted) == (["g", "h"], Wanted({"mine"}, False, PATIENCE_MS))

    from durable import clock

    now = clock.now_ms()
    for name, seen_at in (("x", now), ("dead", 0)):
        GatewayProcess.objects.create(id=name, host="", started_at=0, seen_at=seen_at)
    Stream.objects.create(id="s", gateway_id="x", queue="g", worker="w", opened_at=0)
    Stream.objects.create(id="t", gateway_id="dead", queue="h", worker="w", opened_at=0)
    row = {"host": "", "system_pid": 1, "concurrency": 1, "started_at": 0}
    WorkerRow.objects.create(pid="w", groups=["h"], functions=["theirs"], seen_at=now, **row)
    WorkerRow.objects.create(pid="gone", groups=["h"], functions=["old"], seen_at=0, **row)
    found = strays.look(["g", "h"], {"mine"})
    assert found is not None
    assert (found.groups, set(found.wanted.names)) == (["h"], {"mine", "theirs"})
    assert strays.look(["g"], {"mine"}) is None


def test_a_stray_is_shown_as_stuck(worker) -> None:
    done = threading.Event()
    start("lost", "nowhere")
    wait_until(
        lambda: Task.objects.filter(promise_id="lost", stuck__isnull=False).exists(),
        seconds=15,
        what="the mark",
    )
    assert "'nowhere'" in str(Task.objects.get(promise_id="lost").stuck)
    done.set()
