import asyncio
import re
import time
from contextlib import asynccontextmanager

import pytest
from asgiref.testing import ApplicationCommunicator
from django.contrib.auth.models import AnonymousUser
from django.db import connections
from django.test import Client

from dashboard import streams, versions
from dashboard.streams import LiveConsumer
from durable.clock import now_ms
from durable.signals import stopping
from tests.dashboard import factories
from tests.dashboard.factories import ask, pass_time, running, start, step, suspend
from tests.dashboard.people import ask as ask_alone
from tests.dashboard.people import make_user

pytestmark = pytest.mark.django_db(transaction=True)

SOON_S = 10


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    """Debounce and pauses of a hundredth of what they are."""
    monkeypatch.setattr(streams, "DEBOUNCE_S", 0.01)
    monkeypatch.setattr(streams, "QUIET_S", 0.05)
    monkeypatch.setattr(streams, "WATCH_S", 0.05)
    fresh = streams.Hub()
    monkeypatch.setattr(streams, "hub", fresh)
    yield fresh
    fresh.stop()
    if (watcher := fresh.watcher) is not None:
        watcher.join(SOON_S)


@pytest.fixture
def viewer():
    return make_user("vera", rights=("view_executions",))


class Stream:
    """One open event stream, as a browser sees it."""

    def __init__(self, communicator):
        self._communicator = communicator
        self.text = ""

    async def read(self):
        """Read one part; False at the end."""
        message = await self._communicator.receive_output(SOON_S)
        self.text += message.get("body", b"").decode()
        return message.get("more_body", False)

    async def until(self, *events):
        """Read until all of the events came."""
        async with asyncio.timeout(SOON_S):
            while not set(events) <= set(self.events):
                assert await self.read(), "the stream ended"

    async def to_the_end(self):
        while await self.read():
            pass

    async def is_silent(self, seconds=0.3):
        return await self._communicator.receive_nothing(seconds)

    @property
    def events(self):
        return re.findall(r"^event: (\w+)\ndata: \{\}\n\n", self.text, re.MULTILINE)


@asynccontextmanager
async def opened(user, query="", *, method="GET", since=None):
    since = now_ms() if since is None else since
    scope = {
        "type": "http",
        "method": method,
        "path": "/live/",
        "query_string": f"since={since}&{query}".encode(),
        "headers": [],
        "user": user,
    }
    communicator = ApplicationCommunicator(LiveConsumer.as_asgi(), scope)
    await communicator.send_input({"type": "http.request", "body": b""})
    try:
        start = await communicator.receive_output(SOON_S)
        yield start, Stream(communicator)
    finally:
        await communicator.send_input({"type": "http.disconnect"})
        await communicator.wait(SOON_S)


@asynccontextmanager
async def following(user, query=""):
    """Open a stream and wait until it listens."""
    async with opened(user, query, since=0) as (start, stream):
        assert start["status"] == 200
        await stream.until("inbox")
        await asyncio.sleep(0.1)
        while not await stream.is_silent(0.1):
            await stream.read()
        stream.text = ""
        yield stream


async def elsewhere(function, *args, **options):
    """Do something to the database in another thread, as another request would."""

    def act():
        try:
            return function(*args, **options)
        finally:
            connections.close_all()

    return await asyncio.to_thread(act)


@pytest.mark.asyncio
async def test_stream_has_the_right_headers(viewer):
    async with opened(viewer) as (start, _):
        assert start["status"] == 200
        assert dict(start["headers"]) == {
            b"content-type": b"text/event-stream",
            b"cache-control": b"no-store",
            b"x-accel-buffering": b"no",
        }


@pytest.mark.asyncio
@pytest.mark.parametrize("method", ["POST", "HEAD", "DELETE"])
async def test_only_get(viewer, method):
    async with opened(viewer, method=method) as (start, _):
        assert start["status"] == 405


@pytest.mark.asyncio
async def test_nobody_gets_no_stream(viewer):
    viewer.is_active = False
    for user in (AnonymousUser(), viewer):
        async with opened(user) as (start, _):
            assert start["status"] == 403


@pytest.mark.asyncio
async def test_new_question_is_told(viewer):
    async with following(viewer) as stream:
        await elsewhere(ask_alone, "question-1", users=["vera"])
        await stream.until("inbox", "executions")

    assert "question-1" not in stream.text


@pytest.mark.asyncio
async def test_without_the_right_one_hears_of_the_inbox_only():
    user = await elsewhere(make_user, "jon")
    async with following(user, "execution=order-1") as stream:
        await elsewhere(running, "order-1")
        await elsewhere(ask, "order-1", "order-1:1", "Ship?", users=["jon"])
        await stream.until("inbox")
        await stream.is_silent()

    assert set(stream.events) == {"inbox"}


@pytest.mark.asyncio
async def test_watched_execution_is_told_of_though_nobody_is_woken(viewer):
    await elsewhere(running, "order-1")
    async with following(viewer, "execution=order-1") as stream:
        await elsewhere(step, "order-1", "order-1:1")
        await stream.until("execution")


@pytest.mark.asyncio
async def test_other_executions_are_not_told_of(viewer):
    await elsewhere(running, "order-1")
    await elsewhere(running, "order-2")
    async with following(viewer, "execution=order-2") as stream:
        await elsewhere(step, "order-1", "order-1:1")
        await asyncio.sleep(0.3)
        while not await stream.is_silent(0.05):
            await stream.read()

    assert "execution" not in stream.events


@pytest.mark.asyncio
async def test_page_made_before_a_change_hears_of_it_at_once(viewer):
    async with following(viewer):
        made_at = now_ms()
        await elsewhere(pass_time)
        async with following(viewer) as other:
            await elsewhere(ask_alone, "question-1", users=["vera"])
            await other.until("inbox")
        async with opened(viewer, since=made_at) as (_, late):
            await late.until("inbox")


@pytest.mark.asyncio
async def test_page_made_just_now_hears_of_nothing(viewer):
    async with following(viewer):
        await elsewhere(pass_time)
        async with opened(viewer) as (_, stream):
            await stream.read()
            assert await stream.is_silent()


@pytest.mark.asyncio
async def test_burst_is_one_event(viewer, monkeypatch):
    async with following(viewer) as stream:
        monkeypatch.setattr(streams, "DEBOUNCE_S", 0.5)
        for number in range(5):
            await elsewhere(ask_alone, f"question-{number}", users=["vera"])
        await stream.until("inbox")

        assert stream.events.count("inbox") <= 2


@pytest.mark.asyncio
async def test_quiet_stream_is_kept_alive(viewer, monkeypatch):
    monkeypatch.setattr(streams, "KEEPALIVE_S", 0.05)
    async with opened(viewer) as (_, stream):
        async with asyncio.timeout(SOON_S):
            while stream.text.count(":\n\n") < 4:
                assert await stream.read()


@pytest.mark.asyncio
async def test_old_stream_ends_so_that_the_browser_comes_back(viewer, monkeypatch):
    monkeypatch.setattr(streams, "ROTATION_S", 0.2)
    async with opened(viewer) as (_, stream):
        await stream.to_the_end()


@pytest.mark.asyncio
async def test_shutdown_ends_streams_at_once_and_lets_none_begin(viewer):
    async with following(viewer) as stream:
        began = time.monotonic()
        stopping.send(None)
        await stream.to_the_end()
        assert time.monotonic() - began < 1
    async with opened(viewer) as (start, _):
        assert start["status"] == 503

    streams.hub.resume()
    async with opened(viewer) as (start, _):
        assert start["status"] == 200


@pytest.mark.asyncio
async def test_nothing_is_compared_when_nobody_watches(viewer, fast):
    await elsewhere(running, "order-1")
    async with following(viewer, "execution=order-1"):
        assert fast.watcher is not None
    async with asyncio.timeout(SOON_S):
        while fast.watcher is not None:  # noqa: ASYNC110 - a thread ends; nothing announces it
            await asyncio.sleep(0.02)


@pytest.mark.asyncio
async def test_whole_site_serves_streams_beside_pages(viewer):
    from dashboard.project.asgi import application

    client = Client()
    await elsewhere(client.force_login, viewer)
    cookie = f"sessionid={client.cookies['sessionid'].value}".encode()

    async def ask_for(path, headers):
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(b"host", b"localhost"), *headers],
            "server": ("localhost", 80),
        }
        communicator = ApplicationCommunicator(application, scope)
        await communicator.send_input({"type": "http.request", "body": b""})
        start = await communicator.receive_output(SOON_S)
        [content_type] = [
            value for name, value in start["headers"] if name.lower() == b"content-type"
        ]
        await communicator.send_input({"type": "http.disconnect"})
        await communicator.wait(SOON_S)
        return start["status"], content_type.partition(b";")[0]

    assert await ask_for("/live/", [(b"cookie", cookie)]) == (200, b"text/event-stream")
    assert await ask_for("/live/", []) == (403, b"text/plain")
    assert await ask_for("/accounts/login/", []) == (200, b"text/html")


# --- Versions ---


def version(execution_id="order-1"):
    return versions.read_versions({execution_id})[execution_id]


def test_version_differs_with_everything_that_a_page_shows():
    seen = []

    def note():
        seen.append(version())

    start("order-1")
    note()
    factories.acquire("order-1")
    note()
    worker = factories.add_worker(running=[factories.run_of("order-1", "order-1:1", "charge")])
    note()
    worker.running[0]["attempt"] = 2
    worker.save()
    note()
    step("order-1", "order-1:1")
    note()
    ask("order-1", "order-1:2")
    note()
    suspend("order-1", "order-1:2")
    note()
    factories.settle("order-1:2")
    note()
    factories.acquire("order-1", version=1)
    note()
    factories.release("order-1", version=2, stuck="why")
    note()
    factories.finish(factories.acquire("order-1", version=2), version=3)
    note()

    assert len(set(seen)) == len(seen)
    assert version() == seen[-1]


def test_version_differs_when_a_deadline_passes():
    start("order-1", timeout_at=now_ms() + 300)
    before = version()
    pass_time(now_ms() + 301)

    assert version() != before


def test_versions_of_many_take_as_many_queries_as_of_one(django_assert_num_queries):
    for number in range(5):
        running(f"order-{number}")
    with django_assert_num_queries(3):
        found = versions.read_versions({f"order-{number}" for number in range(9)})

    assert set(found) == {f"order-{number}" for number in range(5)}


def test_the_hub_of_the_process_is_one():
    assert not streams.hub.is_stopped
