"""System checks of the engine: the message states the problem, the hint the fix."""

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004
from django.db import DatabaseError

from durable import conf
from durable.gateway.cors import ANY
from durable.models import Token
from durable.protocol.profiles import PROFILES

_SQLITE = "django.db.backends.sqlite3"
_POSTGRESQL = "django.db.backends.postgresql"
_BEATS_IN_A_LEASE = 3


@register()
def check_database(
    app_configs: Sequence[AppConfig] | None,  # noqa: ARG001 - the framework's signature
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
    app_configs: Sequence[AppConfig] | None,  # noqa: ARG001 - the framework's signature
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


GATEWAY = "durable_gateway"
"""Tag of the checks that ``serve`` makes before it answers anybody."""


@register()
def check_gateway(
    app_configs: Sequence[AppConfig] | None,  # noqa: ARG001 - the framework's signature
    **_kwargs: Any,
) -> list[CheckMessage]:
    """Check the settings of the gateway."""
    return list(_gateway_problems()) if conf.is_gateway_on() else list(_switch_errors())


def _switch_errors() -> Iterator[CheckMessage]:
    value = getattr(settings, "DURABLE_GATEWAY", "on")
    if value not in {"on", "off", True, False}:
        yield Error(
            f"DURABLE_GATEWAY is {value!r}.",
            hint="Use 'on' or 'off'.",
            id="durable.E010",
        )


def _gateway_problems() -> Iterator[CheckMessage]:
    if problem := _find_key_problem():
        yield Error(
            f"A key of DURABLE_AUTH_PUBLIC_KEYS cannot be used: {problem}.",
            hint="Name PEM files with public keys, or give their text.",
            id="durable.E011",
        )
    if not settings.DEBUG and not conf.is_auth_required():
        yield Error(
            "DURABLE_AUTH_REQUIRED is off in production: anybody could settle any promise.",
            hint="Leave it out, and issue tokens; or set DURABLE_GATEWAY to 'off'.",
            id="durable.E012",
        )
    if conf.max_body_bytes() <= 0:
        yield Error(
            f"DURABLE_MAX_BODY_BYTES is {conf.max_body_bytes()}: no request could be read.",
            hint="Set it to a positive number of bytes; the default is 10485760.",
            id="durable.E013",
        )
    if ANY in conf.cors_origins() and not conf.is_auth_required():
        yield Warning(
            "DURABLE_CORS_ORIGINS is '*' without authentication: any web page that is open on this "
            "machine can settle promises.",
            hint="List the origins that may, or set DURABLE_AUTH_REQUIRED.",
            id="durable.W010",
        )


def _find_key_problem() -> str | None:
    if not conf.auth_public_keys():
        return None
    # cryptography takes long to load, and most processes have no keys
    from durable.gateway.auth import load_keys  # noqa: PLC0415
    from durable.gateway.tokens import InvalidKeyError  # noqa: PLC0415

    try:
        load_keys()
    except InvalidKeyError as error:
        return str(error)
    return None


@register(GATEWAY, deploy=True)
def check_gateway_is_guarded(
    app_configs: Sequence[AppConfig] | None,  # noqa: ARG001 - the framework's signature
    **_kwargs: Any,
) -> list[CheckMessage]:
    """Check that a site in production has a way in, and no way around it."""
    return list(_guard_problems()) if conf.is_gateway_on() else []


def _guard_problems() -> Iterator[CheckMessage]:
    if conf.is_auth_required() and not conf.auth_public_keys() and not _has_tokens():
        yield Error(
            "The gateway asks for tokens, and there is no key that checks them and none issued.",
            hint="Set DURABLE_AUTH_PUBLIC_KEYS, issue one with manage.py durable_token, or set "
            "DURABLE_GATEWAY to 'off'.",
            id="durable.E014",
        )
    if conf.is_debug_surface_on() and not settings.DEBUG:
        yield Warning(
            "DURABLE_DEBUG_SURFACE is on in production: an administrator's token can delete "
            "everything and set the time.",
            hint="Leave it out.",
            id="durable.W011",
        )


def _has_tokens() -> bool:
    """Whether a token was issued; also where no table says so, since there nothing is served."""
    try:
        return Token.objects.using(conf.database_alias()).filter(revoked_at=None).exists()
    except DatabaseError:
        return True
