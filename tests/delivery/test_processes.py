"""Several serve processes on one database: a message goes out where its stream is."""

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from durable.models import GatewayProcess, OutboxMessage, Stream
from tests.delivery.conftest import Client
from tests.interop.conftest import free_port, is_listening
from tests.processes import Process, running, wait_until

pytestmark = pytest.mark.timeout(90)

NEVER = 2**52


def ask(port: int, kind: str, **data: Any) -> Any:
    head = {"corrId": "c", "version": "2026-04-01"}
    body = json.dumps({"kind": kind, "head": head, "data": data}).encode()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", data=body, timeout=20) as response:
        return json.load(response)["data"]


@pytest.fixture
def ports(process_env, tmp_path: Path) -> Iterator[list[int]]:
    ports = [free_port(), free_port()]
    servers = [
        Process(process_env, tmp_path / f"serve-{port}.log", "serve", "--port", str(port))
        for port in ports
    ]
    with running(*servers):
        for port in ports:
            wait_until(lambda port=port: is_listening(port), seconds=40, what="the servers")
        yield ports
        for server in servers:
            assert server.terminate(10) == 0
    assert not Stream.objects.exists()
    assert not GatewayProcess.objects.exists()


def settle(port: int, promise_id: str, address: str) -> None:
    tags = {"resonate:external": "true"}
    ask(port, "promise.create", id=promise_id, timeoutAt=NEVER, tags=tags)
    ask(port, "promise.register_listener", awaited=promise_id, address=address)
    ask(port, "promise.settle", id=promise_id, state="resolved")


def test_messages_find_their_streams(ports: list[int]) -> None:
    first, second = ports
    one, two = Client(first, "/poll/g/1"), Client(second, "/poll/g/2")
    wait_until(lambda: Stream.objects.count() == 2, seconds=10, what="two rows")

    for n in range(20):
        settle(ports[n % 2], f"p{n}", f"poll://uni@g/{1 + n // 10}")
    received = [
        [client.next()["data"]["promise"]["id"] for _ in range(10)] for client in (one, two)
    ]
    assert [sorted(ids) for ids in received] == [
        sorted(f"p{n}" for n in range(10)),
        sorted(f"p{n}" for n in range(10, 20)),
    ]

    for n in range(10):  # the preferred stream is at the other process
        target = {"resonate:target": "poll://any@g/2"}
        ask(first, "promise.create", id=f"t{n}", timeoutAt=NEVER, tags=target)
        assert two.next()["data"]["task"]["id"] == f"t{n}"
    assert one.is_quiet(0.3)

    wait_until(lambda: not OutboxMessage.objects.exists(), seconds=10, what="an empty outbox")
    for client in (one, two):
        client.close()


def test_a_worker_that_moves_takes_its_messages_along(ports: list[int]) -> None:
    """It has gone to another process, and the first one does not know yet."""
    first, second = ports
    old = Client(first, "/poll/g/w")
    wait_until(lambda: Stream.objects.count() == 1, seconds=10, what="a row")
    new = Client(second, "/poll/g/w")
    wait_until(lambda: Stream.objects.count() == 2, seconds=10, what="two rows")
    for n in range(10):
        settle(first, f"p{n}", "poll://uni@g/w")
    assert {new.next()["data"]["promise"]["id"] for _ in range(10)} == {f"p{n}" for n in range(10)}
    for client in (old, new):
        client.close()


def test_a_task_goes_to_one_process_only(ports: list[int]) -> None:
    clients = [Client(port, f"/poll/g/{port}") for port in ports]
    wait_until(lambda: Stream.objects.count() == 2, seconds=10, what="two rows")
    for n in range(30):
        target = {"resonate:target": "poll://any@g"}
        ask(ports[0], "promise.create", id=f"t{n}", timeoutAt=NEVER, tags=target)
    wait_until(
        lambda: sum(client.raw.count(b'"execute"') for client in clients) >= 30,
        seconds=10,
        what="thirty offers",
    )
    assert sum(client.raw.count(b'"execute"') for client in clients) == 30
    for client in clients:
        client.close()
