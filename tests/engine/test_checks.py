"""System checks: each names the problem and the fix."""

import pytest
from django.core.checks import Error

from durable.checks import check_database, check_settings


def test_a_right_project_passes() -> None:
    assert check_database(None) == []
    assert check_settings(None) == []


def test_unknown_database(settings) -> None:
    settings.DURABLE_DATABASE = "elsewhere"
    assert check_database(None) == [
        Error(
            "DURABLE_DATABASE names the database 'elsewhere', which is not in DATABASES.",
            hint="Name an alias of DATABASES, or remove the setting to use 'default'.",
            id="durable.E001",
        )
    ]


@pytest.mark.parametrize(
    ("database", "expected"),
    [
        (
            {"ENGINE": "django.db.backends.mysql"},
            Error(
                "The database 'default' is neither SQLite nor PostgreSQL but "
                "django.db.backends.mysql.",
                hint="Point DURABLE_DATABASE to an SQLite or PostgreSQL database.",
                id="durable.E002",
            ),
        ),
        (
            {"ENGINE": "django.db.backends.sqlite3"},
            Error(
                "The SQLite database 'default' opens transactions in mode DEFERRED, "
                "in which two writers can fail each other.",
                hint="Set OPTIONS['transaction_mode'] = 'IMMEDIATE'.",
                id="durable.E003",
            ),
        ),
    ],
)
def test_unsuitable_database(monkeypatch, settings, database, expected) -> None:
    monkeypatch.setitem(settings.DATABASES, "default", database)
    assert check_database(None) == [expected]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (
            "DURABLE_PROFILE",
            "loose",
            Error(
                "DURABLE_PROFILE is 'loose', which is no profile.",
                hint="Use one of: compat, strict.",
                id="durable.E004",
            ),
        ),
        (
            "DURABLE_RETRY_TIMEOUT_MS",
            0,
            Error(
                "DURABLE_RETRY_TIMEOUT_MS is 0: a task nobody took would be offered for ever.",
                hint="Set it to a positive number of milliseconds; the default is 5000.",
                id="durable.E005",
            ),
        ),
        (
            "DURABLE_LEASE_MS",
            5000,
            Error(
                "DURABLE_HEARTBEAT_MS is 3000, DURABLE_LEASE_MS 5000: "
                "one missed heartbeat could cost a lease.",
                hint="Make the lease at least three heartbeats long.",
                id="durable.E006",
            ),
        ),
    ],
)
def test_wrong_setting(settings, name, value, expected) -> None:
    setattr(settings, name, value)
    assert check_settings(None) == [expected]
