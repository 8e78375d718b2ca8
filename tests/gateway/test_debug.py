"""The debug surface (protocol.md 1.6)."""

from typing import Any

import pytest

from durable import pausing
from durable.background.runner import BackgroundRunner
from durable.machine.state import Config
from durable.protocol.profiles import STRICT
from tests.gateway.clients import Client, MakeClient, open_access
from tests.store.threads import eventually

TARGET = {"resonate:target": "poll://any@g"}
EXTERNAL = {"resonate:external": "true"}
MINUTE = 60_000


@pytest.fixture
def client(way_in: str, make_client: MakeClient) -> Client:
    return make_client(way_in)


def create(client: Client, promise_id: str, timeout_at: int, at: int = 0, **tags: str) -> None:
    data = {"id": promise_id, "timeoutAt": timeout_at, "tags": tags}
    assert client.call("promise.create", data, at=at).status == 200


def begin(client: Client, task_id: str, timeout_at: int, ttl: int = 60_000, at: int = 0) -> None:
    action = {"id": task_id, "timeoutAt": timeout_at, "tags": TARGET}
    data = {"pid": "p", "ttl": ttl, "action": {"kind": "promise.create", "data": action}}
    assert client.call("task.create", data, at=at).status == 200


@pytest.mark.parametrize("kind", ["start", "stop", "reset", "tick", "snap", "messages", ""])
def test_c12_without_the_option_all_is_forbidden(
    way_in: str, make_client: MakeClient, kind: str
) -> None:
    client = make_client(way_in, has_debug_surface=False)
    answer = client.call(f"debug.{kind}", {"time": 1})
    assert answer == (403, "Debug operations are disabled")


@pytest.mark.parametrize("time", [5, "soon", None, {"a": []}, 10**300])
def test_without_the_option_times_are_ignored(make_client: MakeClient, time: Any) -> None:
    client = make_client(has_debug_surface=False)
    create(client, "a", 2**53 - 1, at=time)
    created_at = client.call("promise.get", {"id": "a"}).data["promise"]["createdAt"]
    assert created_at > 1_600_000_000_000


@pytest.mark.parametrize("time", [-1, 2**53, 1.5, "5", True, [], 10**300])
def test_with_the_option_a_time_is_a_time(client: Client, time: Any) -> None:
    status, text = client.call("promise.get", {"id": "a"}, at=time)
    assert status == 400
    assert text == f"resonate:debug_time must be an integer between 0 and {2**53 - 1}"


def test_requests_happen_exactly_at_their_times(client: Client) -> None:
    for n, at in enumerate((0, 7, 7, 1_700_000_000_000, 3)):
        create(client, f"p{n}", at + 5, at=at)
        promise = client.call("promise.get", {"id": f"p{n}"}, at=at).data["promise"]
        assert promise["createdAt"] == at


@pytest.mark.parametrize("data", [{}, {"time": "1"}, {"time": 1.0}, {"time": -1}, {"time": True}])
def test_a_tick_needs_a_time(client: Client, data: Any) -> None:
    assert client.call("debug.tick", data) == (400, "Missing or invalid 'time' field")


def test_a_tick_has_one_time(client: Client) -> None:
    assert client.call("debug.tick", {"time": 5}, at=5) == (200, [])
    assert client.call("debug.tick", {"time": 5}, at=6) == (
        400,
        "resonate:debug_time must equal data.time",
    )


def test_a_tick_tells_what_it_did(client: Client) -> None:
    create(client, "b", 1000, **EXTERNAL)
    create(client, "t", 1000, **{"resonate:timer": "true"})
    begin(client, "a", 50_000, ttl=500)
    create(client, "i", 1000)
    assert client.call("debug.tick", {"time": 999}).data == [
        {"kind": "task.release", "data": {"id": "a", "version": 1}},
        {"kind": "task.retry", "data": {"id": "a", "version": 1}},
    ]
    told = client.call("debug.tick", {"time": 1000}).data
    assert sorted(told, key=lambda one: one["data"]["id"]) == [
        {"kind": "promise.settle", "data": {"id": "b", "state": "rejected_timedout"}},
        {"kind": "promise.settle", "data": {"id": "t", "state": "resolved"}},
    ]
    assert client.call("debug.tick", {"time": 1000}).data == []


def test_a_tick_tells_of_a_dead_awaiter(client: Client) -> None:
    begin(client, "a", 1000)
    create(client, "b", 1000, **EXTERNAL)
    action = {"kind": "promise.register_callback", "data": {"awaited": "b", "awaiter": "a"}}
    suspension = {"id": "a", "version": 1, "actions": [action]}
    assert client.call("task.suspend", suspension, at=1).status == 200
    told = client.call("debug.tick", {"time": 1000}).data
    assert {one["data"]["id"] for one in told} == {"a", "b"}
    assert {one["kind"] for one in told} == {"promise.settle"}


def test_a_tick_knows_no_back_off(client: Client) -> None:
    create(client, "a", 50_000, **TARGET)
    for version in range(5):
        acquisition = {"id": "a", "version": version, "pid": "p", "ttl": 1000}
        assert client.call("task.acquire", acquisition, at=10).status == 200
        lease = {"id": "a", "version": version + 1}
        assert client.call("task.release", lease, at=10).status == 200
        told = client.call("debug.tick", {"time": 10}).data
        assert told == [{"kind": "task.retry", "data": {"id": "a", "version": version + 1}}]


def test_a_schedule_that_missed_too_much_is_refused(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    from durable.gateway import debug
    from durable.machine import internal

    monkeypatch.setattr(debug, "_PATIENCE", 2)
    monkeypatch.setattr(internal, "MAX_OCCURRENCES", 5)
    template = {"id": "s", "cron": "* * * * * *", "promiseId": "{{.id}}", "promiseTimeout": 0}
    assert client.call("schedule.create", template, at=0).status == 200
    assert client.call("debug.tick", {"time": MINUTE}) == (
        500,
        "The store is busy: not everything that is due could be done",
    )


def test_a_snapshot_shows_what_is_stored(client: Client) -> None:
    assert client.call("debug.reset") == (200, {})
    begin(client, "a", 50_000)
    for name in ("d", "b"):
        create(client, name, 1000, **EXTERNAL)
        listener = {"awaited": name, "address": "poll://uni@g/q"}
        assert client.call("promise.register_listener", listener, at=1).status == 200
    actions = [
        {"kind": "promise.register_callback", "data": {"awaited": name, "awaiter": "a"}}
        for name in ("d", "b")
    ]
    suspension = {"id": "a", "version": 1, "actions": actions}
    assert client.call("task.suspend", suspension, at=2).status == 200
    create(client, "c", 70_000, **TARGET)
    create(client, "i", 1000)
    begin(client, "e", 80_000, ttl=3000)
    assert client.call("promise.settle", {"id": "d", "state": "resolved"}, at=3).status == 200

    snap = client.call("debug.snap").data
    assert [one["id"] for one in snap["promises"]] == ["a", "b", "c", "d", "e", "i"]
    assert snap["promises"][1] == {
        "id": "b", "state": "pending", "param": {}, "value": {}, "tags": EXTERNAL,
        "timeoutAt": 1000, "createdAt": 0,
    }  # fmt: skip
    assert snap["promiseTimeouts"] == [
        {"id": "a", "timeout": 50_000},
        {"id": "b", "timeout": 1000},
        {"id": "c", "timeout": 70_000},
        {"id": "e", "timeout": 80_000},
    ]
    assert snap["callbacks"] == [{"awaiter": "a", "awaited": "b"}]
    assert snap["listeners"] == [{"id": "b", "address": "poll://uni@g/q"}]
    assert snap["tasks"] == [
        {"id": "a", "state": "pending", "version": 1, "resumes": 1},
        {"id": "c", "state": "pending", "version": 0, "resumes": 0},
        {"id": "e", "state": "acquired", "version": 1, "resumes": 0, "ttl": 3000, "pid": "p"},
    ]
    assert snap["taskTimeouts"] == [
        {"id": "a", "type": 0, "timeout": 3},
        {"id": "c", "type": 0, "timeout": 0},
        {"id": "e", "type": 1, "timeout": 3000},
    ]
    [unblock] = snap["messages"]
    assert unblock["address"] == "poll://uni@g/q"
    assert unblock["message"]["kind"] == "unblock"
    assert unblock["message"]["head"] == {}
    assert unblock["message"]["data"]["promise"] == snap["promises"][3]

    client.call("debug.tick", {"time": 10})
    messages = client.call("debug.snap").data["messages"]
    assert messages[0] == {
        "address": "poll://any@g",
        "message": {"kind": "execute", "head": {}, "data": {"task": {"id": "a", "version": 1}}},
    }
    assert [one["message"]["kind"] for one in messages] == ["execute", "execute", "unblock"]


def test_a_reset_leaves_nothing(client: Client) -> None:
    begin(client, "a", 50_000)
    create(client, "b", 1000, **EXTERNAL)
    assert client.call("debug.reset") == (200, {})
    snap = client.call("debug.snap").data
    assert all(rows == [] for rows in snap.values())
    begin(client, "a", 50_000)


def test_after_a_start_time_stands_still(client: Client) -> None:
    assert client.call("debug.start") == (200, {})
    create(client, "a", 2**53 - 1, at=None)
    assert client.call("promise.get", {"id": "a"}).data["promise"]["createdAt"] == 0
    client.call("debug.tick", {"time": 77})
    create(client, "b", 2**53 - 1, at=None)
    assert client.call("promise.get", {"id": "b"}).data["promise"]["createdAt"] == 77
    assert client.call("promise.search", {"state": "pending"}).status == 200
    assert client.call("debug.stop") == (200, {})
    create(client, "c", 2**53 - 1, at=None)
    assert client.call("promise.get", {"id": "c"}).data["promise"]["createdAt"] > 77


def test_the_loops_of_the_process_stop_and_go_on(client: Client) -> None:
    runner = BackgroundRunner(client.store)
    runner.start()
    try:
        assert client.call("debug.start").status == 200
        assert pausing.is_paused()
        create(client, "a", 1, at=0, **EXTERNAL)

        def state() -> str:
            [promise] = client.call("debug.snap").data["promises"]
            return str(promise["state"])

        assert state() == "pending"
        assert client.call("debug.stop").status == 200
        eventually(lambda: state() == "rejected_timedout", "the deadline's sweep")
    finally:
        runner.stop()
        pausing.resume()


def test_the_strict_profile_has_no_searches(way_in: str, make_client: MakeClient) -> None:
    client = make_client(way_in, config=Config(profile=STRICT))
    for kind in ("promise.search", "task.search", "schedule.search"):
        assert client.call(kind) == (501, "Not implemented")


def test_c12_debug_needs_a_token(way_in: str, make_client: MakeClient) -> None:
    client = make_client(way_in, access=open_access(is_required=True))
    for kind in ("start", "stop", "reset", "tick", "snap"):
        assert client.call(f"debug.{kind}", {"time": 1}) == (401, "Unauthorized")
