"""Sequences of protocol.md 8.2 that are about the wire: order, preload, concurrency, forms."""

import asyncio
from typing import Any

import pytest
from msgspec import json

from durable.protocol.envelope import KINDS
from durable.protocol.requests import (
    PromiseGet,
    PromiseRegisterCallback,
    Request,
    ScheduleDelete,
    ScheduleGet,
    TaskContinue,
    TaskGet,
    TaskHalt,
)
from tests.gateway.clients import AsgiClient, Client, MakeClient, check, has_no_null
from tests.gateway.wire import encode_data, encode_envelope
from tests.machine.factories import (
    ADDRESS,
    EXTERNAL,
    FAR,
    GROUP,
    TARGETED,
    VALUE,
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


@pytest.fixture
def client(way_in: str, make_client: MakeClient) -> Client:
    return make_client(way_in)


def ask(client: Client, request: Request, at: int = 0) -> tuple[int, Any]:
    return client.call(request.kind, encode_data(request), at=at)


def give(client: Client, *requests: Request, at: int = 0) -> None:
    for request in requests:
        assert ask(client, request, at)[0] == 200, request


def branched(promise_id: str, branch: str, **tags: str) -> Request:
    return create(promise_id, {"resonate:branch": branch} | tags)


def test_s21_settling_twice_tells_everybody_once(client: Client) -> None:
    give(client, create("b", EXTERNAL), start("a"), listen("b", ADDRESS), listen("b", GROUP))
    give(client, listen("b", ADDRESS), suspend("a", "b"), settle("b"), settle("b"))
    snap = client.call("debug.snap").data
    unblocks = [one["address"] for one in snap["messages"] if one["message"]["kind"] == "unblock"]
    assert unblocks == [GROUP, ADDRESS]
    assert snap["callbacks"] == snap["listeners"] == []
    [task] = snap["tasks"]
    assert (task["state"], task["resumes"]) == ("pending", 1)


def test_a_task_is_created_with_all_fields_of_its_records(client: Client) -> None:
    """The example of protocol.md 3.21."""
    request = start("r2", timeout_at=FAR, pid="w1", ttl=60_000)
    assert ask(client, request, at=5) == (
        200,
        {
            "task": {
                "id": "r2",
                "state": "acquired",
                "version": 1,
                "resumes": 0,
                "ttl": 60_000,
                "pid": "w1",
            },
            "promise": {
                "id": "r2",
                "state": "pending",
                "param": {},
                "value": {},
                "tags": TARGETED,
                "timeoutAt": FAR,
                "createdAt": 5,
            },
            "preload": [],
        },
    )


def test_a_fence_answers_with_a_whole_envelope(client: Client) -> None:
    give(client, start("a"))
    status, data = ask(client, fence(create("a:1")))
    assert status == 200
    assert set(data) == {"action", "preload"}
    action = data["action"]
    assert (action["kind"], action["head"]["status"]) == ("promise.create", 200)
    assert action["head"]["version"] == "2026-04-01"
    assert action["data"]["promise"]["id"] == "a:1"


def test_s13_an_error_inside_a_fence_is_a_text_inside_a_200(client: Client) -> None:
    give(client, start("a"))
    status, data = ask(client, fence(settle("missing")))
    assert status == 200
    inner = data["action"]
    assert (inner["head"]["status"], inner["data"]) == (404, "Promise not found")
    assert ask(client, fence(settle("a")))[0] == 400


def test_empty_successes_are_objects(client: Client) -> None:
    give(client, create("b", EXTERNAL), start("a"))
    for request in (
        heartbeat(("a", 1)),
        suspend("a", "b"),
        TaskHalt("a"),
        TaskContinue("a"),
        acquire("a", 1),
        release("a", 2),
        schedule("s"),
    ):
        status, data = ask(client, request)
        assert status == 200
        if request.kind not in {"task.acquire", "schedule.create"}:
            assert data == {}
    assert client.call("schedule.delete", {"id": "s"}) == (200, {})


def test_what_was_never_sent_is_left_out_and_what_was_empty_stays(client: Client) -> None:
    for n, value in enumerate([{}, {"data": ""}, {"headers": {}}, {"headers": {}, "data": ""}]):
        promise_id = f"p{n}"
        data = {"id": promise_id, "timeoutAt": FAR, "param": value}
        assert client.call("promise.create", data, at=0).data["promise"]["param"] == value
        settled = {"id": promise_id, "state": "resolved", "value": value}
        assert client.call("promise.settle", settled, at=1).data["promise"]["value"] == value
    nulls = {"id": "p9", "timeoutAt": FAR, "param": {"headers": None, "data": None}}
    assert client.call("promise.create", nulls, at=0).data["promise"]["param"] == {}
    for nothing in ({"param": None}, {"tags": None}):
        bad = {"id": "p10", "timeoutAt": FAR} | nothing
        assert client.call("promise.create", bad, at=0).status == 400


# Preload


def test_an_acquire_brings_the_local_children(client: Client) -> None:
    give(
        client,
        branched("a", "a", **TARGETED),
        acquire("a", 0),
        fence(branched("a:2", "a")),
        fence(branched("a:1", "a")),
        fence(branched("a:3", "a:3", **TARGETED)),
        fence(settle("a:1", value=VALUE)),
        release("a", 1),
    )
    status, data = ask(client, acquire("a", 1))
    assert status == 200
    assert [one["id"] for one in data["preload"]] == ["a:1", "a:2"]
    assert data["preload"][0]["value"] == {"headers": {"k": "v"}, "data": VALUE.data}


def test_c8_preload_is_projected(client: Client) -> None:
    give(
        client,
        branched("a", "a", **TARGETED),
        create("p", {"resonate:branch": "a"}, timeout_at=500),
    )
    _, data = ask(client, acquire("a", 0), at=600)
    [child] = data["preload"]
    assert (child["id"], child["state"], child["settledAt"]) == ("p", "rejected_timedout", 500)


def test_preload_where_it_belongs_and_nowhere_else(client: Client) -> None:
    tags = TARGETED | {"resonate:branch": "a"}
    assert ask(client, start("a", promise_tags=tags))[1]["preload"] == []
    give(client, create("s", EXTERNAL), settle("s"))
    assert [p["id"] for p in ask(client, fence(branched("a:1", "a")))[1]["preload"]] == ["a:1"]
    status, data = ask(client, suspend("a", "s"))
    assert (status, [p["id"] for p in data["preload"]]) == (300, ["a:1"])
    assert set(data) == {"preload"}
    give(client, fulfill("a"))
    assert ask(client, start("a", promise_tags=tags))[1]["preload"] == [], "only a result"


# Searches as part of C8 and S24


def test_c8_searches_are_projected(client: Client) -> None:
    give(client, create("a", TARGETED, 1000))
    for at in (1000, 2000):
        [promise] = client.call("promise.search", at=at).data["promises"]
        assert (promise["state"], promise["settledAt"]) == ("rejected_timedout", 1000)
        [task] = client.call("task.search", at=at).data["tasks"]
        assert task == {"id": "a", "state": "fulfilled", "version": 0, "resumes": 0}


def test_s24_the_expired_are_not_pending(client: Client) -> None:
    give(client, create("a", EXTERNAL, 1000), create("b", EXTERNAL, 1001))
    found = client.call("promise.search", {"state": "pending"}, at=1000).data
    assert [one["id"] for one in found["promises"]] == ["b"]


# Forms


ANSWERED: list[Request] = [
    create("a", TARGETED),
    start("d"),
    create("b", EXTERNAL, param=VALUE),
    acquire("a", 0),
    fence(create("c", EXTERNAL)),
    heartbeat(("a", 1)),
    suspend("a", "b"),
    listen("b"),
    PromiseGet("b"),
    settle("b", value=VALUE),
    TaskGet("a"),
    acquire("a", 1),
    suspend("a", "b", version=2),
    fulfill("a", 2),
    PromiseRegisterCallback("c", "d"),
    release("d"),
    TaskHalt("d"),
    TaskContinue("d"),
    schedule("s"),
    ScheduleGet("s"),
    ScheduleDelete("s"),
]


def test_s26_no_null_in_any_answer(client: Client) -> None:
    """``Client.call`` checks every answer; here are answers with everything in them."""
    for request in ANSWERED:
        status, data = ask(client, request)
        assert status in {200, 300}, request
        assert has_no_null(data)
    searches = {kind for kind in KINDS if kind.endswith("search")}
    for kind in searches:
        assert client.call(kind, {"limit": 1}, at=0).status == 200
    assert {request.kind for request in ANSWERED} | searches == KINDS


# Concurrency


def test_c10_two_concurrent_acquires(make_client: MakeClient) -> None:
    client = make_client("asgi", has_debug_surface=False)
    assert isinstance(client, AsgiClient)
    deadline = 2**53 - 1

    async def race(task_id: str) -> list[int]:
        bodies = [encode_envelope(acquire(task_id, 0, pid=pid)) for pid in ("x", "y")]
        answers = await asyncio.gather(*(client.exchange("POST", "/", body) for body in bodies))
        return sorted(answer.status for answer in answers)

    for n in range(20):
        client.post(encode_envelope(create(f"a{n}", TARGETED, deadline)))
        assert client._runner.run(race(f"a{n}")) == [200, 409]
        task = client.call("task.get", {"id": f"a{n}"}).data["task"]
        assert task["version"] == 1


def test_a_failing_request_fails_no_neighbour(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests that share a commit: one of them breaks in the database, the others are kept."""
    from durable.store import rows

    client = make_client("asgi", has_debug_surface=False)
    assert isinstance(client, AsgiClient)
    encode = rows.promise_row

    def break_one(promise: Any, *rest: Any) -> Any:
        if promise.id == "p7":
            return ("\0", *encode(promise, *rest)[1:])[:3]
        return encode(promise, *rest)

    monkeypatch.setattr(rows, "promise_row", break_one)

    async def together() -> list[tuple[int, str]]:
        bodies = [encode_envelope(create(f"p{n}", EXTERNAL, 2**53 - 1)) for n in range(20)]
        answers = await asyncio.gather(*(client.exchange("POST", "/", body) for body in bodies))
        return [(answer.status, json.decode(answer.body)["head"]["corrId"]) for answer in answers]

    answers = client._runner.run(together())
    assert [n for n, (status, _) in enumerate(answers) if status != 200] == [7]
    assert answers[7] == (500, "c-1")


def test_answers_keep_their_form_under_any_load(make_client: MakeClient) -> None:
    client = make_client("asgi", has_debug_surface=False)
    assert isinstance(client, AsgiClient)

    async def together() -> None:
        async def one(n: int) -> None:
            request = create(f"q{n}", TARGETED, 2**53 - 1)
            body = encode_envelope(request, corr_id=f"c{n}")
            answer = check(
                await client.exchange("POST", "/", body), kind=request.kind, corr_id=f"c{n}"
            )
            assert answer.data["promise"]["id"] == f"q{n}"

        await asyncio.gather(*map(one, range(200)))

    client._runner.run(together())
