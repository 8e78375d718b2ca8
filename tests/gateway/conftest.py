"""Gateways on a database whose commits are real, asked through either way in.

pytest may load this file before Django's settings are chosen, so models are imported late.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections
from pytest_django import DjangoDbBlocker

if TYPE_CHECKING:
    from tests.gateway.clients import MakeClient

WAYS_IN = ("asgi", "view")


@pytest.fixture
def transactional_db(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """The test database, with commits; emptied afterwards."""
    from durable.gateway.executor import executor
    from tests.store.support import wipe

    with django_db_blocker.unblock():
        yield
        executor.close()
        connections.close_all()
        wipe()
        connections.close_all()


@pytest.fixture(params=WAYS_IN)
def way_in(request: pytest.FixtureRequest) -> str:
    """Both ways in, for what is the same through either."""
    way: str = request.param
    return way


@pytest.fixture
def make_client(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> "Iterator[MakeClient]":
    """Make clients of gateways with settings of their own."""
    from tests.gateway.clients import Clients

    clients = Clients(monkeypatch, lambda name: setattr(settings, "ROOT_URLCONF", name))
    yield clients.make
    clients.close()
