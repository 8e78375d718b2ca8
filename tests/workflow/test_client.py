"""Starting, finding, settling and cancelling from outside; and the registry that names stand in."""

import asyncio
import subprocess
import sys
import threading
from dataclasses import dataclass
from decimal import Decimal

import pytest

import durable
from durable.exceptions import PromiseNotFoundError, RequestRefusedError
from durable.protocol.states import PromiseState
from durable.protocol.validation import MAX_INSTANT
from durable.workflow import codec, connection, promises
from durable.workflow.errors import (
    ApplicationError,
    DuplicateFunctionError,
    IdTakenError,
    InvalidFunctionError,
    PromiseCanceledError,
    PromiseTimeoutError,
    ResultTimeoutError,
    RootIdError,
    UnknownFunctionError,
)
from durable.workflow.registry import Registry
from tests.workflow.engine import Clock, MemorySender, World


@pytest.fixture
def sender():
    from durable.clock import now_ms

    with connection.using(MemorySender(Clock(now_ms()))) as sender:
        yield sender


@dataclass
class Receipt:
    total: Decimal


def price(order: str, rate: int = 1) -> Receipt: ...


def param(sender, promise_id):
    return codec.decode(sender.record(promise_id).param, "it")


def test_start_creates_a_root_and_returns_its_handle(sender):
    handle = durable.start("order-1", price, "a", rate=2)
    assert (handle.id, repr(handle), handle.done()) == ("order-1", "<Handle 'order-1'>", False)
    assert handle.record() == sender.record("order-1")
    assert param(sender, "order-1") == {
        "func": "price",
        "args": ["a"],
        "kwargs": {"rate": 2},
        "version": 1,
    }
    assert sender.record("order-1").tags["resonate:target"] == "poll://any@default"
    assert sender.record("order-1").timeout_at == MAX_INSTANT


def test_start_by_name_needs_no_function(sender):
    durable.start("order-1", "elsewhere", 1)
    assert param(sender, "order-1")["func"] == "elsewhere"


def test_starting_again_returns_the_handle_of_what_is_there(sender):
    durable.start("order-1", price, "first")
    assert durable.start("order-1", price, "second").id == "order-1"
    assert param(sender, "order-1")["args"] == ["first"]
    assert len(sender.store.state.promises) == 1


def test_an_id_that_is_something_else_is_refused(sender):
    durable.start("order-1", price, "a")
    with pytest.raises(IdTakenError) as caught:
        durable.start("order-1", "nowhere")
    assert str(caught.value) == (
        "'order-1' exists and is a call of 'price'; it cannot become a call of 'nowhere': "
        "choose another id"
    )
    promises.create("latent")
    with pytest.raises(IdTakenError, match="'latent' exists and is no call of a function"):
        durable.start("latent", price, "a")


@pytest.mark.parametrize(
    ("promise_id", "text"),
    [
        ("", "'' cannot be the id of an execution: it is empty"),
        (
            "order:1",
            (
                "'order:1' cannot be the id of an execution: "
                "it contains ':', which separates calls below it"
            ),
        ),
    ],
)
def test_ids_that_are_no_roots(sender, promise_id, text):
    with pytest.raises(RootIdError) as caught:
        durable.start(promise_id, price, "a")
    assert str(caught.value) == text


def test_what_the_engine_refuses(sender):
    with pytest.raises(RequestRefusedError) as caught:
        durable.start("a\0b", price, "a")
    assert str(caught.value) == (
        "promise.create refused (400): Promise ID must not contain null bytes"
    )


def test_wrong_arguments_are_refused_before_anything_is_written(sender):
    with pytest.raises(TypeError, match=r"^price\(\): missing a required argument: 'order'$"):
        durable.start("order-1", price)
    assert sender.store.state.promises == {}


def test_options(sender):
    options = durable.options(target="shipping", timeout=60, tags={"a": "1"}, version=3)
    options.options(tags={"b": "2"}, started_by="user:7").start("order-1", "price")
    record = sender.record("order-1")
    assert record.tags["resonate:target"] == "poll://any@shipping"
    assert (record.tags["a"], record.tags["b"]) == ("1", "2")
    assert 0 < record.timeout_at - sender.clock.now <= 61_000
    assert param(sender, "order-1")["version"] == 3
    assert sender.notes["order-1"].started_by == "user:7"


def test_a_user_object_is_remembered_by_its_key(sender):
    class User:
        pk = 7

    durable.options(started_by=User()).start("order-1", "price")
    assert sender.notes["order-1"].started_by == "user:7"


def test_the_function_brings_its_own_options(sender):
    registry = Registry()

    @registry.function(name="renamed", version=2, target="shipping", timeout=60)
    def local(): ...

    durable.start("order-1", local)
    record = sender.record("order-1")
    assert record.tags["resonate:target"] == "poll://any@shipping"
    assert record.timeout_at < MAX_INSTANT
    assert param(sender, "order-1") == {"func": "renamed", "args": [], "kwargs": {}, "version": 2}


def test_another_version_of_a_function_must_be_known(sender):
    with pytest.raises(UnknownFunctionError, match="no function 'price' version 9 is registered"):
        durable.options(version=9).start("order-1", price, "a")


def test_result_in_its_declared_type(sender):
    handle = durable.start("order-1", price, "a")
    promises.resolve("order-1", Receipt(Decimal("1.50")))
    assert handle.done()
    assert handle.result() == Receipt(Decimal("1.50"))
    assert durable.get("order-1").result() == {"total": "1.50"}
    assert durable.call("order-1", price, "a") == Receipt(Decimal("1.50"))


def test_result_waits_in_any_thread(sender):
    handle = durable.start("order-1", price, "a")
    with pytest.raises(ResultTimeoutError) as caught:
        handle.result(timeout=0.01)
    assert str(caught.value) == "'order-1' is still pending after 0.01 s; it goes on"

    def settle():
        with connection.using(sender):
            promises.resolve("order-1", {"total": "2"})

    thread = threading.Timer(0.05, settle)
    thread.start()
    assert handle.result() == Receipt(Decimal(2))
    thread.join()


def test_errors_of_a_result(sender):
    handle = durable.start("order-1", price, "a")
    promises.reject("order-1", ValueError("too dear"))
    with pytest.raises(ValueError, match=r"^too dear$"):
        handle.result()
    durable.start("order-2", price, "a")
    durable.cancel("order-2", "no stock")
    with pytest.raises(PromiseCanceledError, match=r"^'order-2' was canceled: no stock$"):
        durable.get("order-2").result()
    late = durable.options(timeout=1).start("order-3", price, "a")
    sender.clock.advance(2)
    with pytest.raises(PromiseTimeoutError, match=r"^'order-3' was not settled before"):
        late.result()


def test_get_of_nothing(sender):
    with pytest.raises(PromiseNotFoundError, match=r"^there is no promise 'order-1'$"):
        durable.get("order-1")


def test_promises_are_created_external_and_read(sender):
    record = durable.promises.create("form", data={"q": 1}, timeout=60, tags={"a": "b"})
    assert record.tags == {
        "resonate:scope": "global",
        "resonate:external": "true",
        "resonate:branch": "form",
        "resonate:parent": "form",
        "resonate:origin": "form",
        "a": "b",
    }
    assert param(sender, "form") == {"q": 1}
    assert durable.promises.get("form") == durable.promises.create("form") == record


def test_who_settles_first_wins(sender):
    durable.promises.create("form")
    first = durable.promises.resolve("form", {"ok": True})
    second = durable.promises.reject("form", "no")
    third = durable.promises.cancel("form")
    assert [first.applied, second.applied, third.applied] == [True, False, False]
    assert first.promise == second.promise == third.promise == durable.promises.get("form")
    assert first.promise.state is PromiseState.RESOLVED


@pytest.mark.parametrize(
    ("error", "extra", "document"),
    [
        ("no", None, {"__type": "error", "name": "Error", "message": "no"}),
        (
            "no",
            {"approved": False, "by": "mia", "name": "Refused", "__py_pickle": "x", "__type": "y"},
            {
                "__type": "error",
                "name": "Refused",
                "message": "no",
                "approved": False,
                "by": "mia",
            },
        ),
        (
            ValueError("no"),
            None,
            {
                "__type": "error",
                "name": "ValueError",
                "message": "no",
                "type": "builtins.ValueError",
            },
        ),
    ],
)
def test_rejections_carry_the_error_object(sender, error, extra, document):
    durable.promises.create("form")
    record = durable.promises.reject("form", error, extra).promise
    assert codec.decode(record.value, "it") == document


@pytest.mark.parametrize("call", ["get", "resolve", "reject", "cancel"])
def test_no_such_promise(sender, call):
    with pytest.raises(PromiseNotFoundError):
        getattr(durable.promises, call)("nothing")


async def waits(ctx):
    await (await ctx.promise())


async def tree(ctx):
    await ctx.detached("waits")
    await ctx.begin_run(waits)
    await ctx.begin_rpc("waits")
    await ctx.begin_rpc("waits").options(id="chosen")
    await ctx.run(len, "a")


@pytest.mark.asyncio
async def test_cancel_descends_to_all_but_detached_calls():
    registry = Registry()
    registry.function(waits)
    registry.function(tree)
    world = World(registry)
    world.start("w", "tree")
    while await world.step():
        pass
    detached = next(one for one in world.sender.store.state.promises if one.startswith("w:d"))
    with connection.using(world.sender):
        settlement = durable.cancel("w", "changed our mind")
        assert settlement.applied
        assert not durable.cancel("w").applied
    states = {line.id: line.state for line in world.trace()}
    assert states == {
        "w": "rejected_canceled",
        detached: "pending",
        f"{detached}.1": "pending",
        "w:2": "rejected_canceled",
        "w:2.1": "rejected_canceled",
        "w:3": "rejected_canceled",
        "w:3.1": "rejected_canceled",
        "chosen": "rejected_canceled",
        "chosen:1": "rejected_canceled",
        "w:4": "resolved",
    }
    assert world.value("w:3.1") == {
        "__type": "error",
        "name": "PromiseCanceledError",
        "message": "changed our mind",
        "reason": "changed our mind",
    }
    with connection.using(world.sender):
        durable.cancel(detached)
    assert world.state(f"{detached}.1") is PromiseState.REJECTED_CANCELED


def test_cancel_leaves_alone_what_has_a_result(sender):
    durable.start("order-1", price, "a")
    durable.promises.resolve("order-1", 1)
    settlement = durable.cancel("order-1")
    assert (settlement.applied, settlement.promise.state) == (False, PromiseState.RESOLVED)


def test_cancel_again_finishes_a_descent_that_was_cut_short(sender):
    durable.start("order-1", price, "a")
    durable.promises.create("below", tags={"resonate:parent": "order-1"})
    durable.promises.cancel("order-1")
    durable.cancel("order-1")
    assert durable.promises.get("below").state is PromiseState.REJECTED_CANCELED


def test_cancel_does_not_stumble_over_odd_lineages(sender):
    durable.start("order-1", price, "a")
    for promise_id, parent in (("a", "b"), ("b", "a"), ("c", "order-1")):
        durable.promises.create(promise_id, tags={"resonate:parent": parent})
    durable.cancel("order-1")
    states = [durable.promises.get(one).is_pending for one in "abc"]
    assert states == [True, True, False]


@pytest.mark.asyncio
async def test_async_twins():
    from durable.clock import now_ms

    with connection.using(MemorySender(Clock(now_ms()))) as sender:
        handle = await durable.astart("order-1", price, "a")
        assert not await handle.adone()
        with pytest.raises(ResultTimeoutError):
            await handle.aresult(timeout=0.01)
        waiting = asyncio.create_task(handle.aresult())
        assert (await durable.promises.aresolve("order-1", {"total": "3"})).applied
        assert await waiting == Receipt(Decimal(3))
        assert await durable.acall("order-1", price, "a") == Receipt(Decimal(3))
        assert (await handle.arecord()).id == "order-1"
        assert (await durable.aget("order-1")).id == "order-1"
        assert (await durable.promises.acreate("x", data=1)).id == "x"
        assert (await durable.promises.areject("x", "no")).applied
        assert not (await durable.promises.acancel("x")).applied
        assert (await durable.promises.aget("x")).state is PromiseState.REJECTED
        await durable.astart("order-2", "price")
        assert (await durable.acancel("order-2", "why")).applied
        with pytest.raises(PromiseNotFoundError):
            await durable.aget("nothing")
        with pytest.raises(ApplicationError, match=r"^no$"):
            await (await durable.aget("x")).aresult()
    assert sender.record("order-2").state is PromiseState.REJECTED_CANCELED


@pytest.mark.asyncio
async def test_many_waits_share_a_few_threads():
    from durable.clock import now_ms

    with connection.using(MemorySender(Clock(now_ms()))):
        handles = [await durable.astart(f"o-{n}", "price") for n in range(40)]
        waiting = [asyncio.create_task(handle.aresult()) for handle in handles]
        await asyncio.sleep(0.01)
        for handle in reversed(handles):
            await durable.promises.aresolve(handle.id, handle.id)
        assert await asyncio.gather(*waiting) == [handle.id for handle in handles]


def test_a_registered_function_stays_what_it_is():
    registry = Registry()

    def plain(): ...

    assert registry.function(plain) is plain
    assert registry.function(name="other", version=2)(plain) is plain
    assert [(one.name, one.version) for one in registry] == [("other", 2), ("plain", 1)]
    assert registry.get("plain").call is plain
    assert registry.find("nothing") is None


def test_two_functions_of_one_name():
    registry = Registry()
    registry.function(name="price")(price)
    registry.function(name="price")(price)
    with pytest.raises(DuplicateFunctionError) as caught:
        registry.function(name="price")(waits)
    assert str(caught.value) == (
        "two functions are registered as 'price' version 1: tests.workflow.test_client.price and "
        "tests.workflow.test_client.waits; give one of them another name= or version="
    )


def test_the_newest_version_is_the_default():
    registry = Registry()
    for version in (1, 10, 2):
        registry.function(name="price", version=version)(lambda: 1)
    assert registry.get("price").version == 10
    assert registry.get("price", 2).version == 2
    with pytest.raises(UnknownFunctionError) as caught:
        registry.get("price", 3)
    assert str(caught.value) == (
        "no function 'price' version 3 is registered here: 'price' is registered with version "
        "1, 2, 10"
    )


def test_functions_that_cannot_be_registered():
    registry = Registry()

    def wrong(context: durable.Context, a): ...

    with pytest.raises(InvalidFunctionError) as caught:
        registry.function(wrong)
    path = "tests.workflow.test_client.test_functions_that_cannot_be_registered.<locals>.wrong"
    assert str(caught.value) == (
        f"{path} cannot be a durable function: its context is named 'context'; name that "
        "parameter 'ctx'"
    )
    with pytest.raises(InvalidFunctionError, match="version 0 is not 1 or more"):
        registry.function(version=0)(price)
    with pytest.raises(InvalidFunctionError, match="it takes no attributes; wrap it"):
        registry.function(len)
    with pytest.raises(InvalidFunctionError, match=r"it has no name; give it one with name="):
        registry.function(type("Call", (), {"__call__": lambda self: 1})())


def test_import_needs_neither_django_nor_models():
    script = (
        "import sys, durable\n"
        "@durable.function\n"
        "def f(ctx: durable.Context): ...\n"
        "durable.promises, durable.start, durable.Exponential, dir(durable)\n"
        "import durable.workflow.execution\n"
        "roots = ('django', 'durable.models', 'durable.store')\n"
        "wrong = [name for name in sys.modules if name.startswith(roots)]\n"
        "assert not wrong, wrong\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_name_is_there_and_no_other():
    for name in durable.__all__:
        assert getattr(durable, name) is not None
        assert name in dir(durable)
    assert set(durable.__all__) == set(durable._HOME_OF)
    with pytest.raises(AttributeError, match=r"^module 'durable' has no attribute 'nonsense'$"):
        durable.nonsense  # noqa: B018
