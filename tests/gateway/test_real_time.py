"""Deadlines, leases and delays by the real clock, with the background loop of a process."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from durable.background.runner import BackgroundRunner
from tests.gateway.clients import Client, MakeClient
from tests.store.support import column
from tests.store.threads import eventually

TARGET = {"resonate:target": "http://127.0.0.1:1/worker"}
LATE = 2**53 - 1


@pytest.fixture
def client(make_client: MakeClient, settings: Any) -> Iterator[Client]:
    settings.DURABLE_HEARTBEAT_MS = 200  # a sweep that had to wait lets leases rest for two of them
    client = make_client("asgi", has_debug_surface=False)
    runner = BackgroundRunner(client.store)
    runner.start()
    yield client
    runner.stop()


def now() -> int:
    return time.time_ns() // 1_000_000


def begin(client: Client, ttl: int, timeout_at: int = LATE) -> None:
    action = {"id": "a", "timeoutAt": timeout_at, "tags": TARGET}
    data = {"pid": "p", "ttl": ttl, "action": {"kind": "promise.create", "data": action}}
    assert client.call("task.create", data).data["task"]["version"] == 1


def task(client: Client) -> dict[str, Any]:
    found: dict[str, Any] = client.call("task.get", {"id": "a"}).data["task"]
    return found


@pytest.mark.parametrize(
    ("tags", "state"),
    [
        ({"resonate:external": "true"}, "rejected_timedout"),
        ({"resonate:timer": "true"}, "resolved"),
        (TARGET, "rejected_timedout"),
    ],
)
def test_deadlines_fire_by_themselves(client: Client, tags: dict[str, str], state: str) -> None:
    deadline = now() + 200
    client.call("promise.create", {"id": "a", "timeoutAt": deadline, "tags": tags})
    assert column("promise", "state", "a") == "pending"
    eventually(lambda: column("promise", "state", "a") == state, "the deadline")
    promise = client.call("promise.get", {"id": "a"}).data["promise"]
    assert (promise["state"], promise["settledAt"]) == (state, deadline)


def test_a_lease_runs_out_and_the_version_stays(client: Client) -> None:
    begin(client, ttl=200)
    eventually(lambda: task(client)["state"] == "pending", "the end of the lease")
    assert task(client)["version"] == 1
    fulfil = {"kind": "promise.settle", "data": {"id": "a", "state": "resolved"}}
    data = {"id": "a", "version": 1, "action": fulfil}
    assert client.call("task.fulfill", data).status == 409
    acquisition = {"id": "a", "version": 1, "pid": "q", "ttl": 60_000}
    assert client.call("task.acquire", acquisition).data["task"]["version"] == 2
    assert client.call("task.fulfill", data | {"version": 2}).status == 200


def test_heartbeats_keep_a_lease(client: Client) -> None:
    begin(client, ttl=400)
    end = now() + 1200
    while now() < end:
        assert client.call("task.heartbeat", {"pid": "p", "tasks": [{"id": "a", "version": 1}]})
        assert task(client)["state"] == "acquired"
        time.sleep(0.05)
    eventually(lambda: task(client)["state"] == "pending", "the end of the lease")


def test_a_dead_task_is_not_offered(client: Client) -> None:
    begin(client, ttl=300, timeout_at=now() + 100)
    eventually(lambda: column("task", "state", "a") == "fulfilled", "the deadline")
    assert task(client)["state"] == "fulfilled"
    acquisition = {"id": "a", "version": 1, "pid": "q", "ttl": 60_000}
    assert client.call("task.acquire", acquisition).status == 409


def test_a_suspended_task_wakes_at_a_deadline(client: Client) -> None:
    begin(client, ttl=60_000)
    tags = {"resonate:timer": "true"}
    client.call("promise.create", {"id": "t", "timeoutAt": now() + 200, "tags": tags})
    action = {"kind": "promise.register_callback", "data": {"awaited": "t", "awaiter": "a"}}
    suspension = {"id": "a", "version": 1, "actions": [action]}
    assert client.call("task.suspend", suspension).status == 200
    eventually(lambda: task(client)["state"] == "pending", "the timer")
    assert task(client)["resumes"] == 1


def test_a_schedule_fires(client: Client) -> None:
    data = {
        "id": "s",
        "cron": "* * * * * *",
        "promiseId": "{{.id}}-{{.timestamp}}",
        "promiseTimeout": 60_000,
    }
    created = client.call("schedule.create", data).data["schedule"]

    def has_fired() -> bool:
        found = client.call("schedule.get", {"id": "s"}).data["schedule"]
        return bool(found["nextRunAt"] > created["nextRunAt"])

    eventually(has_fired, "the schedule")
    fired = client.call("promise.get", {"id": f"s-{created['nextRunAt']}"}).data["promise"]
    assert fired["createdAt"] == created["nextRunAt"]
    assert fired["tags"]["resonate:schedule"] == "s"
    assert client.call("schedule.delete", {"id": "s"}).status == 200
