"""The envelope and everything that is refused before a request is looked at (protocol.md 1)."""

import asyncio
from typing import Any

import pytest
from django.http import HttpRequest, UnreadablePostError
from msgspec import json

from durable import conf
from durable.gateway.asgi import Gateway, mount_gateway
from durable.protocol.envelope import KINDS, VERSION
from durable.store.database import DatabaseStore
from tests.gateway.clients import (
    HOST,
    AsgiClient,
    Client,
    MakeClient,
    check,
    open_access,
    scope_of,
)

pytestmark = pytest.mark.once

HEAD = {"corrId": "c-1", "version": VERSION}
NOT_FOUND = b'{"error":"Not found"}'
GONE = b'{"error":"This endpoint is no longer supported. Please update to the latest SDK."}'


@pytest.fixture
def client(way_in: str, make_client: MakeClient) -> Client:
    return make_client(way_in)


def envelope(**changes: Any) -> bytes:
    """A right request with changes; None leaves a field out."""
    whole = {"kind": "promise.get", "head": HEAD, "data": {"id": "a"}} | changes
    return json.encode({key: value for key, value in whole.items() if value is not None})


@pytest.mark.parametrize(
    ("body", "kind", "corr_id", "text"),
    [
        (b"", "unknown", "0", "Invalid request envelope: Input data was truncated"),
        (b"nonsense", "unknown", "0", None),
        (b"null", "unknown", "0", "Invalid request envelope: Expected `object`, got `null`"),
        (b"[]", "unknown", "0", "Invalid request envelope: Expected `object`, got `array`"),
        (b"\xff\xfe", "unknown", "0", None),
        (b'{"kind":"\xff"}', "unknown", "0", None),
        (b'{"kind":"\\ud800"}', "unknown", "0", None),
        (b"[" * 100_000, "unknown", "0", None),
        (b'{"a":' * 50_000, "unknown", "0", None),
        (envelope(kind=None), "unknown", "c-1", None),
        (envelope(kind=""), "unknown", "c-1", "Invalid request envelope: `kind` must not be empty"),
        (envelope(kind=7), "unknown", "c-1", None),
        (envelope(head=None), "promise.get", "0", None),
        (envelope(head=[]), "promise.get", "0", None),
        (envelope(head={"version": VERSION}), "promise.get", "0", None),
        (envelope(head={"corrId": 7, "version": VERSION}), "promise.get", "0", None),
        (envelope(head={"corrId": "x"}), "promise.get", "x", None),
        (envelope(head={"corrId": "x", "version": 1}), "promise.get", "x", None),
        (envelope(head={"corrId": "", "version": 1}), "promise.get", "", None),
        (envelope(data=None), "promise.get", "c-1", None),
        (
            envelope(data=[]),
            "promise.get",
            "c-1",
            "Invalid request envelope: Expected `object` - at `$.data`",
        ),
        (envelope(data="text"), "promise.get", "c-1", None),
        (
            envelope(head={"corrId": "x", "version": "2025-01-01"}),
            "promise.get",
            "x",
            f"Unsupported version: 2025-01-01. Supported: {VERSION}",
        ),
        (
            envelope(kind="debug.reset", head={"corrId": "x", "version": "2025-01-01"}),
            "debug.reset",
            "x",
            f"Unsupported version: 2025-01-01. Supported: {VERSION}",
        ),
    ],
)
def test_what_is_no_envelope(
    client: Client, body: bytes, kind: str, corr_id: str, text: str | None
) -> None:
    status, said = check(client.post(body), kind=kind, corr_id=corr_id)
    assert status == 400
    assert said.startswith(("Invalid request envelope: ", "Unsupported version: "))
    if text is not None:
        assert said == text


@pytest.mark.parametrize(
    ("kind", "status", "text"),
    [
        ("promise.remove", 400, "Unknown operation: promise.remove"),
        ("PROMISE.GET", 400, "Unknown operation: PROMISE.GET"),
        ("debug.messages", 400, "Unknown operation: debug.messages"),
        ("x" * 5000, 400, "Unknown operation: " + "x" * 100),
        ("ключ", 400, "Unknown operation: ключ"),
    ],
)
def test_unknown_kinds(client: Client, kind: str, status: int, text: str) -> None:
    assert client.call(kind, {}) == (status, text)


def test_head_fields_that_mean_nothing_are_ignored(client: Client) -> None:
    head = HEAD | {"resonate:origin": "a", "auth": {"not": "a text"}, "x": [None]}
    body = envelope(head=head, data={"id": "a", "unknown": [1, {"b": None}]}, extra=1)
    answer = check(client.post(body), kind="promise.get", corr_id="c-1")
    assert answer == (404, "Promise not found")


def test_the_odd_header_of_the_python_sdk_is_harmless(client: Client) -> None:
    response = client.post(envelope(), resonate="origin: root", content_type="text/plain")
    assert response.status == 404


@pytest.mark.parametrize("corr_id", ["", "sr-1", "ü\U0001f600", 'quo"te\\', "x" * 10_000, "\n"])
def test_corr_ids_come_back_as_they_are(client: Client, corr_id: str) -> None:
    assert client.call("promise.get", {"id": "a"}, corr_id=corr_id).status == 404


MALFORMED: dict[str, Any] = {
    "promise.get": {"id": 7},
    "promise.create": {"id": "a"},
    "promise.settle": {"id": "a", "state": "done"},
    "promise.register_callback": {"awaited": "a"},
    "promise.register_listener": {"awaited": "a", "address": None},
    "promise.search": {"state": "open"},
    "task.get": {},
    "task.create": {"pid": "p", "ttl": 1, "action": {"kind": "promise.settle", "data": {}}},
    "task.acquire": {"id": "a", "version": "0", "pid": "p", "ttl": 1},
    "task.fence": {"id": "a", "version": 1, "action": {"kind": "promise.get", "data": {}}},
    "task.heartbeat": {"pid": "p", "tasks": ["a"]},
    "task.suspend": {"id": "a", "version": 1, "actions": [{"kind": "promise.get", "data": {}}]},
    "task.fulfill": {"id": "a", "version": 1, "action": {"kind": "promise.create", "data": {}}},
    "task.release": {"id": "a", "version": 1.0},
    "task.halt": {"id": ["a"]},
    "task.continue": {"id": True},
    "task.search": {"state": 1},
    "schedule.get": {"id": {}},
    "schedule.create": {"id": "s", "cron": "* * * * *", "promiseId": "p"},
    "schedule.delete": {"id": ""},
    "schedule.search": {"tags": {"a": 1}},
}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_s25_malformed_data_of_every_kind_is_a_400_with_a_text(client: Client, kind: str) -> None:
    assert client.call(kind, MALFORMED[kind]).status == 400
    field = b"limit" if kind.endswith("search") else b"id"
    deep = b'{"' + field + b'":' + b"[" * 5000 + b"]" * 5000 + b"}"
    head = json.encode(HEAD)
    body = b'{"kind":"' + kind.encode() + b'","head":' + head + b',"data":' + deep + b"}"
    assert check(client.post(body), kind=kind, corr_id="c-1").status == 400


@pytest.mark.parametrize(
    ("kind", "data", "text"),
    [
        (
            "task.fence",
            {"id": "a", "version": 1, "action": {"kind": "promise.remove", "data": {}}},
            "Invalid fence action kind",
        ),
        (
            "task.fence",
            {"id": "a", "version": 1, "action": {"kind": "promise.create", "data": {"id": "b"}}},
            "Invalid action data: Object missing required field `timeoutAt`",
        ),
        (
            "task.fulfill",
            {"id": "a", "version": 1, "action": {"kind": "promise.create", "data": {}}},
            "Action kind must be promise.settle",
        ),
        (
            "task.suspend",
            {
                "id": "a",
                "version": 1,
                "actions": [
                    {
                        "kind": "promise.register_callback",
                        "data": {"awaited": str(n), "awaiter": "a"},
                    }
                    for n in range(2000)
                ],
            },
            "Actions must not be more than 1999",
        ),
    ],
)
def test_texts_of_nested_requests(client: Client, kind: str, data: Any, text: str) -> None:
    assert client.call(kind, data) == (400, text)


@pytest.mark.parametrize("escape", ["\\u0000", "\\ud800", "\\udc00x"])
@pytest.mark.parametrize(
    "data",
    [
        '{"id":"%s","timeoutAt":1}',
        '{"id":"a","timeoutAt":1,"tags":{"%s":"x"}}',
        '{"id":"a","timeoutAt":1,"tags":{"x":"%s"}}',
        '{"id":"a","timeoutAt":1,"param":{"data":"%s"}}',
        '{"id":"a","timeoutAt":1,"param":{"headers":{"x":"%s"}}}',
    ],
)
def test_what_no_database_can_hold_is_refused(client: Client, data: str, escape: str) -> None:
    head = json.encode(HEAD).decode()
    body = f'{{"kind":"promise.create","head":{head},"data":{data % escape}}}'
    assert check(client.post(body.encode()), kind="promise.create", corr_id="c-1").status == 400


def test_a_heartbeat_for_very_many_tasks(client: Client) -> None:
    tasks = [{"id": f"t{n}", "version": 1} for n in range(2500)]
    assert client.call("task.heartbeat", {"pid": "p", "tasks": tasks}) == (200, {})


def test_integers_beyond_any_column(client: Client) -> None:
    assert client.call("task.halt", {"id": "a"}).status == 404
    client.call(
        "promise.create", {"id": "a", "timeoutAt": 2**53 - 1, "tags": {"resonate:target": "g"}}
    )
    for version in (2**31, 2**63, 10**300):
        data = {"id": "a", "version": version, "pid": "p", "ttl": 1}
        assert client.call("task.acquire", data).status == 409
        beat = {"pid": "p", "tasks": [{"id": "a", "version": version}]}
        assert client.call("task.heartbeat", beat) == (200, {})
    for late in (2**53, 2**64, 10**300):
        assert client.call("promise.create", {"id": "b", "timeoutAt": late}).status == 400


# Transport


def test_bodies_have_a_limit(client: Client, settings: Any) -> None:
    settings.DURABLE_MAX_BODY_BYTES = 200
    whole = envelope(data={"id": "a", "pad": ""})
    fits = envelope(data={"id": "a", "pad": "x" * (200 - len(whole))})
    assert len(fits) == 200
    assert client.post(fits).status == 404
    status, text = check(client.post(fits + b" "), kind="unknown", corr_id="0")
    assert (status, text) == (413, "Request body is longer than 200 bytes")


def test_requests_are_posted_with_and_without_slashes(client: Client) -> None:
    assert client.send("POST", "//", envelope()).status == 404
    assert client.send("POST", "/", envelope()).status == 404


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "path", ["/promises", "/promises/", "/promises/a/complete", "/tasks/claim", "/schedules/s"]
)
def test_the_retired_api_is_gone(client: Client, method: str, path: str) -> None:
    response = client.send(method, path)
    assert (response.status, response.body) == (410, GONE)
    assert response.headers["content-type"] == "application/json"


def test_health_and_readiness_ask_for_no_token(way_in: str, make_client: MakeClient) -> None:
    client = make_client(way_in, access=open_access(is_required=True))
    for path in ("/health", "/ready"):
        response = client.send("GET", path)
        assert (response.status, response.body) == (200, b"")


def test_not_ready_without_the_database(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(conf, "database_alias", lambda: "nowhere")
    assert client.send("GET", "/ready").status == 503
    assert client.send("GET", "/health").status == 200


def test_a_crash_is_a_500_that_echoes(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def crash(*_args: Any, **_options: Any) -> None:
        message = "secret payload"
        raise RuntimeError(message)

    monkeypatch.setattr(DatabaseStore, "ask", crash)
    assert client.call("promise.get", {"id": "a"}, corr_id="x") == (500, "Internal error")
    [record] = [one for one in caplog.records if one.name == "durable.gateway.service"]
    assert record.action == "handle"


def test_answers_are_not_cached(client: Client) -> None:
    response = client.post(envelope())
    assert response.headers["cache-control"] == "no-store"
    assert int(response.headers.get("content-length", len(response.body))) == len(response.body)


# What is in front of Django


@pytest.fixture
def asgi(make_client: MakeClient) -> AsgiClient:
    client = make_client("asgi")
    assert isinstance(client, AsgiClient)
    return client


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/"), ("HEAD", "/"), ("GET", "/inbox/"), ("POST", "/accounts/login/"), ("GET", "/x")],
)
def test_pages_stay_the_projects(asgi: AsgiClient, method: str, path: str) -> None:
    assert asgi.send(method, path).status == 299


def test_a_post_to_nowhere_is_a_json_404(asgi: AsgiClient) -> None:
    for path in ("/api", "/health/x", "/v1/promise"):
        response = asgi.send("POST", path, envelope())
        assert (response.status, response.body) == (404, NOT_FOUND)
        assert response.headers["content-type"] == "application/json"


def test_a_page_of_the_project_comes_before_the_retired_api(
    asgi: AsgiClient, settings: Any
) -> None:
    settings.ROOT_URLCONF = "tests.gateway.pages"
    assert asgi.send("GET", "/schedules/").status == 299
    assert asgi.send("GET", "/schedules").status == 299, "Django adds the slash"
    assert asgi.send("POST", "/schedules").status == 410
    assert asgi.send("GET", "/schedules/x").status == 410


def test_the_gateway_can_be_switched_off(make_client: MakeClient, settings: Any) -> None:
    settings.DURABLE_GATEWAY = "off"

    async def inner(_scope: Any, _receive: Any, _send: Any) -> None: ...

    assert mount_gateway(inner) is inner
    for path in ("/", "/health", "/promises"):
        response = make_client("view").send("POST", path, envelope())
        assert (response.status, response.body) == (404, NOT_FOUND)


def test_the_view_answers_below_a_prefix(make_client: MakeClient) -> None:
    client = make_client("view")
    for path in ("/resonate", "/resonate/"):
        assert client.send("POST", path, envelope()).status == 404
        assert client.send("POST", path, envelope()).envelope["data"] == "Promise not found"
    assert client.send("GET", "/resonate/health").status == 200
    assert client.send("GET", "/resonate").body == NOT_FOUND


def exchange(client: AsgiClient, scope: Any, *messages: Any) -> list[Any]:
    """Send messages to the application one by one; return all that it sent."""
    sent: list[Any] = []
    left = list(messages)

    async def receive() -> Any:
        if not left:
            await asyncio.sleep(60)
        return left.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    client._runner.run(client.application(scope, receive, send))
    return sent


PARTS = [
    {"type": "http.request", "body": envelope()[:10], "more_body": True},
    {"type": "http.request", "body": envelope()[10:]},
]


def test_a_body_may_come_in_parts(asgi: AsgiClient) -> None:
    start, body = exchange(asgi, scope_of("POST", "/", {"host": HOST}), *PARTS)
    assert start["status"] == 404
    assert json.decode(body["body"])["data"] == "Promise not found"


def test_a_body_that_says_it_is_too_long_is_not_read(asgi: AsgiClient, settings: Any) -> None:
    settings.DURABLE_MAX_BODY_BYTES = 200
    for length in ("201", "9" * 5000):
        scope = scope_of("POST", "/", {"host": HOST, "content-length": length})
        start, _ = exchange(asgi, scope)
        assert start["status"] == 413
        assert (b"connection", b"close") in start["headers"]


def test_a_body_that_grows_too_long_is_cut_off(asgi: AsgiClient, settings: Any) -> None:
    settings.DURABLE_MAX_BODY_BYTES = 200
    part = {"type": "http.request", "body": b" " * 150, "more_body": True}
    start, _ = exchange(asgi, scope_of("POST", "/", {"host": HOST}), part, part)
    assert start["status"] == 413


def test_a_body_that_does_not_come_is_not_waited_for(
    asgi: AsgiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("durable.gateway.asgi._BODY_SECONDS", 0.05)
    start, body = exchange(asgi, scope_of("POST", "/", {"host": HOST}), PARTS[0])
    assert start["status"] == 408
    assert json.decode(body["body"])["data"] == (
        "Invalid request envelope: the body did not come in time"
    )


def test_a_client_that_leaves_gets_no_answer(asgi: AsgiClient) -> None:
    scope = scope_of("POST", "/", {"host": HOST})
    assert exchange(asgi, scope, PARTS[0], {"type": "http.disconnect"}) == []


def test_a_body_that_breaks_off_in_the_view(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(_self: Any, *_args: Any) -> bytes:
        raise UnreadablePostError

    monkeypatch.setattr(HttpRequest, "read", read)
    answer = make_client("view").post(envelope())
    assert check(answer, kind="unknown", corr_id="0") == (
        400,
        "Invalid request envelope: the body did not come",
    )


def test_other_protocols_are_the_projects(asgi: AsgiClient) -> None:
    seen: list[str] = []

    async def inner(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(scope["type"])

    asgi.application = Gateway(inner)
    exchange(asgi, {"type": "websocket", "path": "/"})
    assert seen == ["websocket"]


def test_below_a_root_path(asgi: AsgiClient) -> None:
    scope = scope_of("POST", "/site/", {"host": HOST}) | {"root_path": "/site"}
    start, _ = exchange(asgi, scope, {"type": "http.request", "body": envelope()})
    assert start["status"] == 404


def test_a_store_that_does_not_answer_is_not_waited_for(
    way_in: str, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client(way_in, has_debug_surface=False)
    monkeypatch.setattr("durable.gateway.service._TIMEOUT_SECONDS", 0.05)

    def wait_for_ever(*_args: Any, **_options: Any) -> asyncio.Future[Any]:
        return asyncio.get_running_loop().create_future()

    monkeypatch.setattr(DatabaseStore, "ask", wait_for_ever)
    assert client.call("promise.get", {"id": "a"}) == (
        503,
        "Timed out: read before trying again",
    )


def test_searches_without_the_debug_surface(way_in: str, make_client: MakeClient) -> None:
    client = make_client(way_in, has_debug_surface=False)
    client.call("promise.create", {"id": "a", "timeoutAt": 2**53 - 1})
    client.call("promise.create", {"id": "b", "timeoutAt": 1})
    [alive] = client.call("promise.search", {"state": "pending"}).data["promises"]
    assert alive["id"] == "a"
    assert client.call("task.search") == (200, {"tasks": []})
    assert client.call("schedule.search") == (200, {"schedules": []})
