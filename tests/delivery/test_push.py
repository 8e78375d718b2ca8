"""Messages posted to URLs: what is sent, to whom, and what happens when it is not taken."""

import asyncio
import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from durable.delivery import http_push
from durable.delivery.hosts import AllowedHosts
from durable.delivery.http_push import HttpPush
from durable.delivery.pushing import pause_ms
from durable.delivery.registry import DeliveryError
from durable.models import OutboxMessage
from durable.protocol.requests import PromiseCreate, TaskAcquire
from durable.store import get_store
from tests.delivery.test_streams import NEVER, settle_for
from tests.processes import wait_until


class Target(BaseHTTPRequestHandler):
    answers: ClassVar[list[int]] = []
    received: ClassVar[list[tuple[str, dict[str, str], dict]]] = []

    def do_POST(self) -> None:
        length = int(self.headers["content-length"])
        body = json.loads(self.rfile.read(length))
        self.received.append((self.path, dict(self.headers), body))
        status = self.answers.pop(0) if self.answers else 204
        self.send_response(status)
        if status in {302, 307}:
            self.send_header("Location", "/elsewhere")
        self.send_header("content-length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        """Give an identity token."""
        audience = self.path.partition("audience=")[2]
        self.received.append((self.path, dict(self.headers), {}))
        claims = base64.urlsafe_b64encode(json.dumps({"exp": 2**40}).encode()).decode().rstrip("=")
        token = f"head.{claims}.{audience}".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(token)))
        self.end_headers()
        self.wfile.write(token)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def target() -> Iterator[str]:
    Target.answers.clear()
    Target.received.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Target)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def dispatcher(transactional_db, settings) -> Iterator[None]:
    from durable.background.runner import BackgroundRunner
    from durable.delivery.dispatcher import get_dispatcher

    settings.DURABLE_PUSH_ALLOWED_HOSTS = ["127.0.0.1"]
    settings.DURABLE_SERVER_URL = "http://here:8001"
    runner, one = BackgroundRunner(get_store()), get_dispatcher()
    runner.start()
    one.start()
    yield
    one.stop()
    runner.stop()


def deliver(address: str, message: bytes = b"{}") -> None:
    async def run() -> None:
        push = HttpPush()
        try:
            await push.deliver(address, message)
        finally:
            await push.close()

    asyncio.run(run())


# -- through the outbox ------------------------------------------------------------------------


def test_a_task_with_a_url_is_pushed(dispatcher, target) -> None:
    get_store().run(PromiseCreate("t", NEVER, tags={"resonate:target": f"{target}/work"}))
    wait_until(lambda: bool(Target.received), seconds=10, what="the push")
    path, headers, body = Target.received[0]
    assert (path, headers["Content-Type"]) == ("/work", "application/json")
    assert body == {
        "kind": "execute",
        "head": {"serverUrl": "http://here:8001"},
        "data": {"task": {"id": "t", "version": 0}},
    }
    wait_until(lambda: not OutboxMessage.objects.exists(), seconds=5, what="an empty outbox")


def test_an_unblock_is_pushed_until_it_is_taken(dispatcher, target, monkeypatch) -> None:
    monkeypatch.setattr("durable.delivery.pushing._FIRST_PAUSE_MS", 50)
    Target.answers += [500, 302]
    settle_for("p", f"{target}/done")
    wait_until(lambda: len(Target.received) == 3, seconds=10, what="the third try")
    assert [path for path, _, _ in Target.received] == ["/done"] * 3  # no redirect was followed
    assert {body["data"]["promise"]["id"] for _, _, body in Target.received} == {"p"}
    wait_until(lambda: not OutboxMessage.objects.exists(), seconds=5, what="an empty outbox")


def test_a_message_that_was_not_taken_rests(dispatcher, target) -> None:
    Target.answers += [500]
    settle_for("p", f"{target}/done")
    wait_until(lambda: bool(Target.received), seconds=10, what="a try")
    wait_until(
        lambda: OutboxMessage.objects.filter(attempts=1, next_at__gt=0).exists(),
        seconds=5,
        what="the pause",
    )


def test_what_a_task_no_longer_needs_is_dropped(dispatcher, target) -> None:
    Target.answers += [500]
    get_store().run(PromiseCreate("t", NEVER, tags={"resonate:target": f"{target}/work"}))
    wait_until(lambda: bool(Target.received), seconds=10, what="a try")
    get_store().run(TaskAcquire("t", 0, "w", 60_000))
    wait_until(lambda: not OutboxMessage.objects.exists(), seconds=10, what="an empty outbox")
    assert len(Target.received) == 1


def test_schemes_of_others_are_served(dispatcher, settings) -> None:
    settings.DURABLE_DELIVERERS = {"mine": "tests.delivery.test_push.Mine"}
    Mine.taken.clear()
    settle_for("p", "mine://topic")
    wait_until(lambda: Mine.taken == ["mine://topic"], seconds=10, what="the delivery")


class Mine:
    taken: ClassVar[list[str]] = []

    async def deliver(self, address: str, message: bytes) -> None:
        self.taken.append(address)

    async def close(self) -> None:
        pass


# -- who may be posted to ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("allowed", "host", "port", "address", "may"),
    [
        ([], "example.com", 443, "93.184.216.34", True),
        ([], "inside", 80, "10.0.0.1", False),
        ([], "inside", 80, "127.0.0.1", False),
        ([], "inside", 80, "169.254.169.254", False),
        ([], "inside", 80, "::1", False),
        ([], "inside", 80, "::ffff:10.0.0.1", False),
        ([], "inside", 80, "64:ff9b::a00:1", False),
        ([], "inside", 80, "2002:a00:1::", False),
        ([], "inside", 80, "100.64.0.1", False),
        ([], "inside", 80, "0.0.0.0", False),
        ([], "inside", 80, "fd00::1", False),
        (["inside"], "inside", 80, "10.0.0.1", True),
        (["inside"], "example.com", 80, "93.184.216.34", False),
        (["*.example.com"], "a.example.com", 443, "10.0.0.1", True),
        (["*.example.com"], "example.com", 443, "10.0.0.1", False),
        (["inside:8080"], "inside", 8080, "10.0.0.1", True),
        (["inside:8080"], "inside", 22, "10.0.0.1", False),
        (["10.0.0.0/8"], "inside", 80, "10.0.0.1", True),
        (["10.0.0.0/8"], "inside", 80, "11.0.0.1", False),
        (["[::1]"], "::1", 80, "::1", True),
        (["inside"], "INSIDE.", 80, "10.0.0.1", True),
    ],
)
def test_hosts(allowed, host, port, address, may) -> None:
    assert AllowedHosts(allowed).may_connect(host, port, address) is may


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.1"])
def test_this_machine_is_none_unless_listed(settings, target, host) -> None:
    settings.DURABLE_PUSH_ALLOWED_HOSTS = []
    with pytest.raises(DeliveryError):
        deliver(target.replace("127.0.0.1", host))
    assert Target.received == []


def test_a_listed_name_may_be_this_machine(settings, target) -> None:
    settings.DURABLE_PUSH_ALLOWED_HOSTS = ["localhost"]
    deliver(target.replace("127.0.0.1", "localhost"))
    assert len(Target.received) == 1


# -- who we are --------------------------------------------------------------------------------


def test_a_listed_host_gets_the_bearer_token(settings, target) -> None:
    settings.DURABLE_PUSH_ALLOWED_HOSTS = ["127.0.0.1"]
    settings.DURABLE_PUSH_AUTH = "bearer"
    settings.DURABLE_PUSH_TOKEN = "secret"
    deliver(target)
    assert Target.received[0][1]["Authorization"] == "Bearer secret"


def test_a_host_that_is_not_listed_gets_no_token(settings, target, monkeypatch) -> None:
    settings.DURABLE_PUSH_ALLOWED_HOSTS = []
    settings.DURABLE_PUSH_AUTH = "bearer"
    settings.DURABLE_PUSH_TOKEN = "secret"
    monkeypatch.setattr("durable.delivery.hosts.is_public", lambda address: True)
    deliver(target)
    assert "Authorization" not in Target.received[0][1]


def test_an_identity_token_names_its_audience(settings, target) -> None:
    settings.DURABLE_PUSH_ALLOWED_HOSTS = ["127.0.0.1"]
    settings.DURABLE_PUSH_AUTH = "oidc"
    settings.DURABLE_PUSH_OIDC_URL = f"{target}/identity"
    settings.DURABLE_PUSH_AUDIENCE = "them"
    deliver(target)
    [(_, asked, _), (_, posted, _)] = Target.received
    assert asked["Metadata-Flavor"] == "Google"
    assert posted["Authorization"].startswith("Bearer head.")
    assert posted["Authorization"].endswith(".them")


def test_expiry_is_read_from_the_token() -> None:
    claims = base64.urlsafe_b64encode(b'{"exp": 12.5}').decode()
    assert http_push.expiry_of(f"a.{claims}.b") == 12.5
    assert http_push.expiry_of("nonsense") == 0


def test_pauses_grow_and_stop_growing() -> None:
    assert [pause_ms(n) for n in (1, 2, 3, 7, 100)] == [1000, 2000, 4000, 60_000, 60_000]
