"""Nobody but a worker puts a pickle where Python workers of the SDK would load it."""

import base64
from typing import Any

import pytest
from msgspec import json

from durable.gateway.pickles import TooDeepError, clean
from durable.protocol.records import EMPTY, Value
from tests.gateway.clients import Client, MakeClient, open_access
from tests.gateway.keys import signed
from tests.gateway.test_auth import access

ERROR = {"__type": "error", "message": "why"}
PICKLE = {"__py_pickle": "gASVKAAAAAAAAACMCGJ1aWx0aW5z"}
LATE = 2**53 - 1


def encoded(payload: Any) -> str:
    return base64.b64encode(json.encode(payload)).decode()


def text(raw: str) -> Value:
    return Value(data=base64.b64encode(raw.encode()).decode())


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (ERROR | PICKLE, ERROR),
        (PICKLE, {}),
        ({"errors": [ERROR | PICKLE, 1]}, {"errors": [ERROR, 1]}),
        ([{"a": {"b": PICKLE}}], [{"a": {"b": {}}}]),
        ({"__py_pickle": None, "n": 2**60, "x": 1.5}, {"n": 2**60, "x": 1.5}),
    ],
)
def test_pickles_are_taken_out_wherever_they_are(payload: Any, expected: Any) -> None:
    assert clean(Value(headers={"a": "b"}, data=encoded(payload))) == Value(
        headers={"a": "b"}, data=encoded(expected)
    )


def test_no_spelling_hides_the_key() -> None:
    for raw in (
        r'{"\u005f_py_pickle":"x","a":1}',
        r'{"__py_pickl\u0065":"x","a":1}',
        '{"a":1,"__py_pickle":"x","__py_pickle":"y"}',
        '{"__py_pickle":"x","a":1}\n',
        '{"a":1,"__py_pickle":"x\t"}',  # no JSON, but some readers take it
        '{"a":1,"__py_pickle":NaN}',
    ):
        assert clean(text(raw)) == Value(data=encoded({"a": 1}))


def test_what_only_some_readers_take_stays_as_odd_as_it_was() -> None:
    odd = text(r'{"__py_pickle":"x","a":"\ud800","b":1e999}')
    assert clean(odd) == text(r'{"a":"\ud800","b":Infinity}')
    large = text('{"__py_pickle":"x","a":' + "9" * 400 + "}")
    assert clean(large) == text('{"a":' + "9" * 400 + "}")
    longer = text('{"__py_pickle":"x","a":' + "9" * 5000 + "}")
    assert clean(longer) is longer, "no reader takes it"


@pytest.mark.parametrize(
    "value",
    [
        EMPTY,
        Value(data=""),
        Value(data="not base64: __py_pickle"),
        Value(data="ключ"),
        text("no json: __py_pickle"),
        text('"__py_pickle"'),
        text('{"message":"about __py_pickle"}'),
        text(r'{"a":"\u00fc"}'),
        text('{"a": 1.50}'),
    ],
)
def test_everything_else_stays_as_it_is(value: Value) -> None:
    assert clean(value) is value


def test_what_is_too_deep_to_look_through_is_refused() -> None:
    for depth in (2000, 100_000):
        with pytest.raises(TooDeepError):
            clean(text('{"__py_pickle":"x","a":' + "[" * depth + "]" * depth + "}"))


def settled(client: Client, kind: str, token: str | None) -> Any:
    """Settle a promise with a pickle by a kind of request; return what was stored."""
    call = client.call
    tags = {"resonate:target": "g"}
    action = {"id": "mine/a", "timeoutAt": LATE, "tags": tags}
    start = {"pid": "p", "ttl": 1000, "action": {"kind": "promise.create", "data": action}}
    assert call("task.create", start, auth=token, at=0).status == 200
    create = {"id": "mine/b", "timeoutAt": LATE}
    assert call("promise.create", create, auth=token, at=0).status == 200
    target = "mine/a" if kind == "task.fulfill" else "mine/b"
    value = {"data": encoded(ERROR | PICKLE)}
    settle = {"id": target, "state": "rejected", "value": value}
    data: Any = settle
    if kind != "promise.settle":
        nested = {"kind": "promise.settle", "data": settle}
        data = {"id": "mine/a", "version": 1, "action": nested}
    assert call(kind, data, auth=token, at=0).status == 200
    promise = call("promise.get", {"id": target}, auth=token, at=0).data["promise"]
    return json.decode(base64.b64decode(promise["value"]["data"]))


KINDS = ["promise.settle", "task.fence", "task.fulfill"]


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_token_of_a_worker_carries_pickles(make_client: MakeClient, kind: str) -> None:
    for claims, expected in (
        ({}, ERROR),
        ({"role": "admin"}, ERROR),
        ({"role": "worker"}, ERROR | PICKLE),
        ({"role": "Worker", "prefix": ""}, ERROR | PICKLE),
    ):
        client = make_client(access=access())
        client.call("debug.reset", auth=signed(role="admin"))
        assert settled(client, kind, signed(**claims)) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_without_tokens_only_who_holds_a_lease_carries_them(
    make_client: MakeClient, kind: str
) -> None:
    expected = ERROR if kind == "promise.settle" else ERROR | PICKLE
    assert settled(make_client(access=open_access()), kind, None) == expected


def test_a_hidden_pickle_is_a_400(make_client: MakeClient) -> None:
    client = make_client(access=open_access())
    deep = '{"__py_pickle":"x","a":' + "[" * 3000 + "]" * 3000 + "}"
    value = {"data": base64.b64encode(deep.encode()).decode()}
    settle = {"id": "a", "state": "rejected", "value": value}
    assert client.call("promise.settle", settle) == (400, "Value data is nested too deeply")
