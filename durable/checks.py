"""System checks of the engine: the message states the problem, the hint the fix."""

from collections.abc import Iterator
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from durable import conf
from durable.protocol.profiles import PROFILES

_SQLITE = "django.db.backends.sqlite3"
_POSTGRESQL = "django.db.backends.postgresql"
_BEATS_IN_A_LEASE = 3


@register()
def check_database(
    app_configs: list[AppConfig] | None,  # noqa: ARG001 - the framework's signature
    **_kwargs: Any,
) -> list[CheckMessage]:
    """Check that the tables' database can serve the store."""
    return list(_database_errors())


def _database_errors() -> Iterator[CheckMessage]:
    alias = conf.database_alias()
    if alias not in settings.DATABASES:
        yield Error(
            f"DURABLE_DATABASE names the database {alias!r}, which is not in DATABASES.",
            hint="Name an alias of DATABASES, or remove the setting to use 'default'.",
            id="durable.E001",
        )
        return
    database = settings.DATABASES[alias]
    engine = database["ENGINE"]
    if engine not in {_SQLITE, _POSTGRESQL}:
        yield Error(
            f"The database {alias!r} is neither SQLite nor PostgreSQL but {engine}.",
            hint="Point DURABLE_DATABASE to an SQLite or PostgreSQL database.",
            id="durable.E002",
        )
    if engine == _SQLITE:
        mode = database.get("OPTIONS", {}).get("transaction_mode")
        if mode not in {"IMMEDIATE", "EXCLUSIVE"}:
            yield Error(
                f"The SQLite database {alias!r} opens transactions in mode {mode or 'DEFERRED'}, "
                "in which two writers can fail each other.",
                hint="Set OPTIONS['transaction_mode'] = 'IMMEDIATE'.",
                id="durable.E003",
            )


@register()
def check_settings(
    app_configs: list[AppConfig] | None,  # noqa: ARG001 - the framework's signature
    **_kwargs: Any,
) -> list[CheckMessage]:
    """Check the engine's own settings."""
    return list(_setting_errors())


def _setting_errors() -> Iterator[CheckMessage]:
    profile = getattr(settings, "DURABLE_PROFILE", "compat")
    if profile not in PROFILES:
        yield Error(
            f"DURABLE_PROFILE is {profile!r}, which is no profile.",
            hint=f"Use one of: {', '.join(PROFILES)}.",
            id="durable.E004",
        )
    retry = getattr(settings, "DURABLE_RETRY_TIMEOUT_MS", 5000)
    if retry <= 0:
        yield Error(
            f"DURABLE_RETRY_TIMEOUT_MS is {retry}: a task nobody took would be offered for ever.",
            hint="Set it to a positive number of milliseconds; the default is 5000.",
            id="durable.E005",
        )
    if conf.heartbeat_ms() * _BEATS_IN_A_LEASE > conf.lease_ms():
        yield Error(
            f"DURABLE_HEARTBEAT_MS is {conf.heartbeat_ms()}, DURABLE_LEASE_MS {conf.lease_ms()}: "
            "one missed heartbeat could cost a lease.",
            hint="Make the lease at least three heartbeats long.",
            id="durable.E006",
        )
