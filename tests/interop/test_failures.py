"""Workers that die, streams that end, gateways that restart: nothing is lost or done twice."""

import time
from pathlib import Path

import pytest

import durable
from durable.models import HistoryEvent, Promise, Stream, TaskEvent
from tests.interop.conftest import (
    KINDS,
    OLD_PYTHON,
    OLD_TYPESCRIPT,
    PYTHON,
    TYPESCRIPT,
    Kind,
)
from tests.processes import wait_until

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(params=KINDS)
def kind(request) -> Kind:
    return request.param


def state(promise_id: str) -> str | None:
    return Promise.objects.filter(id=promise_id).values_list("state", flat=True).first()


def has_stream(group: str) -> bool:
    return Stream.objects.filter(queue=group).exists()


def test_a_killed_worker_is_replaced(make_sdk, gateway, kind: Kind, tmp_path: Path) -> None:
    group, root, path = f"{kind.group}-killed", f"{kind.group}-survive", tmp_path / "pids"
    first = make_sdk(kind, gateway, group)
    first.order("run", root, "survive", str(path))
    wait_until(lambda: state(f"{root}{kind.child}") == "resolved", seconds=20, what="the step")
    first.kill()
    second = make_sdk(kind, gateway, group)
    assert second.ask("get", root) == "adopted"
    assert len(path.read_text().splitlines()) == 1  # the step did not run again
    expiries = HistoryEvent.objects.filter(task_id=root, event=TaskEvent.LEASE_EXPIRED)
    assert expiries.count() == 1


def test_streams_end_and_come_again(make_gateway, make_sdk, kind: Kind) -> None:
    """What is sent while a stream is away arrives when it is back."""
    gateway = make_gateway(DURABLE_SSE_ROTATION_SECONDS="1.5")
    group = f"{kind.group}-rotated"
    worker = make_sdk(kind, gateway, group)
    wait_until(lambda: has_stream(group), seconds=10, what="the stream")
    first = Stream.objects.get(queue=group).id
    answers = [worker.order("run", f"{group}-{n}", "nap", 1 + n / 4) for n in range(8)]
    assert [answer.result(timeout=30) for answer in answers] == ["slept"] * 8
    wait_until(
        lambda: Stream.objects.filter(queue=group).exclude(id=first).exists(),
        seconds=10,
        what="another stream",
    )
    gateway.process.kill()


@pytest.mark.parametrize(
    ("one", "two"),
    [
        pytest.param(PYTHON, TYPESCRIPT, id="newest"),
        pytest.param(OLD_PYTHON, OLD_TYPESCRIPT, id="old", marks=pytest.mark.slow),
    ],
)
def test_a_gateway_restarts_in_the_middle(make_gateway, make_sdk, one: Kind, two: Kind) -> None:
    gateway = make_gateway()
    groups = [f"{kind.group}-restart" for kind in (one, two)]
    first, second = (
        make_sdk(kind, gateway, group) for kind, group in zip((one, two), groups, strict=True)
    )
    roots = [f"{group}-1" for group in groups]
    answers = [
        first.order("run", roots[0], "call", "ask", groups[1]),
        second.order("run", roots[1], "call", "ask", groups[0]),
    ]
    latent = [
        f"{roots[0]}{one.child}.{two.child[1:]}",
        f"{roots[1]}{two.child}.{one.child[1:]}",
    ]
    for promise in latent:
        wait_until(lambda promise=promise: state(promise) == "pending", seconds=30, what=promise)
    gateway.process.kill()
    for promise in latent:
        durable.promises.resolve(promise, f"answer to {promise}")
    gateway.start()
    assert [answer.result(timeout=60) for answer in answers] == [
        f"answer to {promise}" for promise in latent
    ]
    gateway.process.kill()


def test_two_gateways_serve_one_database(make_gateway, make_sdk) -> None:
    """A message goes out where the stream is, whichever process it comes from."""
    first, second = make_gateway(), make_gateway()
    here = make_sdk(PYTHON, first, "py-here")
    there = make_sdk(TYPESCRIPT, second, "ts-there")
    assert here.ask("run", "two-gateways-1", "fan", "add", "ts-there", 20) == 210
    assert there.ask("run", "two-gateways-2", "fan", "add", "py-here", 20) == 210
    assert here.ask("rpc", "two-gateways-3", "twice", 3, target="ts-there") == 12
    for gateway in (first, second):
        gateway.process.kill()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_workers_older_than_five_minutes_are_served(make_sdk, gateway) -> None:
    kinds = [PYTHON, TYPESCRIPT, OLD_PYTHON, OLD_TYPESCRIPT]
    workers = [make_sdk(kind, gateway, f"{kind.group}-aged") for kind in kinds]
    old = time.monotonic() + 310
    wait_until(lambda: time.monotonic() > old, seconds=320, what="workers of that age")
    for kind, worker in zip(kinds, workers, strict=True):
        group = f"{kind.group}-aged"
        assert worker.ask("rpc", f"{group}-late", "twice", 2, target=group) == 8
