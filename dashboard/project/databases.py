"""From a database URL to Django's settings for it, with the options production needs.

The test suite builds its databases here too, so that it runs with the same options.
"""

from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from environ import Env

SQLITE = "django.db.backends.sqlite3"
POSTGRESQL = "django.db.backends.postgresql"

# IMMEDIATE takes the write lock when a transaction begins: a deferred transaction that reads first
# and writes later fails at once, whatever the timeout, when another process wrote in between.
SQLITE_OPTIONS = {
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    "init_command": ("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;"),
}

# Django switches prepared statements off. Behind a proxy that pools transactions add
# ?prepare_threshold=none to the URL.
POSTGRESQL_OPTIONS = {"prepare_threshold": 5}


def database_from_url(url: str, *, base_dir: Path) -> dict[str, Any]:
    """Parse ``sqlite:///path`` or ``postgresql://user:password@host/name?option=value``.

    A relative SQLite path is below ``base_dir``. Options in the URL win over ours.
    """
    scheme = url.partition(":")[0]
    match scheme:
        case "sqlite":
            return _sqlite(Env.db_url_config(url), base_dir)
        case "postgres" | "postgresql" | "pgsql":
            return _postgresql(Env.db_url_config(url))
        case _:
            msg = (
                f"DATABASE_URL begins with {scheme!r}. "
                "Use sqlite:///path/to/file or postgresql://user:password@host/name."
            )
            raise ImproperlyConfigured(msg)


def _sqlite(config: dict[str, Any], base_dir: Path) -> dict[str, Any]:
    if config["NAME"] == ":memory:":
        msg = (
            "DATABASE_URL names an in-memory SQLite database, which threads and processes "
            "cannot share. Use a file: sqlite:///path/to/file."
        )
        raise ImproperlyConfigured(msg)
    return {
        "ENGINE": SQLITE,
        "NAME": str(base_dir / config["NAME"]),
        "OPTIONS": SQLITE_OPTIONS | _options(config),
    }


def _postgresql(config: dict[str, Any]) -> dict[str, Any]:
    options = POSTGRESQL_OPTIONS | _options(config)
    # A socket folder cannot stand where the host does in a URL, so it comes as an option.
    host = options.pop("host", config["HOST"])
    port = options.pop("port", config["PORT"])
    # A connection is kept as long as its thread lives: the engine's threads live as long as the
    # process. Short-lived request threads use close_request_connections.
    persistence = {"CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True}
    given = {key: config[key] for key in persistence if key in config}
    return {
        "ENGINE": POSTGRESQL,
        "NAME": config["NAME"],
        "USER": config["USER"],
        "PASSWORD": config["PASSWORD"],
        "HOST": host,
        "PORT": port,
        "OPTIONS": options,
        **persistence,
        **given,
    }


def _options(config: dict[str, Any]) -> dict[str, Any]:
    given: dict[str, Any] = config.get("OPTIONS", {})
    return {key: None if value == "none" else value for key, value in given.items()}


def close_request_connections(**_: object) -> None:
    """Close this thread's connections; a receiver of ``request_finished`` under ASGI.

    Django runs each ASGI request in a thread of its own, so a connection kept for the next
    request would never be used again and stay open until the garbage collector finds it.
    """
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:  # one that is belongs to a test around the request
            connection.close()
