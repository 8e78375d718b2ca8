"""The machine's own tests again, over HTTP through either way in, at the debug surface's times.

Every guard row of protocol.md section 3, the answers C1 to C11, the sequences S1 to S24, both
profiles. A test here is one of ``tests/machine``, given a gateway in place of its store.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from django.db import connections
from django.test import override_settings
from pytest_django import DjangoDbBlocker

from durable.machine.state import Config
from durable.protocol.profiles import PROFILES, Profile
from tests.machine.test_conformance import *  # noqa: F403
from tests.machine.test_promise_steps import *  # noqa: F403
from tests.machine.test_schedule_steps import *  # noqa: F403
from tests.machine.test_schedules_fire import *  # noqa: F403
from tests.machine.test_specification import *  # noqa: F403
from tests.machine.test_task_leases import *  # noqa: F403
from tests.machine.test_task_work import *  # noqa: F403
from tests.machine.test_type_rules import *  # noqa: F403

if TYPE_CHECKING:
    from tests.gateway.wire import WireStore

GATEWAYS = [
    ("asgi", "compat"),
    ("asgi", "strict"),
    pytest.param(("view", "compat"), marks=pytest.mark.once),
]

# About the store in memory: the order in which it keeps sets, the identity of what it did not
# change, steps fired one by one, states that no request leads to, texts that no JSON can carry.
for _name in (
    "test_a_deleted_schedule_does_not_fire",
    "test_a_long_outage_is_caught_up_in_portions",
    "test_a_schedule_that_ends_fires_its_last_and_rests",
    "test_a_task_without_a_promise_is_no_task",
    "test_a_template_without_the_instant_fires_once",
    "test_an_id_that_is_taken_is_left_alone",
    "test_callbacks_keep_their_order",
    "test_continue_without_a_promise",
    "test_create_on_a_promise_without_its_task_is_a_conflict",
    "test_fence_asks_for_no_pid_and_leaves_the_task",
    "test_halt_again_changes_nothing",
    "test_listener_is_registered_once",
    "test_retries_must_move_on",
    "test_s21_settling_twice_tells_everybody_once",
    "test_settle_keeps_callbacks_and_listeners_for_the_drains",
    "test_what_cannot_be_stored_is_refused",
):
    del globals()[_name]


@pytest.fixture(scope="module", params=GATEWAYS, ids="-".join)
def wire(request, django_db_setup, django_db_blocker: DjangoDbBlocker) -> Iterator["WireStore"]:
    """One gateway for the whole module."""
    from durable.gateway.executor import executor
    from tests.gateway.clients import Clients
    from tests.gateway.wire import WireStore
    from tests.store.support import wipe

    way_in, profile_name = request.param
    with django_db_blocker.unblock(), pytest.MonkeyPatch.context() as monkeypatch:
        override = override_settings(ROOT_URLCONF="tests.gateway.urls")
        clients = Clients(monkeypatch, lambda _name: override.enable())
        yield WireStore(clients.make(way_in, config=Config(profile=PROFILES[profile_name])))
        clients.close()
        if way_in == "view":
            override.disable()
        executor.close()
        connections.close_all()
        wipe()
        connections.close_all()


@pytest.fixture
def transactional_db(django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """What it does everywhere is not needed: each test starts with a reset."""
    with django_db_blocker.unblock():
        yield


@pytest.fixture
def store(wire: "WireStore", transactional_db: None) -> "WireStore":
    assert wire.client.call("debug.reset").status == 200
    return wire


@pytest.fixture
def profile(wire: "WireStore") -> Profile:
    return wire.profile
