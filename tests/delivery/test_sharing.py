"""Native workers and SDK workers in one group: each takes what it knows, and nothing spins."""

import threading

import pytest

import durable
from durable.models import GatewayProcess, HistoryEvent, Stream, Task, TaskEvent
from durable.models import Worker as WorkerRow
from durable.protocol.claims import Wanted
from durable.protocol.records import Value
from durable.protocol.requests import PromiseCreate, TaskAcquire, TaskRelease
from durable.store import get_store
from durable.store.claims import claim
from durable.worker import Worker
from durable.worker.strays import PATIENCE_MS, Strays
from durable.worker.versions import ForeignVersions
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
    assert strays.look(["g", "h"], {"mine"}) is None, "nothing was left lying"
    start("left", "nowhere")
    monkeypatch.setattr("durable.worker.strays.PATIENCE_MS", 0)
    found = strays.look(["g", "h"], {"mine"})
    assert found is not None
    assert (found.groups, found.wanted) == (["g", "h"], Wanted({"mine"}, False, overdue_ms=0))

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


# Versions: claims go by names, so a call of another version is given back


def start_version(promise_id: str, version: int) -> durable.Handle:
    return durable.options(target="g", version=version).start(promise_id, "known")


def is_stuck(task_id: str) -> bool:
    return Task.objects.filter(promise_id=task_id, stuck__isnull=False).exists()


@pytest.fixture
def newer(worker, monkeypatch):
    """A worker beside the first one, which knows another version."""
    registry = Registry()
    monkeypatch.setattr("durable.worker.worker.registry", registry)

    @registry.function(name="known", version=2)
    def known_again() -> str:
        return "newer"

    newer = Worker(["g"], concurrency=4)
    newer.start()
    yield newer
    newer.stop()


def test_each_version_finds_the_worker_that_knows_it(newer) -> None:
    handles = [start_version(f"v-{n}", 1 + n % 2) for n in range(12)]
    assert [handle.result(timeout=15) for handle in handles] == ["native", "newer"] * 6
    ids = [handle.id for handle in handles]
    assert not any(is_stuck(one) for one in ids)
    acquired = HistoryEvent.objects.filter(task_id__in=ids, event=TaskEvent.ACQUIRED)
    assert acquired.count() <= 3 * len(ids), "handed on, not spun"


def test_another_version_is_left_to_those_behind_streams(connect, worker) -> None:
    client = connect("g", "sdk")
    wait_until(Stream.objects.exists, seconds=5, what="the stream")
    start_version("v", 2)
    natives = [start_version(f"n-{n}", 1) for n in range(5)]
    is_taken = False
    while not is_taken:  # an offer may come too late: the native worker looks at what it gets
        offered = client.next()["data"]["task"]
        if offered["id"] == "v":
            take = TaskAcquire("v", offered["version"], "sdk", 60_000)
            is_taken = get_store().run(take)[0].is_ok
    assert not is_stuck("v")
    assert [handle.result(timeout=10) for handle in natives] == ["native"] * 5


def test_a_version_that_nobody_knows_is_shown_as_stuck(worker) -> None:
    start_version("v", 7)
    wait_until(lambda: is_stuck("v"), seconds=15, what="the mark")
    assert "'known' version 7" in str(Task.objects.get(promise_id="v").stuck)
    assert start_version("n", 1).result(timeout=10) == "native"


class Looker:
    """Claims as a worker that knows version 1 does, at instants of its own (seconds)."""

    def __init__(self) -> None:
        registry = Registry()
        registry.function(name="known")(lambda: None)
        self.now = 0.0
        self.versions = ForeignVersions(registry, monotonic=lambda: self.now)

    def claim(self) -> tuple[list[str], list[str]]:
        """Return what it would run, and what it gave back."""
        store = get_store()
        wanted = Wanted(self.versions.names_to_claim(["g"]), is_listed=True)
        claims = claim(store, ["g"], pid="w", ttl=60_000, limit=10, wanted=wanted)
        mine, others = self.versions.split(claims)
        store.run(*(TaskRelease(one.task.id, one.task.version) for one in others))
        return [one.task.id for one in mine], [one.task.id for one in others]


@pytest.fixture
def looker(transactional_db, monkeypatch) -> Looker:
    monkeypatch.setattr("durable.worker.versions.HAND_OVER_MS", 0)
    return Looker()


def test_the_others_come_first(looker: Looker, monkeypatch) -> None:
    monkeypatch.setattr("durable.worker.versions.HAND_OVER_MS", 60_000)
    start_version("v", 7)
    start_version("mine", 1)
    assert looker.claim() == (["mine"], ["v"])
    start_version("next", 1)
    assert not looker.versions.is_holding
    assert looker.claim() == ([], [])
    assert looker.versions.is_holding
    [reply] = get_store().run(TaskAcquire("v", 1, "other", 60_000))
    assert reply.is_ok
    assert looker.claim() == (["next"], [])
    assert not looker.versions.is_holding


def test_what_nobody_took_is_run_to_show_why(looker: Looker) -> None:
    start_version("v", 7)
    assert looker.claim() == ([], ["v"])
    looker.now = PATIENCE_MS / 1000
    assert looker.claim() == (["v"], [])


def test_what_somebody_may_know_behind_a_stream_is_always_handed_on(looker: Looker) -> None:
    gateway = GatewayProcess.objects.create(id="x", host="", started_at=0, seen_at=2**52)
    Stream.objects.create(id="s", gateway=gateway, queue="g", worker="w", opened_at=0)
    start_version("v", 7)
    assert looker.claim() == ([], ["v"])
    looker.now = PATIENCE_MS / 1000
    assert looker.claim() == ([], ["v"])


def test_what_another_had_meanwhile_is_handed_on_anew(looker: Looker) -> None:
    start_version("v", 7)
    assert looker.claim() == ([], ["v"])
    get_store().run(TaskAcquire("v", 1, "other", 60_000), TaskRelease("v", 2))
    looker.now = PATIENCE_MS / 1000
    wait_until(  # the second time in a row it rests
        lambda: looker.claim() == ([], ["v"]), seconds=5, what="the task to come back"
    )


def test_only_so_much_is_remembered(looker: Looker, monkeypatch) -> None:
    monkeypatch.setattr("durable.worker.versions._REMEMBERED", 2)
    for n in range(5):
        start_version(f"v-{n}", 7)
    assert len(looker.claim()[1]) == 5
    assert len(looker.versions._handed_on) == 2


def test_what_calls_nothing_or_an_unknown_function_is_not_handed_on(looker: Looker) -> None:
    """The one runs into its error at once, the other is looked for as a stray."""
    get_store().run(
        PromiseCreate("odd", 2**52, param=Value(data="?"), tags={"resonate:target": "poll://any@g"})
    )
    assert looker.claim() == (["odd"], [])
    start("unknown", "unknown")
    found = claim(get_store(), ["g"], pid="w", ttl=60_000, limit=10)
    assert looker.versions.split(found) == (found, [])
