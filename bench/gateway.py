"""The gateway from outside: requests, event streams, what they cost, and what a kill loses."""

import random
import socket
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from bench.clients import Load, Running
from bench.figures import Figure, milliseconds
from bench.load import new_key
from bench.processes import running
from bench.serving import Server, start_server
from bench.session import Session
from bench.wire import HOST, Client, Listener, create, get, open_stream, settle

CLIENTS = (1, 32, 256)
_BARE = {"DJANGO_SETTINGS_MODULE": "bench.bare"}
_WARM_UP_SECONDS = 0.5
_READY_SECONDS = 30.0
_LONGEST = 60.0
_SETTLING_SECONDS = 3.0
_IDLE_SECONDS = 5.0
_PAUSE = (0.01, 0.06)
_GROUP = "listeners"
_KILLED = 32


class LostError(Exception):
    """Promises whose creation was answered are not there after a restart."""

    def __init__(self, lost: int, acknowledged: int) -> None:
        """``lost`` of ``acknowledged`` are missing."""
        super().__init__(f"{lost} of {acknowledged} acknowledged promises are lost")


def measure(session: Session) -> Iterator[Figure]:
    """Load a serve process, then listen to it, then fill it with streams, then kill it."""
    yield from _throughput(session)
    yield from _deliveries(session)
    yield from _streams(session)
    yield from _kills(session)


@contextmanager
def _serving(session: Session, **extra: str) -> Iterator[Server]:
    server = start_server(session, extra)
    with running(server.process):
        _wait_until_open(server)
        _load(server, clients=1, seconds=_WARM_UP_SECONDS)
        yield server


def _wait_until_open(server: Server) -> None:
    """Wait for the port: ``serve`` says that it serves just before."""
    end = time.monotonic() + _READY_SECONDS
    while True:
        try:
            socket.create_connection((HOST, server.port)).close()
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)
        else:
            return


# -- requests ----------------------------------------------------------------------------------


def _throughput(session: Session) -> Iterator[Figure]:
    rates: dict[int, float] = {}
    with _serving(session, **_BARE) as server:
        for clients in CLIENTS:
            bare = list(_rates(session, server, "bare callable", clients=clients))
            rates[clients] = bare[0].median
            yield from bare
    with _serving(session) as server:
        for clients in CLIENTS:
            found = list(_rates(session, server, "promise.create", clients=clients))
            yield from found
            ratios = tuple(rates[clients] / rate for rate in found[0].values)
            yield Figure(f"{_said(clients)}: bare callable to promise.create", "times", ratios)
        yield from _rates(
            session, server, "promise.create and promise.get", clients=CLIENTS[1], mixed=True
        )


def _rates(
    session: Session, server: Server, what: str, *, clients: int, mixed: bool = False
) -> Iterator[Figure]:
    work = partial(_load, server, clients=clients, seconds=session.sizes.seconds, mixed=mixed)
    loads, served = [], []
    for _ in range(session.sizes.repetitions):
        before = server.process.cpu_seconds()
        loads.append(load := work())
        served.append((server.process.cpu_seconds() - before) / len(load.times) * 1e6)
    more = {
        "microseconds of the server's processor": served,
        "share of a processor of the clients": [load.busy for load in loads],
    }
    name = f"{_said(clients)}: {what}"
    yield Figure(name, "/s", tuple(load.rate for load in loads), more)
    medians = [1000 * statistics.median(load.times) for load in loads]
    slowest = [milliseconds("", load.times).percentile(99) for load in loads]
    yield Figure(f"{name}, p99", "ms", tuple(slowest), {"median": medians})


def _load(server: Server, *, clients: int, seconds: float, mixed: bool = False) -> Load:
    load = _start_load(server, clients=clients, seconds=seconds, mixed=mixed).result()
    if load.broken:
        message = f"{load.broken} of {clients} clients lost their connection"
        raise RuntimeError(message)
    return load


def _start_load(server: Server, *, clients: int, seconds: float, mixed: bool = False) -> Running:
    prefix = new_key("load")
    return Running(
        server.port, server.token, clients=clients, seconds=seconds, mixed=mixed, prefix=prefix
    )


def _said(clients: int) -> str:
    return "1 client" if clients == 1 else f"{clients} clients"


# -- deliveries --------------------------------------------------------------------------------


def _deliveries(session: Session) -> Iterator[Figure]:
    """Time a task's way to an idle worker; a settled promise ends it before the next one."""
    since_asked, since_answer, answers = [], [], []
    with (
        _serving(session) as server,
        Listener(server.port, server.token, _GROUP, "one") as listener,
    ):
        client = Client(server.port, server.token)
        for _ in range(session.sizes.deliveries):
            time.sleep(random.uniform(*_PAUSE))
            key = new_key("delivery")
            asked_at = time.monotonic()
            client.require(create(key, {"resonate:target": f"poll://any@{_GROUP}"}))
            answered_at = time.monotonic()
            heard_at = listener.wait(key)
            client.require(settle(key))
            answers.append(answered_at - asked_at)
            since_asked.append(heard_at - asked_at)
            since_answer.append(heard_at - answered_at)
        client.close()
    yield milliseconds("idle: promise.create to its answer", answers)
    for name, found in (("asked", since_asked), ("answered", since_answer)):
        figure = milliseconds(f"idle: promise.create {name} to execute at a worker", found)
        yield figure
        yield Figure(f"{figure.name}, p95", "ms", (figure.percentile(95),))


# -- idle streams ------------------------------------------------------------------------------


def _streams(session: Session) -> Iterator[Figure]:
    number = session.sizes.streams
    with _serving(session) as server, ExitStack() as opened:
        before, idle = _idle(server)
        for place in range(number):
            worker = f"worker-{place}"
            stream = open_stream(server.port, server.token, _GROUP, worker)
            opened.enter_context(stream)
        after, busy = _idle(server)
    yield Figure("memory of the serve process, no streams", "MB", (before / 1e6,))
    yield Figure(f"memory of the serve process, {number:,} streams", "MB", (after / 1e6,))
    yield Figure(
        f"memory of each of {number:,} streams", "KiB", ((after - before) / number / 1024,)
    )
    yield Figure("processor time of the idle serve process, no streams", "%", (idle,))
    yield Figure(f"processor time of the idle serve process, {number:,} streams", "%", (busy,))


def _idle(server: Server) -> tuple[int, float]:
    """Return bytes and the percentage of a processor, when what came before has settled."""
    time.sleep(_SETTLING_SECONDS)
    before = server.process.cpu_seconds()
    time.sleep(_IDLE_SECONDS)
    used = (server.process.cpu_seconds() - before) / _IDLE_SECONDS * 100
    return server.process.memory(), used


# -- kills -------------------------------------------------------------------------------------


def _kills(session: Session) -> Iterator[Figure]:
    created = [_kill(session) for _ in range(session.sizes.repetitions)]
    with _serving(session) as server:
        lost = tuple(_count_lost(server, keys) for keys in created)
    acknowledged = tuple(len(keys) for keys in created)
    yield Figure(f"kill -9 under {_KILLED} clients: acknowledged", "promises", acknowledged)
    yield Figure(f"kill -9 under {_KILLED} clients: lost", "promises", lost)
    if any(lost):
        raise LostError(sum(lost), sum(acknowledged))


def _kill(session: Session) -> list[str]:
    """Kill a serve process under load; return the ids whose creation was answered."""
    with _serving(session) as server:
        load = _start_load(server, clients=_KILLED, seconds=_LONGEST)
        time.sleep(1.0 + random.uniform(0.5, 1.0) * session.sizes.seconds)
        server.process.kill()
        done = load.result()
    if done.broken != _KILLED or not done.created:
        message = (
            f"{done.broken} of {_KILLED} clients were cut off, after {len(done.created)} promises"
        )
        raise RuntimeError(message)
    return done.created


def _count_lost(server: Server, keys: list[str]) -> int:
    client = Client(server.port, server.token)
    found = [client.ask(get(key)) for key in keys]
    client.close()
    return sum(status != 200 for status in found)
