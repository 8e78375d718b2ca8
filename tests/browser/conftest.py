"""A real server and a real browser.

The server is ours (uvicorn, as in production): pytest-django's live server is WSGI and would hang
on an event stream. The browser is Debian's Chromium.
"""

import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserType, Playwright, sync_playwright

HERE = Path(__file__).parent
CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
START_TIMEOUT_S = 10


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker("browser")
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(60))


@dataclass(frozen=True)
class LiveServer:
    url: str

    def __str__(self) -> str:
        return self.url


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


@pytest.fixture
def live_server_asgi(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[LiveServer]:
    """The whole site on a free port of this machine, over the test database."""
    from dashboard import streams
    from dashboard.project.asgi import application

    monkeypatch.setattr(streams, "hub", streams.Hub())
    config = uvicorn.Config(
        application, lifespan="off", log_level="warning", timeout_graceful_shutdown=1
    )
    server = _Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],), name="live-server")
        thread.start()
        try:
            assert server.ready.wait(START_TIMEOUT_S), "the server did not start"
            yield LiveServer(f"http://127.0.0.1:{listener.getsockname()[1]}")
        finally:
            streams.stop_streams()
            server.should_exit = True
            thread.join(START_TIMEOUT_S)
            assert not thread.is_alive(), "the server did not stop"


# pytest-playwright keeps its event loop for the whole session, and while it exists nothing else in
# this thread may run one: no async test and no async middleware. So it lives as long as this
# package's tests do, and what hangs on it has to follow.


@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    if shutil.which("chromium") is None:
        pytest.skip("Chromium is not on the PATH. Install it with: make setup-browser")
    with sync_playwright() as running, pytest.MonkeyPatch.context() as patch:
        # The loop sleeps while a test runs, so Django's calls cannot block it.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        yield running


@pytest.fixture(scope="package")
def browser_type(playwright: Playwright) -> BrowserType:
    return playwright.chromium


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    return browser_type_launch_args | {
        "executable_path": shutil.which("chromium"),
        "args": CHROMIUM_ARGS,
    }


@pytest.fixture(scope="package")
def launch_browser(
    browser_type: BrowserType, browser_type_launch_args: dict[str, Any]
) -> Callable[..., Browser]:
    def launch(**options: Any) -> Browser:
        return browser_type.launch(**browser_type_launch_args | options)

    return launch


@pytest.fixture(scope="package")
def browser(launch_browser: Callable[..., Browser]) -> Iterator[Browser]:
    browser = launch_browser()
    yield browser
    browser.close()


@pytest.fixture(scope="package")
def browser_context_args() -> dict[str, Any]:
    return {"locale": "en-GB", "timezone_id": "UTC", "viewport": {"width": 1280, "height": 800}}


@pytest.fixture(scope="session")
def axe_script() -> str:
    """axe-core, for ``add_init_script``, which the page's CSP does not bind."""
    return (HERE / "vendor" / "axe.min.js").read_text()
