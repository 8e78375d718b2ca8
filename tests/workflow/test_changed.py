"""A workflow whose code no longer fits what is recorded: shown and parked, never failed."""

import pytest

from durable.protocol.states import PromiseState, TaskState
from durable.workflow.outcome import SUSPENDED, stuck
from durable.workflow.registry import Registry
from tests.workflow.engine import World, reject, resolve


def registry_of(flow, **others) -> Registry:
    registry = Registry()
    registry.function(name="flow")(flow)
    for name, other in others.items():
        registry.function(name=name)(other)
    return registry


async def change(before, after) -> World:
    """Run a workflow up to its first wait, change it, wake it, and run it again."""
    world = World(registry_of(before))
    world.start("w", "flow")
    assert await world.step() is SUSPENDED
    world.clock.advance(1000)
    world.registry = registry_of(after)
    return world


def pack(): ...


def ship(): ...


async def nested(ctx):
    await ctx.run(pack)


HEAD = "the code does not fit what is recorded at 'w:1': recorded is"


@pytest.mark.parametrize(
    ("recorded", "asked", "reason"),
    [
        (
            lambda ctx: ctx.run(pack),
            lambda ctx: ctx.run(ship),
            f"{HEAD} a local call of 'pack', the code asks for a local call of 'ship'",
        ),
        (
            lambda ctx: ctx.run(pack),
            lambda ctx: ctx.rpc("pack"),
            f"{HEAD} a local call of 'pack', the code asks for a remote call of 'pack'",
        ),
        (
            lambda ctx: ctx.begin_rpc("pack").options(target="x"),
            lambda ctx: ctx.begin_rpc("ship").options(target="x"),
            f"{HEAD} a remote call of 'pack', the code asks for a remote call of 'ship'",
        ),
        (
            lambda ctx: ctx.sleep(1),
            lambda ctx: ctx.promise(),
            f"{HEAD} a sleep, the code asks for a promise settled from outside",
        ),
        (
            lambda ctx: ctx.promise(),
            lambda ctx: ctx.sleep(1),
            f"{HEAD} a promise settled from outside, the code asks for a sleep",
        ),
        (
            lambda ctx: ctx.run(pack),
            lambda ctx: ctx.sleep(1),
            f"{HEAD} a local call of 'pack', the code asks for a sleep",
        ),
    ],
)
@pytest.mark.asyncio
async def test_another_call_at_the_same_id(recorded, asked, reason):
    async def before(ctx):
        await recorded(ctx)
        await ctx.sleep(10)

    async def after(ctx):
        await asked(ctx)
        await ctx.sleep(10)

    world = await change(before, after)
    assert await world.step() == stuck(reason)
    assert world.sender.notes["w"].stuck == reason
    assert world.state("w") is PromiseState.PENDING
    assert world.sender.store.state.tasks["w"].state is TaskState.PENDING


@pytest.mark.asyncio
async def test_it_runs_on_when_the_code_fits_again():
    async def before(ctx):
        first = await ctx.run(lambda: "kept")
        await ctx.sleep(10)
        return first

    async def after(ctx):
        await ctx.run(pack)

    world = await change(before, after)
    assert (await world.step()).stuck
    world.registry = registry_of(before)
    await world.drain()
    assert world.value("w") == "kept"


@pytest.mark.parametrize("ending", ["returns", "raises"])
@pytest.mark.asyncio
async def test_code_that_ends_before_what_is_recorded(ending):
    async def before(ctx):
        await ctx.run(pack)
        await ctx.run(ship)
        await ctx.sleep(10)

    async def after(ctx):
        await ctx.run(pack)
        if ending == "raises":
            raise ValueError

    world = await change(before, after)
    assert await world.step() == stuck(
        "the code does not fit what is recorded at 'w:2': recorded is a local call of 'ship', "
        "the code asks for nothing: 'flow' ends before it"
    )


@pytest.mark.asyncio
async def test_a_nested_function_that_ends_early():
    async def before(ctx):
        await ctx.run(inner)

    async def inner(ctx):
        await ctx.sleep(10)

    def shorter(): ...

    shorter.__name__ = "inner"

    async def after(ctx):
        await ctx.run(shorter)

    world = await change(before, after)
    assert await world.step() == stuck(
        "the code does not fit what is recorded at 'w:1.1': recorded is a sleep, "
        "the code asks for nothing: 'inner' ends before it"
    )


@pytest.mark.asyncio
async def test_more_code_after_what_is_recorded_is_no_change():
    async def before(ctx):
        await ctx.sleep(10)

    async def after(ctx):
        await ctx.sleep(99)
        await ctx.run(nested)
        return "longer"

    world = await change(before, after)
    await world.drain()
    assert world.value("w") == "longer"


@pytest.mark.asyncio
async def test_a_record_that_only_a_write_finds():
    """The id is taken by something that the history of this task does not hold."""

    async def flow(ctx):
        await ctx.rpc("cached").options(id="shared")

    world = World(registry_of(flow))
    from durable.workflow import promises
    from durable.workflow.connection import using

    with using(world.sender):
        promises.create("shared")
    world.start("w", "flow")
    assert await world.step() == stuck(
        "the code does not fit what is recorded at 'shared': recorded is a promise settled from "
        "outside, the code asks for a remote call of 'cached'"
    )


@pytest.mark.asyncio
async def test_the_same_explicit_id_for_two_calls():
    async def flow(ctx):
        await ctx.begin_rpc("one").options(id="shared", target="x")
        await ctx.begin_rpc("two").options(id="shared", target="x")

    world = World(registry_of(flow))
    world.start("w", "flow")
    assert await world.step() == stuck(
        "the code does not fit what is recorded at 'shared': recorded is a remote call of 'one', "
        "the code asks for a remote call of 'two'"
    )


@pytest.mark.asyncio
async def test_a_step_that_was_recorded_by_another_pass_keeps_its_first_result():
    """First write wins, also when this pass did not know of it."""

    from durable.protocol.requests import PromiseSettle, TaskFence
    from durable.workflow import calls, codec
    from durable.workflow.calls import Place

    def step():
        create = calls.create_step(Place("w:1", "w", "w", "w"), "step", 1, 2**53 - 1, {})
        settle = PromiseSettle("w:1", PromiseState.RESOLVED, codec.encode("first", "it"))
        world.sender.send(*(TaskFence("w", 1, action) for action in (create, settle)))
        return "second"

    async def flow(ctx):
        return await ctx.run(step)

    world = World(registry_of(flow))
    world.start("w", "flow")
    await world.drain()
    assert world.value("w") == "first"


@pytest.mark.asyncio
async def test_other_sdks_records_without_names_fit():
    """The Python SDK writes no param for a local call."""

    async def flow(ctx):
        return await ctx.run(lambda: "again")

    world = World(registry_of(flow))
    world.start("w", "flow")
    claim = world.claim()
    from durable.protocol.requests import PromiseCreate, PromiseSettle, TaskFence
    from durable.workflow import codec

    tags = {
        "resonate:scope": "local",
        "resonate:branch": "w",
        "resonate:parent": "w",
        "resonate:origin": "w",
    }
    create = PromiseCreate("w:1", 2**53 - 1, tags=tags)
    settle = PromiseSettle("w:1", PromiseState.RESOLVED, codec.encode("theirs", "it"))
    world.sender.send(*(TaskFence("w", 1, action) for action in (create, settle)))
    claim = claim._replace(history=(world.sender.record("w:1"),))
    await world.execution(claim).run()
    assert world.value("w") == "theirs"


@pytest.mark.asyncio
async def test_unjoined_errors_count_on_replay_as_they_did_live():
    async def flow(ctx):
        await ctx.begin_rpc("far").options(target="x")
        await (await ctx.promise())
        return "done"

    world = World(registry_of(flow))
    world.start("w", "flow")
    world.answers = {"w:1": reject("late"), "w:2": resolve(1)}
    await world.drain()
    assert world.value("w")["message"] == "late"
