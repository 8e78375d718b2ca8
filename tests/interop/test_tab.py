"""A browser tab is a worker: the official TypeScript SDK in Chromium, on a page of another origin.

Its requests pass the browser's own rules for those (CORS), with a token that opens its ids only.
"""

import http.server
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

import pytest
from playwright.sync_api import Browser, Error, Page, expect

import durable
from durable.gateway import tokens
from durable.models import Promise, Stream, Task
from tests.interop.conftest import Gateway, MakeGateway
from tests.interop.sdks import NODE, CannotInstallError, install_typescript
from tests.processes import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.once, pytest.mark.timeout(120)]

HERE = Path(__file__).parent / "tab"
TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page with the worker and the SDK in one file, as an application would ship them."""
    try:
        installed = install_typescript()
    except CannotInstallError as error:
        pytest.skip(f"the packages of the TypeScript SDK are not to be had: {error}")
    folder = tmp_path_factory.mktemp("tab")
    shutil.copy(HERE / "page.html", folder)
    modules = installed / "node_modules"
    esbuild = [str(installed / NODE), str(modules / "esbuild" / "bin" / "esbuild")]
    options = ["--bundle", "--format=esm", "--platform=browser", "--log-level=warning"]
    done = subprocess.run(
        [*esbuild, str(HERE / "worker.js"), *options, f"--outfile={folder / 'worker.js'}"],
        env=os.environ | {"NODE_PATH": str(modules)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


class Site(NamedTuple):
    """Two origins with the same page: the gateway lists one of them."""

    listed: str
    stranger: str


@pytest.fixture(scope="module")
def site(bundle: Path) -> Iterator[Site]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = bundle / urlsplit(self.path).path.lstrip("/")
            if path.suffix not in TYPES or not path.is_file():
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            self.send_response(HTTPStatus.OK)
            self.send_header("content-type", TYPES[path.suffix])
            self.end_headers()
            self.wfile.write(path.read_bytes())

        def log_message(self, *_args: Any) -> None:
            pass

    servers = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) for _ in range(2)]
    threads = [threading.Thread(target=server.serve_forever) for server in servers]
    for thread in threads:
        thread.start()
    yield Site(*(f"http://127.0.0.1:{server.server_port}" for server in servers))
    for server, thread in zip(servers, threads, strict=True):
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def gateway(make_gateway: MakeGateway, site: Site, token: str) -> Gateway:
    return make_gateway(DURABLE_CORS_ORIGINS=site.listed, DURABLE_AUTH_REQUIRED="true")


@pytest.fixture(scope="module")
def token(database: str) -> str:
    return tokens.issue("tab", prefix="tab", role="", groups=[], expires_at=None, using="default")


@pytest.fixture
def group(request: pytest.FixtureRequest) -> str:
    """A group of the test's own."""
    return f"tab-{request.node.originalname}"


@pytest.fixture
def tab(page: Page, site: Site, gateway: Gateway, token: str, group: str) -> Page:
    """The page, with a worker that listens."""
    query = urlencode({"url": gateway.url, "group": group, "token": token})
    page.goto(f"{site.listed}/page.html?{query}")
    listen(page, group)
    return page


def listen(page: Page, group: str, *, unless: str = "") -> str:
    """Wait until the page has a stream that is none of an earlier life; return its life."""
    expect(page.locator("#status")).not_to_have_text("starting")
    streams = Stream.objects.filter(queue=group).exclude(id=unless)
    wait_until(streams.exists, seconds=20, what="the stream")
    return page.locator("#status").inner_text()


def start(group: str, promise_id: str, function: str, *args: Any) -> durable.Handle:
    return durable.options(target=group).start(promise_id, function, *args)


def state(promise_id: str) -> str | None:
    return Promise.objects.filter(id=promise_id).values_list("state", flat=True).first()


def test_a_tab_runs_functions_for_others(tab: Page, group: str) -> None:
    assert start(group, "tab-1", "twice", 5).result(timeout=20) == 20
    with pytest.raises(durable.ApplicationError, match="out of toner"):
        start(group, "tab-2", "fail", "out of toner").result(timeout=20)


def test_a_tab_runs_its_own_and_calls_native_functions(tab: Page) -> None:
    assert tab.evaluate("run('tab-3', 'twice', 2)") == 8
    assert tab.evaluate("run('tab-4', 'call', 'native_add', 'native', 2, 3)") == 5
    assert Promise.objects.get(id="tab-4").started_by == "token:tab"


def test_what_it_held_goes_on_after_a_reload(tab: Page, group: str) -> None:
    """In the middle of a function: the step before is not run again."""
    handle = start(group, "tab-5", "outlive")
    wait_until(lambda: state("tab-5:0") == "resolved", seconds=20, what="the step")
    first, stream = tab.locator("#status").inner_text(), Stream.objects.get(queue=group).id
    tab.reload()
    second = listen(tab, group, unless=stream)
    assert first != second
    assert handle.result(timeout=30) == [first, second]


def test_what_it_waited_for_comes_after_a_reload(tab: Page, group: str) -> None:
    handle = start(group, "tab-6", "ask")
    suspended = Task.objects.filter(promise_id="tab-6", state="suspended")
    wait_until(suspended.exists, seconds=20, what="the wait")
    stream = Stream.objects.get(queue=group).id
    tab.reload()
    second = listen(tab, group, unless=stream)
    durable.promises.resolve("tab-6:0", "yes")
    assert handle.result(timeout=20) == [second, "yes"]


def test_a_closed_tab_leaves_its_work_to_the_next(tab: Page, chromium: Browser, group: str) -> None:
    address = tab.url
    handle = start(group, "tab-7", "outlive")
    wait_until(lambda: state("tab-7:0") == "resolved", seconds=20, what="the step")
    first, stream = tab.locator("#status").inner_text(), Stream.objects.get(queue=group).id
    tab.close()
    other = chromium.new_page()
    other.goto(address)
    second = listen(other, group, unless=stream)
    assert handle.result(timeout=30) == [first, second]
    other.close()


FETCH = """async ([url, token]) => {
  const head = {corrId: "c", version: "2026-04-01", auth: token};
  const body = JSON.stringify({kind: "promise.get", head, data: {id: "tab-none"}});
  const headers = {"Content-Type": "application/json", Authorization: `Bearer ${token}`};
  const answer = await fetch(url, {method: "POST", body, headers});
  return [answer.status, (await answer.json()).data];
}"""
POLL = """async ([url, token]) => {
  const headers = {Authorization: `Bearer ${token}`};
  const leave = new AbortController();
  const answer = await fetch(`${url}/poll/tab/x`, {headers, signal: leave.signal});
  leave.abort();
  return answer.status;
}"""


def test_a_page_that_is_not_listed_reaches_nothing(
    page: Page, site: Site, gateway: Gateway, token: str
) -> None:
    """With the same token: it is the browser that keeps the page away."""
    page.goto(f"{site.listed}/page.html?url={gateway.url}&group=tab-x&token={token}")
    assert page.evaluate(FETCH, [gateway.url, token]) == [404, "Promise not found"]
    assert page.evaluate(POLL, [gateway.url, token]) == 200
    page.goto(f"{site.stranger}/page.html?url={gateway.url}&group=tab-y&token={token}")
    for script in (FETCH, POLL):
        with pytest.raises(Error, match="Failed to fetch"):
            page.evaluate(script, [gateway.url, token])
    assert not Stream.objects.filter(queue="tab-y").exists()
