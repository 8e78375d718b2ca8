"""Event streams as clients see them: framing, rotation, who gets which message, and when."""

import asyncio
import logging
import random
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

import pytest
from django.db import DatabaseError, connection

from durable import signals
from durable.delivery import streams
from durable.delivery.dispatcher import Dispatcher
from durable.delivery.presence import Presence
from durable.delivery.streams import hub
from durable.gateway import consumers
from durable.models import OutboxMessage, Stream
from durable.protocol.requests import (
    PromiseCreate,
    PromiseRegisterListener,
    PromiseSettle,
    TaskAcquire,
    TaskRelease,
)
from durable.protocol.states import PromiseState
from durable.store import get_store
from tests.processes import wait_until
from tests.store.support import execute

NEVER = 2**52
EXTERNAL = {"resonate:external": "true"}


@contextmanager
def open_streams(*workers: str) -> Iterator[list[streams.Stream]]:
    """Hold streams as the event loop does, with nobody who reads them."""

    async def make() -> list[streams.Stream]:
        return [streams.Stream("g", one, size=10, on_room=lambda: None) for one in workers]

    opened = asyncio.run(make())
    for one in opened:
        hub.add(one)
    try:
        yield opened
    finally:
        for one in opened:
            hub.remove(one, is_clean=False)


@contextmanager
def refused_inserts(table: str) -> Iterator[None]:
    """Let the database refuse new rows of a table."""
    trigger = f"create trigger refuse before insert on {table}"
    if connection.vendor == "postgresql":
        raises = "$$ begin raise exception 'not now'; end $$"
        made = [
            f"create function refuse() returns trigger language plpgsql as {raises}",
            f"{trigger} for each row execute function refuse()",
        ]
        undone = [f"drop trigger refuse on {table}", "drop function refuse()"]
    else:
        made = [f"{trigger} begin select raise(abort, 'not now'); end"]
        undone = ["drop trigger refuse"]
    for statement in made:
        execute(statement)
    try:
        yield
    finally:
        for statement in undone:
            execute(statement)


def create(promise_id: str, target: str = "poll://any@g", **tags: str) -> None:
    get_store().run(PromiseCreate(promise_id, NEVER, tags={"resonate:target": target, **tags}))


def settle_for(promise_id: str, address: str) -> None:
    get_store().run(
        PromiseCreate(promise_id, NEVER, tags=EXTERNAL),
        PromiseRegisterListener(promise_id, address),
    )
    get_store().run(PromiseSettle(promise_id, PromiseState.RESOLVED))


def task_id(message: dict) -> str:
    assert message["kind"] == "execute"
    return message["data"]["task"]["id"]


def promise_id(message: dict) -> str:
    assert message["kind"] == "unblock"
    return message["data"]["promise"]["id"]


# -- framing -----------------------------------------------------------------------------------


def test_a_stream_is_plain_server_sent_events(connect, settings) -> None:
    settings.DURABLE_SERVER_URL = "http://here:8001"
    client = connect("g", "w")
    headers = client.response.headers
    assert headers["content-type"] == "text/event-stream"
    assert headers["cache-control"] == "no-cache"
    assert headers["x-accel-buffering"] == "no"
    create("naïve-☃-😀")
    assert client.next() == {
        "kind": "execute",
        "head": {"serverUrl": "http://here:8001"},
        "data": {"task": {"id": "naïve-☃-😀", "version": 0}},
    }
    assert client.raw.isascii()
    assert b"\r" not in client.raw
    assert client.raw.startswith(b": keepalive\n\ndata: {")


def test_comments_keep_a_quiet_stream_open(connect, monkeypatch) -> None:
    monkeypatch.setattr(consumers, "KEEPALIVE_SECONDS", 0.1)
    client = connect("g", "w")
    wait_until(lambda: client.comments >= 3, seconds=5, what="comments")


def test_a_stream_ends_cleanly_when_it_is_old(connect, settings) -> None:
    settings.DURABLE_SSE_ROTATION_SECONDS = 0.3
    client = connect("g", "w")
    assert client.is_ended.wait(5)
    wait_until(lambda: len(hub) == 0, seconds=5, what="no stream")
    wait_until(lambda: not Stream.objects.exists(), seconds=5, what="no row")


def test_streams_end_when_the_process_stops(connect) -> None:
    signals.stopping.connect(hub.stop)
    try:
        client = connect("g", "w")
        signals.stopping.send(None)
        assert client.is_ended.wait(5)
        assert connect("g", "w").response.status == 503
    finally:
        signals.stopping.disconnect(hub.stop)


def test_names_are_percent_decoded(connect) -> None:
    client = connect(path="//poll/a%2Fb%20c/%C3%A9")
    create("there", "poll://any@a%2Fb%20c")
    assert task_id(client.next()) == "there"
    settle_for("done", "poll://uni@a%2Fb%20c/%C3%A9")
    assert promise_id(client.next()) == "done"


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/poll/g", 404, "Not found"),
        ("/poll/g/", 404, "Not found"),
        ("/poll/g/w/x", 404, "Not found"),
        ("/poll/g/%ff", 404, "Not found"),
        ("/poll/g/%00", 404, "Not found"),
    ],
)
def test_other_paths_are_refused(connect, path, status, text) -> None:
    response = connect(path=path).response
    assert (response.status, response.read().decode()) == (status, text)


def test_the_longest_names_fit_into_their_index(connect, caplog) -> None:
    """No database compresses these."""
    dice = random.Random(5)
    group, worker = (  # the group's address has to fit, too
        "".join(chr(dice.randrange(0x20000, 0x2A000)) for _ in range(size)) for size in (253, 256)
    )
    client = connect(quote(group), quote(worker))
    wait_until(lambda: Stream.objects.filter(worker=worker).exists(), seconds=5, what="its row")
    create("t", f"poll://any@{group}")
    assert task_id(client.next()) == "t"
    for path in (f"{worker * 2}/{worker * 2}", f"{group}/{worker}x"):
        assert connect(path=f"/poll/{quote(path)}").response.status == 404
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


PIECES = [
    b"g", b"%00", b"%ff", b"%C3%A9", b"%F0%9F%98%80", b"%ED%A0%80", b"%2F", b"/", b"//", b"..",
    b"%", b"%zz", b"?", b"?token=x", b"#", b"'", b'"', b"%0d%0a", b"\xff", b"\xc3\xa9", b" ", b"\t",
    b"x" * 600, b"%25", b"~", b"@", b":", b";", b"&", b"+", b"\\",
]  # fmt: skip
HEADERS = [
    b"", b"Authorization: Bearer x\r\n", b"Authorization: \xff\r\n", b"Origin: null\r\n",
    b"Origin: http://[\r\n", b"Last-Event-ID: \xe2\x98\x83\r\n", b"Content-Length: 5\r\n\r\nabcde",
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"Accept: */*\r\nAccept: x\r\n",
    b"Upgrade: websocket\r\n",
]  # fmt: skip


@pytest.mark.parametrize("seed", range(2))
def test_hostile_paths_and_headers_are_no_faults(connect, caplog, seed: int) -> None:
    """Whatever it is, it is a stream or refused; the dispatcher can live with it."""
    dice = random.Random(seed)
    good = connect("good", "w")
    port = good._connection.port
    statuses = set()
    for _ in range(150):
        path = b"".join(dice.choices(PIECES, k=dice.randrange(5)))
        path = dice.choice([b"/poll/", b"//poll/g/", b"/poll/g/", b"/poll"]) + path
        method = dice.choice([b"GET", b"GET", b"GET", b"POST", b"OPTIONS", b"HEAD", b"BREW"])
        request = method + b" " + path + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(request + dice.choice(HEADERS) + b"\r\n")
            statuses.add(int(client.makefile("rb").readline().split()[1]))
    assert statuses <= {200, 204, 400, 403, 404, 405}
    assert {200, 204, 400, 404, 405} <= statuses
    wait_until(lambda: len(hub) == 1, seconds=10, what="the end of the others")
    create("after", "poll://any@good")
    assert task_id(good.next()) == "after"
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


def test_there_is_a_limit(connect, settings) -> None:
    settings.DURABLE_SSE_MAX_STREAMS = 1
    connect("g", "w")
    wait_until(lambda: len(hub) == 1, seconds=5, what="the stream")
    response = connect("g", "v").response
    assert (response.status, response.read()) == (503, b"Poll registration at capacity")


def test_a_foreign_page_is_refused(connect) -> None:
    assert connect("g", "w", headers={"Origin": "http://evil.example"}).response.status == 403


def test_without_a_token_there_is_no_stream(connect, settings) -> None:
    from durable.gateway.auth import get_access

    settings.DURABLE_AUTH_REQUIRED = True
    get_access.cache_clear()
    response = connect("g", "w").response
    assert (response.status, response.read()) == (401, b"Unauthorized")


# -- routing -----------------------------------------------------------------------------------


def test_any_reaches_one_of_the_group(connect) -> None:
    one, two, other = connect("g", "1"), connect("g", "2"), connect("other", "1")
    wait_until(lambda: len(hub) == 3, seconds=5, what="three streams")
    for n in range(20):
        create(f"t{n}")
    received = {"one": [], "two": []}
    deadline = time.monotonic() + 10
    while sum(map(len, received.values())) < 20 and time.monotonic() < deadline:
        for name, client in (("one", one), ("two", two)):
            if not client._events.empty():
                received[name].append(task_id(client.next()))
    assert sorted(received["one"] + received["two"]) == sorted(f"t{n}" for n in range(20))
    assert received["one"]
    assert received["two"]
    assert other.is_quiet(0.1)


def test_any_with_an_id_prefers_it_and_falls_back(connect) -> None:
    one, two = connect("g", "1"), connect("g", "2")
    wait_until(lambda: len(hub) == 2, seconds=5, what="two streams")
    for n in range(5):
        create(f"a{n}", "poll://any@g/2")
        assert task_id(two.next()) == f"a{n}"
    two.close()
    wait_until(lambda: len(hub) == 1, seconds=5, what="one stream")
    create("b", "poll://any@g/2")
    assert task_id(one.next()) == "b"


def test_uni_reaches_nobody_else(connect) -> None:
    one = connect("g", "1")
    settle_for("p", "poll://uni@g/2")
    assert one.is_quiet()
    assert promise_id(connect("g", "2").next()) == "p"


def test_the_newest_stream_of_an_id_wins(connect) -> None:
    old = connect("g", "w")
    wait_until(lambda: len(hub) == 1, seconds=5, what="one stream")
    new = connect("g", "w")
    wait_until(lambda: len(hub) == 2, seconds=5, what="two streams")
    settle_for("p", "poll://uni@g/w")
    create("t")
    assert {new.next()["kind"], new.next()["kind"]} == {"execute", "unblock"}
    assert old.is_quiet(0.1)
    wait_until(lambda: not OutboxMessage.objects.exists(), seconds=5, what="an empty outbox")
    new.close()
    wait_until(lambda: len(hub) == 1, seconds=5, what="one stream")
    settle_for("q", "poll://uni@g/w")
    assert promise_id(old.next()) == "q"


def test_a_stream_that_is_open_before_the_first_beat_is_recorded(transactional_db: None) -> None:
    with open_streams("one") as [stream]:
        dispatcher = Dispatcher(get_store(), hub)
        dispatcher.run_once()
        assert [row.id for row in Stream.objects.all()] == [stream.id]


def test_a_stream_that_opens_during_a_beat_is_recorded_once(transactional_db: None) -> None:
    """It is among the streams, but not yet among those that a pass has seen to come."""
    presence = Presence("default")
    with open_streams("old", "new") as [old, new]:
        assert presence.beat()
        presence.record([old], [])
        presence.restore([old, new])
        assert [row.id for row in Stream.objects.all()] == [old.id]
        presence.record([new], [])
        presence.record([new], [])
        assert {row.id for row in Stream.objects.all()} == {old.id, new.id}


def test_a_row_that_others_removed_comes_back(transactional_db: None) -> None:
    presence = Presence("default")
    with open_streams("one") as [stream]:
        presence.beat()
        presence.record([stream], [])
        Stream.objects.all().delete()
        presence.restore([stream])
        assert [row.id for row in Stream.objects.all()] == [stream.id]


def test_what_a_failed_pass_left_undone_is_done_by_the_next(transactional_db: None) -> None:
    dispatcher = Dispatcher(get_store(), hub)
    dispatcher.run_once()
    with open_streams("one") as [stream]:
        with refused_inserts("durable_stream"), pytest.raises(DatabaseError, match="not now"):
            dispatcher.run_once()
        assert not Stream.objects.exists()
        dispatcher.run_once()
        assert [row.id for row in Stream.objects.all()] == [stream.id]


def test_a_listener_may_name_anybody_of_a_group(connect) -> None:
    settle_for("p", "poll://any@g")
    assert promise_id(connect("g", "w").next()) == "p"
    wait_until(lambda: not OutboxMessage.objects.exists(), seconds=5, what="an empty outbox")


# -- when --------------------------------------------------------------------------------------


def test_messages_wait_for_their_stream_and_go_once(connect) -> None:
    settle_for("p", "poll://uni@g/w")
    client = connect("g", "w")
    assert promise_id(client.next()) == "p"
    wait_until(lambda: not OutboxMessage.objects.exists(), seconds=5, what="an empty outbox")
    assert client.is_quiet()


def test_a_message_to_a_stream_that_broke_comes_again(connect) -> None:
    client = connect("g", "w")
    wait_until(lambda: len(hub) == 1, seconds=5, what="the stream")
    stream = hub.find("g", "w")
    assert stream is not None
    settle_for("p", "poll://uni@g/w")
    assert promise_id(client.next()) == "p"
    client.close()  # at once: nobody knows what it has read
    wait_until(lambda: len(hub) == 0, seconds=5, what="no stream")
    if stream.in_flight:
        assert promise_id(connect("g", "w").next()) == "p"


def test_a_worker_that_comes_gets_what_waits(connect) -> None:
    for n in range(3):
        create(f"t{n}")
    client = connect("g", "w")
    assert sorted(task_id(client.next()) for _ in range(3)) == ["t0", "t1", "t2"]


def test_a_worker_that_comes_gets_what_another_left(connect) -> None:
    first = connect("g", "1")
    create("t")
    assert task_id(first.next()) == "t"
    first.close()
    wait_until(lambda: len(hub) == 0, seconds=5, what="no stream")
    started = time.monotonic()
    assert task_id(connect("g", "2").next()) == "t"
    assert time.monotonic() - started < 2  # the retry timeout is five seconds


def test_a_task_that_nobody_takes_is_offered_again(settings, connect) -> None:
    settings.DURABLE_RETRY_TIMEOUT_MS = 300
    get_store().config = type(get_store().config)(retry_timeout=300)
    client = connect("g", "w")
    create("t")
    assert [task_id(client.next(5)) for _ in range(3)] == ["t"] * 3
    get_store().run(TaskAcquire("t", 0, "w", 60_000))
    time.sleep(0.35)
    while not client.is_quiet(0.5):  # what was under way
        pass
    assert client.is_quiet(0.7)


def test_a_delayed_task_is_offered_in_time(connect) -> None:
    client = connect("g", "w")
    at = int(time.time() * 1000) + 700
    create("t", "poll://any@g", **{"resonate:delay": str(at)})
    assert task_id(client.next()) == "t"
    assert 0 <= time.time() * 1000 - at < 500


def test_released_again_and_again_a_task_rests(connect) -> None:
    """At once the first time; later after a pause that grows."""
    client = connect("g", "w")
    create("t")
    gaps = []
    for version in range(4):
        assert client.next()["data"]["task"]["version"] == version
        get_store().run(TaskAcquire("t", version, "w", 60_000))
        get_store().run(TaskRelease("t", version + 1))
        started = time.monotonic()
        wait_until(lambda: not client._events.empty(), seconds=10, what="the next offer")
        gaps.append(time.monotonic() - started)
    assert gaps[0] < 0.8
    assert gaps[1] < 0.8
    assert gaps[2] >= 0.9
    assert gaps[3] >= 1.9


def test_a_client_that_does_not_read_is_cut(connect, settings, monkeypatch) -> None:
    monkeypatch.setattr(streams, "SLOW_SECONDS", 0.2)
    settings.DURABLE_SSE_BUFFER = 5
    client = connect("g", "w")
    wait_until(lambda: len(hub) == 1, seconds=5, what="the stream")
    [stream] = hub.streams()
    monkeypatch.setattr(stream, "take", list)  # as if the connection took nothing
    for n in range(8):
        settle_for(f"p{n}", "poll://uni@g/w")
    wait_until(lambda: len(hub) == 0, seconds=10, what="no stream")
    again = connect("g", "w")
    assert sorted(promise_id(again.next()) for _ in range(8)) == [f"p{n}" for n in range(8)]
    assert client.is_quiet(0.1)
