"""Hostile requests: never a 500, always an answer of the right form, nothing broken afterwards."""

import base64
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import json

from durable.machine.properties import check_state
from durable.protocol.envelope import KINDS, VERSION
from durable.testing.strategies import START, Scene, any_request
from tests.gateway.clients import AsgiClient, Client, MakeClient, Response, check, has_no_null
from tests.gateway.keys import signed
from tests.gateway.test_auth import access, data_for
from tests.gateway.test_envelope import HEAD
from tests.gateway.wire import encode_data
from tests.store.support import snapshot

HONEST = {200, 300, 400, 403, 404, 409, 413, 422, 501}
MINUTE = 60_000
LONG = pytest.mark.timeout(60 + settings().max_examples // 5)

_PICKLED = [
    base64.b64encode(text.encode()).decode()
    for text in (
        '{"__py_pickle":"x","a":[1]}',
        r'{"__py_pickle":"x","a":"\ud800"}',
        '{"__py_pickle":"x","a":' + "9" * 400 + "}",
        '{"__py_pickle":"x","a":' + "9" * 5000 + "}",
        '{"__py_pickle":"x","a":1e999,"b":NaN}',
        '{"__py_pickle":"x","a":' + "[" * 3000 + "]" * 3000 + "}",
        '{"__py_pickle":"x"',
    )
]
_texts = st.sampled_from(
    ["", "a", "b", "c", "\0", "a\0", "é", "\U0001f600", "x" * 1025, "x" * 100_000, "true", "0",
     "resonate:target", "resonate:timer", "resonate:delay", "resonate:branch", "{{.id}}",
     "{{.timestamp}}", "poll://any@g", "poll://uni@g/p", "http://", "://", "resolved", "pending",
     "rejected_timedout", "* * * * *", "0 0 31 2 *", "*/0 * * * *", "promise.create",
     "promise.settle", "../..", "%s", "'; drop table durable_promise; --", "\\", '"', "$.a",
     *_PICKLED]
)  # fmt: skip
_numbers = st.sampled_from(
    [0, 1, -1, 2, 2**31, 2**53 - 1, 2**53, 2**63, 2**64, -(2**63), 10**300, START, START + 500,
     1.5, 1e308, -0.0]
)  # fmt: skip
_scalars = st.none() | st.booleans() | _numbers | _texts
_json: st.SearchStrategy[Any] = st.recursive(
    _scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            _texts | st.sampled_from(["id", "tags", "data", "kind"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)


def paths(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    found = [path] if path else []
    if isinstance(data, dict):
        for key, value in data.items():
            found += paths(value, (*path, key))
    elif isinstance(data, list):
        for n, value in enumerate(data):
            found += paths(value, (*path, n))
    return found


@st.composite
def spoilt(draw: st.DrawFn) -> tuple[str, Any]:
    """A request of any kind that may be right, or wrong in one or two places."""
    if draw(st.booleans()):
        request = draw(any_request(Scene(START)))
        kind, data = request.kind, encode_data(request)
    else:
        kind = draw(st.sampled_from(sorted(KINDS)))
        data = data_for(kind, lambda name: name)
    data = json.decode(json.encode(data))
    for _ in range(draw(st.integers(0, 2))):
        places = paths(data)
        if not places:
            break
        *way, last = draw(st.sampled_from(places))
        holder = data
        for step in way:
            holder = holder[step]
        match draw(st.integers(0, 3)):
            case 0 if isinstance(holder, dict):
                del holder[last]
            case 1 if isinstance(holder, dict):
                holder[draw(_texts)] = draw(_json)
            case _:
                holder[last] = draw(_json)
    return kind, data


def assert_sound(client: Client, now: int) -> None:
    found = check_state(snapshot(client.store), now)
    assert not found, "\n".join(map(str, found))


def assert_honest(response: Response) -> None:
    """An answer of the right form, whatever was asked."""
    assert response.status in HONEST, response
    envelope = response.envelope
    assert envelope["head"]["status"] == response.status
    assert has_no_null(envelope)


@pytest.fixture
def client(make_client: MakeClient) -> Client:
    return make_client("asgi")


@LONG
def test_spoilt_requests(client: Client) -> None:
    now = [START]

    @settings(max_examples=settings().max_examples)
    @given(st.lists(spoilt(), min_size=1, max_size=8), st.sampled_from([0, 1, 500, 5000, MINUTE]))
    def fuzz(asked: list[tuple[str, Any]], later: int) -> None:
        for kind, data in asked:
            head = {"corrId": "c", "version": VERSION, "resonate:debug_time": now[0]}
            body = json.encode({"kind": kind, "head": head, "data": data})
            response = client.post(body)
            assert_honest(response)
            if isinstance(data, dict):
                check(response, kind=kind, corr_id="c")
        now[0] += later
        if later:
            assert client.call("debug.tick", {"time": now[0]}).status == 200
        assert_sound(client, now[0])

    fuzz()


@LONG
def test_any_json_at_all(client: Client) -> None:
    @settings(max_examples=settings().max_examples)
    @given(
        st.one_of(
            _json,
            st.fixed_dictionaries(
                {},
                optional={
                    "kind": st.sampled_from(sorted(KINDS)) | _json,
                    "head": st.fixed_dictionaries(
                        {},
                        optional={
                            "corrId": _json,
                            "version": st.just(VERSION) | _json,
                            "auth": _json,
                            "resonate:debug_time": _json,
                        },
                    )
                    | _json,
                    "data": _json,
                },
            ),
        )
    )
    def fuzz(asked: Any) -> None:
        assert_honest(client.post(json.encode(asked)))

    fuzz()


SEEDS = [
    json.encode(
        {
            "kind": kind,
            "head": {"corrId": "c", "version": VERSION, "resonate:debug_time": START},
            "data": data_for(kind, lambda name: name),
        }
    )
    for kind in sorted(KINDS)
]
PIECES = [
    b"\0", b"\xff", b"\xed\xa0\x80", b"\\u0000", b"\\ud800", b"\\", b'"', b"{", b"}", b"[", b"]",
    b",", b":", b"null", b"1e999", b"-", b"NaN", b"\xef\xbb\xbf", b"\r\n", b"9" * 400, b"\\u005f",
    b"\xf0\x9f\x98\x80", b"[" * 2000,
]  # fmt: skip


def mangle(body: bytes, dice: random.Random) -> bytes:
    """Change a few bytes."""
    changed = bytearray(body)
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(changed) + 1)
        match dice.randrange(6):
            case 0:
                changed[at : at + dice.randint(1, 4)] = bytes([dice.randrange(256)])
            case 1:
                changed[at:at] = dice.choice(PIECES)
            case 2:
                del changed[at : at + dice.randint(1, 30)]
            case 3:
                changed[at:at] = changed[at : at + dice.randint(1, 60)]
            case 4:
                del changed[at:]
            case _:
                other = dice.choice(SEEDS)
                start = dice.randrange(len(other))
                changed[at : at + 10] = other[start : start + dice.randint(1, 40)]
    return bytes(changed)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.timeout(120)
def test_mangled_bytes(client: Client, seed: int) -> None:
    dice = random.Random(seed)
    for _ in range(500):
        body = dice.choice(SEEDS)
        if dice.random() < 0.8:
            body = mangle(body, dice)
        assert_honest(client.post(body))
    assert_sound(client, 2**53 - 1)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.timeout(120)
def test_mangled_bytes_with_a_token(make_client: MakeClient, seed: int) -> None:
    client = make_client(access=access())
    bearer = f"Bearer {signed(prefix='a')}"
    dice = random.Random(50 + seed)
    for _ in range(300):
        body = mangle(dice.choice(SEEDS), dice)
        assert_honest(client.post(body, authorization=bearer))
    deep = b'{"actions":' * 20_000
    for kind in KINDS:
        head = b'{"kind":"' + kind.encode() + b'","head":' + json.encode(HEAD) + b',"data":'
        for body in (head + deep, head + b'{"actions":' + b"[" * 5000 + b"]" * 5000 + b"}}"):
            assert_honest(client.post(body, authorization=bearer))
    assert_sound(client, 2**53 - 1)


@pytest.mark.parametrize("seed", range(2))
def test_mangled_bytes_through_the_view(make_client: MakeClient, seed: int) -> None:
    client = make_client("view")
    dice = random.Random(100 + seed)
    for _ in range(60):
        assert_honest(client.post(mangle(dice.choice(SEEDS), dice)))
    assert_sound(client, 2**53 - 1)


@pytest.mark.parametrize("seed", range(2))
def test_odd_transport(client: Client, seed: int) -> None:
    """Methods, paths and headers that no client sends."""
    assert isinstance(client, AsgiClient)
    dice = random.Random(seed)
    letters = "abcprt/%.:?~-_ éÿ\t'\""
    names = ["authorization", "origin", "host", "content-length", "content-type", "x"]
    for _ in range(150):
        path = "/" + "".join(dice.choices(letters, k=dice.randrange(6)))
        path = dice.choice([path, "/", "//", "/health", "/ready", "/tasks" + path])
        method = dice.choice(["GET", "POST", "PUT", "OPTIONS", "HEAD", "TRACE", "BREW"])
        headers = {
            dice.choice(names): "".join(dice.choices(letters + "0123456789", k=dice.randrange(9)))
            for _ in range(dice.randrange(4))
        }
        response = client._runner.run(
            client.exchange(method, path, dice.choice([b"", b"{}", SEEDS[0]]), headers)
        )
        assert response.status in {*HONEST, 204, 299, 410}, (method, path, headers)
