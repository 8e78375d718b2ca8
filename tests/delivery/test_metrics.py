"""What ``/metrics`` tells, and whom."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from durable.machine.internal import LeaseExpiry
from durable.models import Stream
from durable.observability import metrics
from durable.observability.views import metrics_page
from durable.protocol.requests import PromiseCreate, ScheduleCreate, TaskAcquire
from durable.store import get_store
from tests.delivery.test_streams import NEVER
from tests.processes import wait_until

NAMES = {
    "resonate_request_total",
    "resonate_request_duration_seconds_count",
    "resonate_messages_total",
    "resonate_deliveries_total",
    "resonate_schedule_promises_total",
    "durable_tasks",
    "durable_queue_depth",
    "durable_queue_oldest_pending_seconds",
    "durable_streams",
    "durable_outbox_messages",
    "durable_lease_expiries_total",
    "durable_commit_batch_size_count",
    "durable_commit_wait_seconds_sum",
    "durable_statements_total",
    "durable_replay_seconds_count",
}


def samples() -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def test_names(transactional_db, connect) -> None:
    metrics.count_request("promise.get", 200, 0.01)
    metrics.count_message("execute")
    metrics.count_delivery("success")
    connect("g", "w")
    wait_until(Stream.objects.exists, seconds=5, what="the stream")
    get_store().run(PromiseCreate("t", NEVER, tags={"resonate:target": "poll://any@other"}))
    assert {name for name, _ in samples()} >= NAMES


def test_states_are_read_when_asked(transactional_db) -> None:
    store = get_store()
    before = samples()
    store.run(PromiseCreate("t", NEVER, tags={"resonate:target": "poll://any@g"}))
    store.run(PromiseCreate("u", NEVER, tags={"resonate:target": "poll://any@g"}))
    store.run(TaskAcquire("u", 0, "w", 1))
    found = samples()
    assert found["durable_queue_depth", (("group", "g"),)] == 1
    assert found["durable_tasks", (("state", "acquired"),)] == 1
    store.fire(LeaseExpiry("u"), now=NEVER - 1)
    key = ("durable_lease_expiries_total", ())
    assert samples()[key] - before[key] == 1
    assert samples()["durable_queue_depth", (("group", "g"),)] == 2


def test_promises_of_schedules_are_counted(transactional_db) -> None:
    from durable.background.sweeper import Sweeper

    key = ("resonate_schedule_promises_total", ())
    before = samples()[key]
    store = get_store()
    store.run(ScheduleCreate("s", "* * * * * *", "{{.id}}-{{.timestamp}}", 60_000))
    store.advance(store.clock_now() + 2500)
    Sweeper(store).sweep()
    assert samples()[key] - before >= 2


def test_a_kind_that_is_none_has_no_label_of_its_own(transactional_db) -> None:
    metrics.count_request("no such kind", 400, 0.01)
    labels = {value for _, pairs in samples() for name, value in pairs if name == "kind"}
    assert "other" in labels
    assert "no such kind" not in labels


@pytest.mark.usefixtures("transactional_db")
@pytest.mark.parametrize(
    ("name", "value", "headers", "address", "status"),
    [
        ("", None, {}, "127.0.0.1", 200),
        ("", None, {}, "::1", 200),
        ("", None, {}, "::ffff:127.0.0.1", 200),
        ("", None, {}, "10.0.0.1", 403),
        ("", None, {}, "", 403),
        ("", None, {"X-Forwarded-For": "127.0.0.1"}, "127.0.0.1", 403),
        ("DURABLE_METRICS_ALLOWED", [], {}, "127.0.0.1", 403),
        ("DURABLE_METRICS_ALLOWED", ["10.0.0.0/8"], {}, "10.0.0.1", 200),
        ("DURABLE_METRICS_TOKEN", "x", {"Authorization": "Bearer x"}, "9.9.9.9", 200),
        ("DURABLE_METRICS_TOKEN", "x", {"Authorization": "Bearer y"}, "9.9.9.9", 403),
        ("DURABLE_METRICS_TOKEN", "x", {"Authorization": "Bearer y"}, "127.0.0.1", 403),
        ("", None, {"Authorization": "Bearer "}, "9.9.9.9", 403),
    ],
)
def test_who_may_read(request, name, value, headers, address, status) -> None:
    rf, settings = request.getfixturevalue("rf"), request.getfixturevalue("settings")
    if name:
        setattr(settings, name, value)
    response = metrics_page(rf.get("/metrics", headers=headers, REMOTE_ADDR=address))
    assert response.status_code == status
    if status == 200:
        assert response["Content-Type"].startswith("text/plain")


def test_the_project_has_the_page(transactional_db, client) -> None:
    assert b"durable_tasks" in client.get("/metrics").content


def test_only_reading_is_allowed(rf) -> None:
    assert metrics_page(rf.post("/metrics")).status_code == 405


def test_programs_and_their_statements_are_counted(transactional_db) -> None:
    before = samples()
    get_store().run(PromiseCreate("t", NEVER, tags={"resonate:target": "poll://any@g"}))
    after = samples()
    programs, statements = (
        ("durable_commit_wait_seconds_count", ()),
        ("durable_statements_total", ()),
    )
    assert after[programs] == before[programs] + 1
    assert after[statements] > before[statements]
