"""What the official SDKs do with a real gateway between them: calls within and across languages."""

from collections.abc import Iterator
from typing import Any

import pytest

import durable
from durable.models import Promise, Task
from tests.interop.conftest import (
    KINDS,
    OLD_PYTHON,
    OLD_TYPESCRIPT,
    PYTHON,
    TYPESCRIPT,
    Gateway,
    Kind,
)
from tests.interop.people import Person, make_person
from tests.interop.sdks import Sdk, SdkError
from tests.processes import wait_until

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(params=KINDS)
def kind(request) -> Kind:
    return request.param


@pytest.fixture
def sdk(get_sdk, kind) -> Sdk:
    return get_sdk(kind)


@pytest.fixture
def other(get_sdk, kind) -> str:
    """The group of a worker in the other kind, which runs."""
    other = TYPESCRIPT if kind.language == "python" else PYTHON
    get_sdk(other)
    return other.group


@pytest.fixture
def unique(request, kind) -> str:
    return f"{kind.group}-{request.node.originalname}"


def state(promise_id: str) -> str | None:
    return Promise.objects.filter(id=promise_id).values_list("state", flat=True).first()


def test_run(sdk, unique) -> None:
    assert sdk.ask("run", unique, "twice", 5) == 20
    assert state(unique) == "resolved"


def test_call_of_another_group(sdk, unique, other) -> None:
    assert sdk.ask("run", unique, "call", "add", other, 2, 3) == 5


def test_call_of_a_native_function(sdk, unique) -> None:
    assert sdk.ask("run", unique, "call", "native_add", "native", 2, 3) == 5


def test_call_from_a_native_function(gateway, sdk, kind, unique) -> None:
    handle = durable.options(target="native").start(unique, "native_call", "twice", kind.group, 7)
    assert handle.result(timeout=30) == 28


def test_top_level_call(sdk, unique, other) -> None:
    assert sdk.ask("rpc", unique, "add", 1, 2, target=other) == 3


def test_sleep(sdk, unique) -> None:
    assert sdk.ask("run", unique, "nap", 1) == "slept"
    child = Promise.objects.get(origin=unique, is_root=False)
    assert child.settled_at == child.timeout_at


@pytest.fixture(scope="module")
def olga(gateway: Gateway) -> Iterator[Person]:
    """May answer any question."""
    user = make_person("olga", "settle_any")
    yield Person(gateway.url, "olga")
    user.delete()


def test_a_latent_promise_is_settled_on_its_page(sdk, kind, unique, olga: Person) -> None:
    answer = sdk.order("run", unique, "ask")
    child = f"{unique}{kind.child}"
    wait_until(lambda: state(child) == "pending", seconds=20, what="the promise")
    suspended = Task.objects.filter(promise_id=unique, state="suspended")
    wait_until(suspended.exists, seconds=20, what="the wait")
    page = olga.answer(child, "approve", value='{"approved": true, "by": "naïve ☃"}')
    assert "You approved this" in page
    assert answer.result(timeout=20) == {"approved": True, "by": "naïve ☃"}


def test_a_rejection_on_its_page_reaches_the_workflow(sdk, kind, unique, olga: Person) -> None:
    answer = sdk.order("run", unique, "ask")
    child = f"{unique}{kind.child}"
    wait_until(lambda: state(child) == "pending", seconds=20, what="the promise")
    assert "You rejected this" in olga.answer(child, "reject", comment="not today")
    with pytest.raises(SdkError, match="not today"):
        answer.result(timeout=20)
    assert state(unique) == "rejected"


def test_a_promise_settled_by_a_program_reaches_the_workflow(sdk, kind, unique) -> None:
    """Perhaps before it is waited for."""
    answer = sdk.order("run", unique, "ask")
    child = f"{unique}{kind.child}"
    wait_until(lambda: state(child) == "pending", seconds=20, what="the promise")
    assert durable.promises.resolve(child, [1, None]).applied
    assert answer.result(timeout=20) == [1, None]


@pytest.mark.parametrize(
    ("one", "two"), [(PYTHON, OLD_PYTHON), (TYPESCRIPT, OLD_TYPESCRIPT)], ids=["python", "ts"]
)
@pytest.mark.slow
def test_versions_of_one_language_call_each_other(get_sdk, one: Kind, two: Kind) -> None:
    for caller, called in ((one, two), (two, one)):
        get_sdk(called)
        root = f"{caller.group}-calls-{called.group}"
        assert get_sdk(caller).ask("run", root, "call", "twice", called.group, 3) == 12


def value_of(promise_id: str) -> Any:
    return durable.get(promise_id).result(timeout=20)


def test_detached(sdk, kind, unique, other) -> None:
    for n, (func, group) in enumerate(
        [("add", kind.group), ("add", other), ("native_add", "native")]
    ):
        found = sdk.ask("run", f"{unique}-{n}", "detach", func, group, n, 5)
        assert value_of(found) == n + 5


def test_detached_by_a_native_function(gateway, sdk, kind, unique) -> None:
    start = durable.options(target="native").start
    found = start(unique, "native_detach", "twice", kind.group, 3).result(timeout=20)
    assert value_of(found) == 12


def test_an_error_travels(sdk, unique, other) -> None:
    with pytest.raises(SdkError, match="out of paper"):
        sdk.ask("run", unique, "call", "fail", other, "out of paper")
    assert state(unique) == "rejected"


def test_an_error_of_a_native_function_travels(sdk, unique) -> None:
    with pytest.raises(SdkError, match="out of thread"):
        sdk.ask("run", unique, "call", "native_fail", "native", "out of thread")
    assert state(unique) == "rejected"


def test_a_native_caller_gets_the_error(gateway, sdk, kind, unique) -> None:
    handle = durable.options(target="native").start(
        unique, "native_call", "fail", kind.group, "out of ink"
    )
    with pytest.raises(durable.ApplicationError, match="out of ink"):
        handle.result(timeout=30)


def test_retries(sdk, unique, tmp_path) -> None:
    assert sdk.ask("run", unique, "flaky", str(tmp_path / "tries"), 2) == "at last"
    assert len((tmp_path / "tries").read_text().splitlines()) == 3


def test_fan_out_of_a_hundred(sdk, unique, other) -> None:
    assert sdk.ask("run", unique, "fan", "add", other, 100) == sum(range(100)) + 100


def test_fan_out_to_native_functions(sdk, unique) -> None:
    assert sdk.ask("run", unique, "fan", "native_add", "native", 100) == sum(range(100)) + 100


def test_fan_out_from_a_native_function(gateway, sdk, kind, unique) -> None:
    start = durable.options(target="native").start
    handle = start(unique, "native_fan", "add", kind.group, 100)
    assert handle.result(timeout=30) == sum(range(100)) + 100


def test_schedule(sdk, kind, unique) -> None:
    sdk.ask("schedule", unique, "add", 1, 2, cron="* * * * * *", target=kind.group)

    fired = Promise.objects.filter(id__regex=rf"^{unique}\W\d+$", state="resolved")
    wait_until(fired.exists, seconds=20, what="a firing")
    sdk.ask("unschedule", unique)


def test_a_second_call_of_one_id_gets_the_result(sdk, unique) -> None:
    assert sdk.ask("run", unique, "twice", 1) == 4
    assert sdk.ask("get", unique) == 4
    assert sdk.ask("run", unique, "twice", 1000) == 4


def test_they_share_a_group_with_a_native_worker(make_sdk, gateway: Gateway) -> None:
    """Each takes what it knows, at once."""
    worker = make_sdk(PYTHON, gateway, "shared", functions="add")
    calls = [worker.order("rpc", f"shared-{n}", "add", n, 1, target="shared") for n in range(5)]
    natives = [
        durable.options(target="shared").start(f"shared-native-{n}", "native_add", n, 1)
        for n in range(5)
    ]
    assert [call.result(timeout=20) for call in calls] == [1, 2, 3, 4, 5]
    assert [handle.result(timeout=20) for handle in natives] == [1, 2, 3, 4, 5]
    tasks = Task.objects.filter(promise__id__startswith="shared-")
    assert tasks.count() == 10
    assert not tasks.exclude(releases=0).exists()
