"""Tokens and what they allow (protocol.md 7), for every kind through either way in."""

import base64
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from msgspec import json

from durable.gateway import tokens
from durable.gateway.auth import Access
from durable.gateway.tokens import InvalidKeyError, KeyRing, TokenTable, read_keys
from durable.models import Token
from durable.protocol.envelope import KINDS
from tests.gateway.clients import MakeClient, open_access
from tests.gateway.keys import HOUR, private_key, private_pem, public_pem, signed

pytestmark = pytest.mark.once

LATE = 2**53 - 1
TARGET = {"resonate:target": "poll://any@g"}


def ring(*kinds: str, **options: Any) -> KeyRing:
    return KeyRing([key for kind in kinds for key in read_keys(public_pem(kind))], **options)


def access(*kinds: str, **options: Any) -> Access:
    return open_access(is_required=True, keys=ring(*(kinds or ("ed25519",)), **options))


def data_for(kind: str, name: Callable[[str], str]) -> dict[str, Any]:
    """Right data of a kind, whose ids are made by ``name``."""
    a, b = name("a"), name("b")
    child = {"id": b, "timeoutAt": LATE}
    callback = {
        "kind": "promise.register_callback",
        "head": {},
        "data": {"awaited": b, "awaiter": a},
    }
    return {
        "promise.get": {"id": a},
        "promise.create": {"id": a, "timeoutAt": LATE, "tags": TARGET},
        "promise.settle": {"id": a, "state": "resolved"},
        "promise.register_callback": {"awaited": b, "awaiter": a},
        "promise.register_listener": {"awaited": a, "address": "poll://uni@g/p"},
        "promise.search": {},
        "task.get": {"id": a},
        "task.create": {
            "pid": "p",
            "ttl": 1000,
            "action": {
                "kind": "promise.create",
                "data": {"id": a, "timeoutAt": LATE, "tags": TARGET},
            },
        },
        "task.acquire": {"id": a, "version": 0, "pid": "p", "ttl": 1000},
        "task.fence": {"id": a, "version": 1, "action": {"kind": "promise.create", "data": child}},
        "task.heartbeat": {"pid": "p", "tasks": [{"id": a, "version": 1}]},
        "task.suspend": {"id": a, "version": 1, "actions": [callback]},
        "task.fulfill": {
            "id": a,
            "version": 1,
            "action": {"kind": "promise.settle", "data": {"id": a, "state": "resolved"}},
        },
        "task.release": {"id": a, "version": 1},
        "task.halt": {"id": a},
        "task.continue": {"id": a},
        "task.search": {},
        "schedule.get": {"id": a},
        "schedule.create": {
            "id": a,
            "cron": "* * * * *",
            "promiseId": "{{.id}}-{{.timestamp}}",
            "promiseTimeout": 1,
        },
        "schedule.delete": {"id": a},
        "schedule.search": {},
    }[kind]


def unsigned(claims: dict[str, Any], algorithm: str) -> str:
    parts = [{"alg": algorithm, "typ": "JWT"}, claims]
    head, body = (base64.urlsafe_b64encode(json.encode(p)).rstrip(b"=").decode() for p in parts)
    return f"{head}.{body}."


def hmac_of_public_key() -> str:
    """The old confusion: the public key as the secret of an HMAC."""
    import hashlib
    import hmac

    signing_input = unsigned({"exp": int(time.time()) + HOUR, "prefix": ""}, "HS256")[:-1]
    digest = hmac.new(public_pem("rsa").encode(), signing_input.encode(), hashlib.sha256).digest()
    return f"{signing_input}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


NOW = int(time.time())
BAD: dict[str, Callable[[], str | None]] = {
    "none": lambda: None,
    "empty": lambda: "",
    "garbage": lambda: "garbage",
    "dots": lambda: "...",
    "not ascii": lambda: "tökén.ü.ü",
    "huge": lambda: "x" * 20_000,
    "expired": lambda: signed(exp=NOW - HOUR),
    "without exp": lambda: signed(exp=...),
    "exp is no number": lambda: signed(exp="later"),
    "exp is a list": lambda: signed(exp=[NOW + HOUR]),
    "not yet valid": lambda: signed(nbf=NOW + HOUR),
    "signed by a stranger": lambda: signed("ed25519-other"),
    "signed with another kind of key": lambda: signed("p256", "ES256"),
    "tampered": lambda: _tampered(),  # noqa: PLW0108 - it stands below
    "alg none": lambda: unsigned({"exp": NOW + HOUR, "prefix": ""}, "none"),
    "alg None": lambda: unsigned({"exp": NOW + HOUR, "prefix": ""}, "None"),
    "alg missing": lambda: unsigned({"exp": NOW + HOUR, "prefix": ""}, ""),
    "alg unknown": lambda: unsigned({"exp": NOW + HOUR, "prefix": ""}, "XX999"),
    "HMAC with the public key": hmac_of_public_key,
    "HMAC with nothing": lambda: jwt.encode(
        {"exp": NOW + HOUR, "prefix": ""}, "x" * 32, algorithm="HS256"
    ),
    "wrong issuer": lambda: signed(iss="somebody", aud="us"),
    "no issuer": lambda: signed(aud="us"),
    "wrong audience": lambda: signed(iss="issuer", aud="them"),
    "wrong audiences": lambda: signed(iss="issuer", aud=["them", "others"]),
    "no audience": lambda: signed(iss="issuer"),
    "never issued": tokens.make_secret,
    "looks issued": lambda: "durable_\udcff".encode(errors="replace").decode(),
    "issued and expired": lambda: issue("old", prefix="", expires_at=NOW * 1000 - 1),
    "issued and revoked": lambda: _revoked(),  # noqa: PLW0108 - it stands below
    "issued and cut short": lambda: issue("short", prefix="")[:-1],
    "what is stored of one": lambda: tokens.digest_of(issue("stored", prefix="")),
}


def _tampered() -> str:
    head, body, signature = signed(prefix="mine/").split(".")
    padded = base64.urlsafe_b64decode(body + "==")
    forged = base64.urlsafe_b64encode(padded.replace(b"mine/", b"")).rstrip(b"=").decode()
    return f"{head}.{forged}.{signature}"


def _revoked() -> str:
    token = issue("gone", prefix="", role="admin")
    assert tokens.revoke("gone", using="default")
    return token


@pytest.mark.parametrize("name", BAD)
def test_bad_tokens_are_refused_for_every_kind(
    way_in: str, make_client: MakeClient, name: str
) -> None:
    client = make_client(way_in, access=access("ed25519", "rsa", issuer="issuer", audience="us"))
    token = BAD[name]()
    for kind in sorted({*KINDS, "debug.reset", "promise.remove"}):
        data = data_for(kind, lambda one: f"mine/{one}") if kind in KINDS else {}
        assert client.call(kind, data, auth=token) == (401, "Unauthorized"), kind
        if token and token.isascii():
            bearer = client.call(kind, data, authorization=f"Bearer {token}")
            assert bearer == (401, "Unauthorized"), kind


@pytest.mark.parametrize(
    ("kind", "algorithm"),
    [
        *(("rsa", f"{name}{size}") for name in ("RS", "PS") for size in (256, 384, 512)),
        ("p256", "ES256"),
        ("p384", "ES384"),
        ("ed25519", "EdDSA"),
    ],
)
def test_good_tokens_of_every_algorithm(make_client: MakeClient, kind: str, algorithm: str) -> None:
    client = make_client(access=access(kind))
    assert client.call("promise.get", {"id": "mine/a"}, auth=signed(kind, algorithm)).status == 404


def test_keys_are_exchanged_while_both_are_known(make_client: MakeClient) -> None:
    old, new = signed("rsa", "RS256"), signed("rsa-new", "RS256")
    other = signed("p256", "ES256")
    client = make_client(access=access("rsa", "rsa-new", "p256"))
    for token in (old, new, other, new, old):
        assert client.call("promise.get", {"id": "mine/a"}, auth=token).status == 404
    client = make_client(access=access("rsa-new"))
    assert client.call("promise.get", {"id": "mine/a"}, auth=old).status == 401


@pytest.mark.parametrize("aud", ["us", ["us"], ["them", "us"]])
def test_issuer_and_audience(make_client: MakeClient, aud: Any) -> None:
    client = make_client(access=access(issuer="issuer", audience="us"))
    token = signed(iss="issuer", aud=aud)
    assert client.call("promise.get", {"id": "mine/a"}, auth=token).status == 404


def test_an_audience_that_nobody_asked_for_is_ignored(make_client: MakeClient) -> None:
    client = make_client(access=access())
    token = signed(aud="them", iss="whoever", iat=NOW + HOUR)
    assert client.call("promise.get", {"id": "mine/a"}, auth=token).status == 404


def test_the_envelope_comes_before_the_header(make_client: MakeClient) -> None:
    client = make_client(access=access())
    good, bad = signed(), "garbage"
    get = {"id": "mine/a"}
    assert client.call("promise.get", get, auth=good, authorization=f"Bearer {bad}").status == 404
    assert client.call("promise.get", get, auth=bad, authorization=f"Bearer {good}").status == 401
    assert client.call("promise.get", get, auth="", authorization=f"bearer {good}").status == 404
    assert client.call("promise.get", get, authorization=f"Basic {good}").status == 401


def test_a_remembered_token_expires(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from durable import clock

    client = make_client(access=access())
    token = signed(exp=NOW + HOUR)
    assert client.call("promise.get", {"id": "mine/a"}, auth=token).status == 404
    later = (NOW + HOUR + tokens.LEEWAY_SECONDS + 1) * 1000
    monkeypatch.setattr(clock, "now_ms", lambda: later)
    assert client.call("promise.get", {"id": "mine/a"}, auth=token).status == 401


def test_only_so_many_tokens_are_remembered(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "_REMEMBERED", 2)
    client = make_client(access=access())
    given = [signed(sub=str(n)) for n in range(4)] + [issue(f"t{n}") for n in range(4)]
    for token in given * 2:
        assert client.call("promise.get", {"id": "mine/a"}, auth=token).status == 404


# Prefixes


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_prefix_opens_its_own_ids(way_in: str, make_client: MakeClient, kind: str) -> None:
    client = make_client(way_in, access=access())
    data = data_for(kind, lambda one: f"mine/{one}")
    for token in (signed(), issue("mine")):
        client.call("debug.reset", auth=signed(role="admin"))
        assert client.call(kind, data, auth=token).status in {200, 404, 422}


@pytest.mark.parametrize("kind", sorted(kind for kind in KINDS if not kind.endswith("search")))
def test_a_prefix_opens_no_others(way_in: str, make_client: MakeClient, kind: str) -> None:
    client = make_client(way_in, access=access())
    given = [signed(), signed(role="worker"), signed(groups=["theirs/"]), issue("mine")]
    for name in (
        "theirs/{}",
        "{}",
        "min{}",
        "Mine/{}",
        "/mine/{}",
        " mine/{}",
        "mine{}",
    ):
        data = data_for(kind, name.format)
        for token in given:
            assert client.call(kind, data, auth=token) == (403, "Forbidden"), name


def nested(kind: str, ids: str, **changes: Any) -> dict[str, Any]:
    return data_for(kind, lambda one: f"{ids}{one}") | changes


HOLES = {
    "a fence creates another's promise": (
        "task.fence",
        nested(
            "task.fence",
            "mine/",
            action={"kind": "promise.create", "data": {"id": "theirs/x", "timeoutAt": LATE}},
        ),
    ),
    "a fence settles another's promise": (
        "task.fence",
        nested(
            "task.fence",
            "mine/",
            action={"kind": "promise.settle", "data": {"id": "theirs/x", "state": "resolved"}},
        ),
    ),
    "a fulfil names another's promise": (
        "task.fulfill",
        nested(
            "task.fulfill",
            "mine/",
            action={"kind": "promise.settle", "data": {"id": "theirs/x", "state": "resolved"}},
        ),
    ),
    "a suspension awaits another's promise": (
        "task.suspend",
        nested(
            "task.suspend",
            "mine/",
            actions=[
                {
                    "kind": "promise.register_callback",
                    "data": {"awaited": "theirs/x", "awaiter": "mine/a"},
                }
            ],
        ),
    ),
    "a callback wakes another's task": (
        "promise.register_callback",
        {"awaited": "mine/b", "awaiter": "theirs/a"},
    ),
    "a callback waits for another's promise": (
        "promise.register_callback",
        {"awaited": "theirs/b", "awaiter": "mine/a"},
    ),
    "a heartbeat names another's task": (
        "task.heartbeat",
        {"pid": "p", "tasks": [{"id": "mine/a", "version": 1}, {"id": "theirs/a", "version": 1}]},
    ),
    "a schedule with another's id": (
        "schedule.create",
        nested("schedule.create", "mine/", id="theirs/s", promiseId="mine/{{.timestamp}}"),
    ),
    "a schedule that creates another's promises": (
        "schedule.create",
        nested("schedule.create", "mine/", promiseId="theirs/{{.id}}"),
    ),
    "a schedule whose ids begin with an instant": (
        "schedule.create",
        nested("schedule.create", "mine/", promiseId="{{.timestamp}}mine/"),
    ),
    "a promise in another's branch": (
        "promise.create",
        nested("promise.create", "mine/", tags={"resonate:branch": "theirs/a"}),
    ),
    "a task below another's": (
        "task.create",
        {
            "pid": "p",
            "ttl": 1,
            "action": {
                "kind": "promise.create",
                "data": {
                    "id": "mine/a",
                    "timeoutAt": LATE,
                    "tags": TARGET | {"resonate:parent": "theirs/a"},
                },
            },
        },
    ),
    "a fenced promise in another's lineage": (
        "task.fence",
        nested(
            "task.fence",
            "mine/",
            action={
                "kind": "promise.create",
                "data": {
                    "id": "mine/b",
                    "timeoutAt": LATE,
                    "tags": {"resonate:origin": "theirs/a"},
                },
            },
        ),
    ),
    "a scheduled promise in another's branch": (
        "schedule.create",
        nested("schedule.create", "mine/", promiseTags={"resonate:branch": "theirs/a"}),
    ),
}


@pytest.mark.parametrize("hole", HOLES)
def test_no_hole_in_the_prefix(make_client: MakeClient, hole: str) -> None:
    client = make_client(access=access())
    kind, data = HOLES[hole]
    assert client.call(kind, data, auth=signed()) == (403, "Forbidden")
    assert client.call(kind, data, auth=signed(prefix="")).status != 403


def test_malformed_requests_for_others_are_forbidden_too(make_client: MakeClient) -> None:
    client = make_client(access=access())
    call = client.call
    assert call("promise.create", {"id": "theirs/a"}, auth=signed()).status == 403
    assert call("promise.create", {"id": "mine/a"}, auth=signed()).status == 400
    assert call("promise.create", {"id": 7}, auth=signed()).status == 400
    assert call("promise.create", {}, auth=signed()).status == 400
    fence = {"id": "mine/a", "action": {"kind": "promise.create", "data": {"id": "theirs/a"}}}
    assert call("task.fence", fence, auth=signed()).status == 403
    beat = {"tasks": [{"id": "mine/a"}, {"id": "theirs/a"}]}
    assert call("task.heartbeat", beat, auth=signed()).status == 403


@pytest.mark.parametrize("kind", ["debug.reset", "debug.snap", "promise.remove", "x"])
def test_c12_a_prefix_opens_nothing_unknown(make_client: MakeClient, kind: str) -> None:
    client = make_client(access=access())
    assert client.call(kind, auth=signed()) == (403, "Forbidden")
    for token in (signed(prefix=""), signed(prefix=..., role="admin")):
        assert client.call(kind, auth=token).status == (200 if kind.startswith("debug") else 400)


@pytest.mark.parametrize("prefix", [..., None, 7, ["mine/"], {"a": 1}, True])
def test_a_token_without_a_prefix_opens_nothing(make_client: MakeClient, prefix: Any) -> None:
    client = make_client(access=access())
    for kind in sorted({*KINDS, "debug.reset", "promise.remove"}):
        data = data_for(kind, lambda one: f"mine/{one}") if kind in KINDS else {}
        for role in (..., "worker", "Admin ", ["admin"]):
            answer = client.call(kind, data, auth=signed(prefix=prefix, role=role))
            assert answer == (403, "Forbidden"), (kind, role)


@pytest.mark.parametrize("role", ["admin", "ADMIN", "Admin"])
def test_an_administrator_needs_no_prefix(make_client: MakeClient, role: str) -> None:
    client = make_client(access=access())
    for prefix in (..., "mine/", None):
        token = signed(prefix=prefix, role=role)
        for kind in sorted(KINDS):
            data = data_for(kind, lambda one: f"theirs/{one}")
            assert client.call(kind, data, auth=token).status not in {400, 401, 403, 500}
        assert client.call("debug.reset", auth=token).status == 200


def test_searches_show_only_what_begins_with_the_prefix(make_client: MakeClient) -> None:
    client = make_client(access=access())
    everything = signed(prefix="")
    for name in ("mine", "mine/a", "mine/b", "mine0", "min", "theirs/a", "mine/\U0010ffff"):
        promise = {"id": name, "timeoutAt": LATE, "tags": TARGET}
        assert client.call("promise.create", promise, auth=everything).status == 200
        schedule = data_for("schedule.create", lambda _one, name=name: name)
        assert client.call("schedule.create", schedule, auth=everything).status == 200
    for kind in ("promise", "task", "schedule"):
        for limit in (1, 2, 100):
            found, cursor = [], None
            while True:
                data = {"limit": limit} | ({"cursor": cursor} if cursor else {})
                page = client.call(f"{kind}.search", data, auth=signed()).data
                found += [one["id"] for one in page[f"{kind}s"]]
                cursor = page.get("cursor")
                if cursor is None:
                    break
            assert found == ["mine/a", "mine/b", "mine/\U0010ffff"]
        assert client.call(f"{kind}.search", {"cursor": "z"}, auth=signed()).data[f"{kind}s"] == []
        assert len(client.call(f"{kind}.search", auth=everything).data[f"{kind}s"]) == 7


# Tokens that an operator issued


@pytest.fixture
def table(make_client: MakeClient) -> TokenTable:
    return TokenTable("default")


def issue(name: str, **changes: Any) -> str:
    given = {"prefix": "mine/", "role": "", "groups": [], "expires_at": None, "using": "default"}
    return tokens.issue(name, **(given | changes))


def test_issued_tokens_open_their_prefix(way_in: str, make_client: MakeClient) -> None:
    client = make_client(way_in, access=access())
    token = issue("ci")
    for _ in range(2):  # looked up, then remembered
        assert client.call("promise.get", {"id": "mine/a"}, auth=token).status == 404
        assert client.call("promise.get", {"id": "theirs/a"}, auth=token).status == 403
    assert (
        client.call("promise.get", {"id": "theirs/a"}, auth=issue("all", prefix="")).status == 404
    )
    assert client.call("debug.snap", auth=issue("root", role="admin")).status == 200


def test_only_a_digest_is_stored(make_client: MakeClient) -> None:
    client = make_client(access=access())
    token = issue("ci")
    stored = Token.objects.get(name="ci")
    assert token not in {str(value) for value in vars(stored).values()}
    assert client.call("promise.get", {"id": "mine/a"}, auth=stored.digest).status == 401
    assert client.call("promise.get", {"id": "mine/a"}, auth=token[:-1]).status == 401


def test_a_revoked_token_is_worth_nothing(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client(access=access())
    token = issue("ci")
    assert client.call("promise.get", {"id": "mine/a"}, auth=token).status == 404
    assert tokens.revoke("ci", using="default")
    assert not tokens.revoke("ci", using="default")
    later = time.monotonic() + 6
    monkeypatch.setattr("durable.gateway.tokens.time.monotonic", lambda: later)
    assert client.call("promise.get", {"id": "mine/a"}, auth=token).status == 401
    again = issue("ci")
    assert client.call("promise.get", {"id": "mine/a"}, auth=again).status == 404


def test_an_expired_token_is_worth_nothing(make_client: MakeClient) -> None:
    client = make_client(access=access())
    assert (
        client.call("promise.get", {"id": "mine/a"}, auth=issue("old", expires_at=1)).status == 401
    )


def test_who_started_it_is_remembered(make_client: MakeClient) -> None:
    from durable.models import Promise

    client = make_client(access=access(), has_debug_surface=False)
    mine = data_for("promise.create", lambda one: f"mine/{one}")
    client.call("promise.create", mine, auth=issue("ci"))
    theirs = data_for("promise.create", lambda one: f"mine/x{one}")
    client.call("promise.create", theirs, auth=signed(sub="ada"))
    nobody = data_for("promise.create", lambda one: f"mine/y{one}")
    client.call("promise.create", nobody, auth=signed())
    started = dict(Promise.objects.order_by("id").values_list("id", "started_by"))
    assert started == {"mine/a": "token:ci", "mine/xa": "token:ada", "mine/ya": None}
    worker = make_client(has_debug_surface=False)
    worker.call("task.create", data_for("task.create", lambda one: f"z{one}"))
    assert Promise.objects.get(id="za").started_by == "worker:p"


# Keys


def test_keys_come_one_by_one_or_together(tmp_path: Any, settings: Any) -> None:
    from durable.gateway.auth import load_keys

    pems = [public_pem(kind) for kind in ("rsa", "p256", "p384", "ed25519")]
    assert [len(key.algorithms) for key in read_keys("\n".join(pems))] == [6, 1, 1, 1]
    path = tmp_path / "keys.pem"
    path.write_text(pems[0] + "comment\n" + pems[1])
    settings.DURABLE_AUTH_PUBLIC_KEYS = [str(path), pems[3]]
    assert [key.algorithms[0] for key in load_keys()] == ["RS256", "ES256", "EdDSA"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "there is no PEM block in it"),
        ("ssh-ed25519 AAAA", "there is no PEM block in it"),
        (
            "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
            "its block PUBLIC KEY cannot be read",
        ),
    ],
)
def test_what_is_no_key(text: str, reason: str) -> None:
    with pytest.raises(InvalidKeyError) as caught:
        read_keys(text)
    assert str(caught.value) == reason


@pytest.mark.parametrize("kind", ["small", "p521", "k1"])
def test_keys_that_are_too_weak_or_too_odd(kind: str) -> None:
    with pytest.raises(InvalidKeyError) as caught:
        read_keys(public_pem(kind))
    assert str(caught.value) == (
        "it is none of RSA with 2048 bits or more, EC on P-256 or P-384, Ed25519"
    )


def test_a_private_key_is_not_taken() -> None:
    with pytest.raises(InvalidKeyError) as caught:
        read_keys(private_pem("ed25519"))
    assert str(caught.value) == (
        "it is a private key, which does not belong here; give the public one"
    )


def test_a_certificate_is_a_key() -> None:
    import datetime as dt

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.x509.oid import NameOID

    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "us")])
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private_key("p256").public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=3650))
        .sign(private_key("p256"), hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
    assert KeyRing(read_keys(pem)).verify(signed("p256", "ES256")) is not None
