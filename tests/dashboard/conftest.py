"""What tests have in common: a mail server, who looks after executions, a clock that moves at will.

This file is read before Django is set up, and imports what needs it where it is used.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.dashboard.outside import MailServer, mail_server, mailers_of

if TYPE_CHECKING:
    from django.test import Client

    from tests.dashboard.timed import Days


@pytest.fixture
def server() -> Iterator[MailServer]:
    with mail_server() as server:
        yield server


@pytest.fixture
def mail_is_on(settings, server: MailServer) -> None:
    settings.SIGNOFF_CHANNELS = [{"channel": "mail", "from": "Signoff <signoff@example.com>"}]
    settings.SIGNOFF_BASE_URL = "https://signoff.example.com"
    settings.MAILERS = mailers_of(server)


@pytest.fixture
def viewer(db: None) -> "Client":
    """Somebody who may see executions, signed in."""
    from tests.dashboard.people import client_of, make_user

    return client_of(make_user("vera", rights=("view_executions",)))


@pytest.fixture
def days(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> "Iterator[Days]":
    """It is 7:06 of a Tuesday, in UTC."""
    from durable.store import close_store
    from tests.dashboard.timed import Days

    close_store()
    days = Days()
    monkeypatch.setattr("durable.clock.time", days)
    yield days
    days.end()
