"""Golden tests of ids, tags and payloads: protocol.md sections 5 and 10, column PY 0.8.1."""

import base64
import json
from datetime import timedelta

import pytest

from durable.protocol.requests import PromiseCreate, PromiseSettle, TaskFence, TaskSuspend
from durable.protocol.states import PromiseState
from durable.protocol.validation import MAX_INSTANT
from durable.workflow.registry import Registry
from durable.workflow.retry import Exponential
from tests.workflow.engine import EPOCH, World, reject, resolve


def document(value):
    """What is in a payload, with its base64 checked for padding and alphabet."""
    return json.loads(base64.b64decode(value.data, validate=True))


async def run(flow, *args, answers=None, patience=30.0, others=(), **options):
    registry = Registry()
    registry.function(name="flow")(flow)
    for other in others:
        registry.function(other)
    world = World(registry, answers=answers, patience=patience)
    world.start("order-1", "flow", *args, **options)
    await world.drain()
    return world


def echo(value=None):
    return value


@pytest.mark.asyncio
async def test_root():
    async def flow(ctx, a, b=0): ...

    world = await run(flow, 1)
    record = world.sender.record("order-1")
    assert record.tags == {
        "resonate:origin": "order-1",
        "resonate:branch": "order-1",
        "resonate:parent": "order-1",
        "resonate:scope": "global",
        "resonate:target": "poll://any@default",
    }
    assert document(record.param) == {"func": "flow", "args": [1], "kwargs": {}, "version": 1}
    assert record.param.headers is None
    assert record.timeout_at == MAX_INSTANT
    assert (record.value.data, record.value.headers) == (None, None)


@pytest.mark.asyncio
async def test_root_with_options():
    async def flow(ctx): ...

    world = await run(flow, target="other", timeout=60, tags={"team": "x"}, started_by="user:7")
    record = world.sender.record("order-1")
    assert record.tags["resonate:target"] == "poll://any@other"
    assert record.tags["team"] == "x"
    assert record.timeout_at == EPOCH + 60_000
    assert world.sender.notes["order-1"].started_by == "user:7"


@pytest.mark.asyncio
async def test_local_run_is_one_write_of_a_settled_promise():
    async def flow(ctx):
        return await ctx.run(echo, {"a": 1})

    world = await run(flow)
    _, program, _ = world.sender.programs
    create, settle = (request.action for request in program)
    assert [type(request) for request in program] == [TaskFence, TaskFence]
    assert (type(create), type(settle)) == (PromiseCreate, PromiseSettle)
    record = world.sender.record("order-1:1")
    assert record.tags == {
        "resonate:scope": "local",
        "resonate:branch": "order-1",
        "resonate:parent": "order-1",
        "resonate:origin": "order-1",
    }
    assert document(record.param) == {"func": "echo", "version": 1}
    assert document(record.value) == {"a": 1}
    note = world.sender.notes["order-1:1"]
    assert (note.started_at, note.attempts, note.last_error) == (EPOCH, 1, None)


@pytest.mark.asyncio
async def test_nested_call_is_created_with_its_first_child():
    async def inner(ctx):
        return await ctx.run(echo, 1)

    async def flow(ctx):
        return await ctx.run(inner)

    world = await run(flow)
    ids = [[request.action.id for request in program] for program in world.sender.programs[1:3]]
    assert ids == [["order-1:1", "order-1:1.1", "order-1:1.1"], ["order-1:1"]]
    assert world.sender.record("order-1:1.1").tags == {
        "resonate:scope": "local",
        "resonate:branch": "order-1",
        "resonate:parent": "order-1:1",
        "resonate:origin": "order-1",
    }


@pytest.mark.asyncio
async def test_remote_call_and_the_calls_below_it():
    def remote(ctx, a, *, b): ...

    async def far(ctx):
        return [await ctx.run(echo, 1), await ctx.rpc(remote, 1, b=2)]

    async def flow(ctx):
        return await ctx.rpc(far).options(tags={"team": "x"})

    world = await run(flow, others=[far, remote])
    assert world.state("order-1") is PromiseState.RESOLVED
    record = world.sender.record("order-1:1")
    assert record.tags == {
        "resonate:scope": "global",
        "resonate:target": "poll://any@default",
        "resonate:branch": "order-1:1",
        "resonate:parent": "order-1",
        "resonate:origin": "order-1",
        "team": "x",
    }
    assert document(record.param) == {"func": "far", "args": [], "kwargs": {}, "version": 1}
    step = world.sender.record("order-1:1.1")
    assert step.tags["resonate:branch"] == step.tags["resonate:parent"] == "order-1:1"
    assert step.tags["resonate:origin"] == "order-1"
    below = world.sender.record("order-1:1.2")
    assert below.tags["resonate:branch"] == "order-1:1.2"
    assert document(below.param) == {
        "func": "remote",
        "args": [1],
        "kwargs": {"b": 2},
        "version": 1,
    }


@pytest.mark.parametrize(
    ("target", "address"),
    [
        (None, "poll://any@default"),
        ("shipping", "poll://any@shipping"),
        ("poll://any@g/one", "poll://any@g/one"),
        ("https://example.org/work", "https://example.org/work"),
    ],
)
@pytest.mark.asyncio
async def test_target_of_a_remote_call(target, address):
    async def flow(ctx):
        await ctx.rpc("ship").options(target=target)

    world = await run(flow)
    assert world.sender.record("order-1:1").tags["resonate:target"] == address


@pytest.mark.asyncio
async def test_remote_call_defaults_to_the_own_group():
    async def flow(ctx):
        await ctx.rpc("ship")

    world = await run(flow, target="poll://any@other/me")
    assert world.sender.record("order-1:1").tags["resonate:target"] == "poll://any@other"


@pytest.mark.asyncio
async def test_function_brings_its_target_timeout_and_version():
    registry = Registry()

    @registry.function(name="ship", version=3, target="shipping", timeout=timedelta(minutes=1))
    def ship_order(): ...

    @registry.function
    async def flow(ctx):
        await ctx.begin_rpc(ship_order)
        await ctx.begin_rpc("ship").options(target="x", version=2)

    world = World(registry)
    world.start("order-1", "flow")
    await world.step()
    first, second = world.sender.record("order-1:1"), world.sender.record("order-1:2")
    assert first.tags["resonate:target"] == "poll://any@shipping"
    assert first.timeout_at == EPOCH + 60_000
    assert document(first.param)["version"] == 3
    assert second.tags["resonate:target"] == "poll://any@x"
    assert document(second.param) == {"func": "ship", "args": [], "kwargs": {}, "version": 2}


@pytest.mark.asyncio
async def test_sleep_is_a_timer_without_target():
    async def flow(ctx):
        await ctx.sleep(1.5)

    world = await run(flow)
    record = world.sender.record("order-1:1")
    assert record.tags == {
        "resonate:scope": "global",
        "resonate:timer": "true",
        "resonate:branch": "order-1:1",
        "resonate:parent": "order-1",
        "resonate:origin": "order-1",
    }
    assert (record.param.data, record.timeout_at) == (None, EPOCH + 1500)


@pytest.mark.asyncio
async def test_promise_is_external():
    async def flow(ctx):
        await (await ctx.promise())
        await (await ctx.promise(data={"x": 1}, timeout=5, id="mine", tags={"signoff:task": "{}"}))

    world = await run(flow, answers={"order-1:1": resolve(None), "mine": resolve(None)})
    record = world.sender.record("order-1:1")
    assert record.tags == {
        "resonate:scope": "global",
        "resonate:external": "true",
        "resonate:branch": "order-1:1",
        "resonate:parent": "order-1",
        "resonate:origin": "order-1",
    }
    assert (record.param.data, record.timeout_at) == (None, MAX_INSTANT)
    mine = world.sender.record("mine")
    assert document(mine.param) == {"x": 1}
    assert mine.timeout_at == EPOCH + 5000
    assert mine.tags["resonate:branch"] == "mine"
    assert mine.tags["resonate:parent"] == mine.tags["resonate:origin"] == "order-1"
    assert mine.tags["signoff:task"] == "{}"


@pytest.mark.asyncio
async def test_approval_describes_a_human_task():
    class User:
        def get_username(self):
            return "mia"

    class Group:
        name = "finance"

    async def flow(ctx):
        await ctx.approval(
            "Ship?",
            question="Is it paid?",
            users=[User(), "jon"],
            groups=[Group()],
            facts={"amount": 199},
            due=timedelta(hours=4),
            timeout=timedelta(days=1),
            consequence="It is cancelled.",
            priority="high",
        )

    world = await run(flow, answers={"order-1:1": reject("no")})
    record = world.sender.record("order-1:1")
    assert document(record.param) == {
        "human_task": {
            "schema": 1,
            "title": "Ship?",
            "question": "Is it paid?",
            "users": ["mia", "jon"],
            "groups": ["finance"],
            "facts": {"amount": 199},
            "due": "2027-01-15T12:00:00Z",
            "consequence": "It is cancelled.",
            "priority": "high",
        }
    }
    assert record.timeout_at == EPOCH + 86_400_000
    assert record.tags["resonate:external"] == "true"


@pytest.mark.asyncio
async def test_detached_call_is_below_the_origin():
    async def inner(ctx):
        return await ctx.detached("job", 1)

    async def flow(ctx):
        return await ctx.run(inner)

    world = await run(flow, timeout=60)
    detached = world.value("order-1")
    assert detached == "order-1:d6ea51042400fad8e"
    record = world.sender.record(detached)
    assert record.tags == {
        "resonate:scope": "global",
        "resonate:target": "poll://any@default",
        "resonate:branch": detached,
        "resonate:parent": "order-1",
        "resonate:origin": "order-1",
    }
    assert record.timeout_at == MAX_INSTANT
    assert document(record.param) == {"func": "job", "args": [1], "kwargs": {}, "version": 1}


@pytest.mark.asyncio
async def test_explicit_id_keeps_the_lineage_and_takes_no_number():
    async def flow(ctx):
        await ctx.run(echo, 1).options(id="chosen")
        await ctx.run(echo, 2)

    world = await run(flow)
    assert sorted(world.sender.store.state.promises) == ["chosen", "order-1", "order-1:1"]
    assert world.sender.record("chosen").tags == {
        "resonate:scope": "local",
        "resonate:branch": "order-1",
        "resonate:parent": "order-1",
        "resonate:origin": "order-1",
    }


@pytest.mark.asyncio
async def test_parked_retry_is_a_timer_below_its_step():
    def fragile(ctx):
        if ctx.info.attempt == 1:
            raise ValueError("busy")

    async def flow(ctx):
        await ctx.run(fragile).options(retry=Exponential(delay=45))

    world = await run(flow)
    record = world.sender.record("order-1:1.r1")
    assert record.tags == {
        "resonate:scope": "global",
        "resonate:timer": "true",
        "resonate:branch": "order-1:1.r1",
        "resonate:parent": "order-1:1",
        "resonate:origin": "order-1",
    }
    assert record.timeout_at == EPOCH + 45_000
    assert document(record.param) == {
        "attempt": 1,
        "error": {
            "__type": "error",
            "name": "ValueError",
            "message": "busy",
            "type": "builtins.ValueError",
        },
    }
    park = world.sender.programs[1]
    assert [request.action.id for request in park] == ["order-1:1", "order-1:1.r1"]
    note = world.sender.notes["order-1:1"]
    assert (note.attempts, note.last_error) == (2, "ValueError: busy")


@pytest.mark.asyncio
async def test_all_creates_remote_calls_in_one_program_and_awaits_the_last():
    async def flow(ctx):
        elsewhere = ctx.options(target="nobody")
        await ctx.all(elsewhere.rpc("far", n) for n in range(5))

    world = await run(flow)
    _, program, suspend = world.sender.programs
    assert [request.action.id for request in program] == [f"order-1:{n}" for n in range(1, 6)]
    assert isinstance(suspend[0], TaskSuspend)
    assert [action.awaited for action in suspend[0].actions] == ["order-1:5"]
    assert [action.awaiter for action in suspend[0].actions] == ["order-1"]


@pytest.mark.asyncio
async def test_rejection_of_a_function():
    class OrderError(Exception):
        def __init__(self, code):
            super().__init__(f"order {code}")
            self.code = code
            self.response = object()

    async def flow(ctx):
        raise OrderError(5)

    world = await run(flow)
    record = world.sender.record("order-1")
    assert record.state is PromiseState.REJECTED
    assert document(record.value) == {
        "__type": "error",
        "name": "OrderError",
        "message": "order 5",
        "type": f"{__name__}.test_rejection_of_a_function.<locals>.OrderError",
        "attributes": {"code": 5},
    }


@pytest.mark.asyncio
async def test_root_without_tags_works():
    """As the official command line creates one: a target, and a param without kwargs."""
    registry = Registry()

    @registry.function
    async def flow(ctx, n):
        await ctx.run(echo, n)
        return [ctx.info.origin, ctx.info.parent]

    world = World(registry)
    data = base64.b64encode(b'{"func":"flow","args":[3],"version":0}').decode()
    from durable.protocol.records import Value

    world.sender.send(
        PromiseCreate(
            "cli", MAX_INSTANT, Value(data=data), {"resonate:target": "poll://any@default"}
        )
    )
    await world.drain()
    assert world.value("cli") == ["cli", "cli"]
    assert world.sender.record("cli:1").tags["resonate:origin"] == "cli"


@pytest.mark.parametrize(
    ("sent", "got"),
    [
        ({"args": [1, 2]}, [1, 2]),
        ({"args": [1], "kwargs": {"b": 2}}, [1, 2]),
        ({"args": 1}, [1, None]),
        ({"args": {"a": 1, "b": 2}}, [1, 2]),
        ({"args": {"x": 1}}, [{"x": 1}, None]),
        ({"args": None, "kwargs": {"a": 3}}, [3, None]),
        ({"kwargs": {"a": 3}}, [3, None]),
    ],
)
@pytest.mark.asyncio
async def test_arguments_as_any_sdk_sends_them(sent, got):
    registry = Registry()

    @registry.function
    def flow(a, b=None):
        return [a, b]

    world = World(registry)
    data = base64.b64encode(json.dumps({"func": "flow", **sent}).encode()).decode()
    from durable.protocol.records import Value

    tags = {"resonate:target": "poll://any@default"}
    world.sender.send(PromiseCreate("r", MAX_INSTANT, Value(data=data), tags))
    await world.drain()
    assert world.value("r") == got
