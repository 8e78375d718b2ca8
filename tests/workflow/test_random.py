"""The same invariants over workflows that nobody thought of."""

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from durable.workflow import promises
from durable.workflow.commands import Future
from durable.workflow.decisions import Decision
from durable.workflow.registry import Registry
from durable.workflow.retry import Constant
from tests.workflow.engine import LEASE, World

# an op is a list of a kind and its operands, so that it travels as JSON
simple = st.one_of(
    st.tuples(st.just("step"), st.integers(0, 9)),
    st.tuples(st.just("fail"), st.integers(0, 9)),
    st.tuples(st.just("retry"), st.sampled_from([5, 100])),
    st.tuples(st.just("sleep"), st.integers(0, 9)),
    st.tuples(st.just("latent"), st.none()),
    st.tuples(st.just("detached"), st.just([("step", 1)])),
)


def widen(inner):
    block = st.lists(inner, max_size=3)
    return st.one_of(
        st.tuples(st.sampled_from(["run", "rpc", "all", "begin run", "begin rpc"]), block),
        inner,
    )


ops = st.lists(st.recursive(simple, widen, max_leaves=6), max_size=5)


class OddError(Exception):
    pass


def step(value: Any) -> Any:
    return value


def fail(value: int) -> None:
    raise OddError(f"no {value}")


def fail_first(ctx) -> int:
    if ctx.info.attempt == 1:
        raise OddError("first")
    return ctx.info.attempt


COMMANDS = {
    "step": lambda ctx, value, _: ctx.run(step, value),
    "fail": lambda ctx, value, _: ctx.run(fail, value).options(retry=Constant(1, max_attempts=2)),
    "retry": lambda ctx, pause, _: ctx.run(fail_first).options(retry=Constant(pause)),
    "sleep": lambda ctx, seconds, _: ctx.sleep(seconds),
    "latent": lambda ctx, _, __: ctx.approval("Go on?"),
    "detached": lambda ctx, block, _: ctx.detached("part", block),
    "run": lambda ctx, block, part: ctx.run(part, block),
    "rpc": lambda ctx, block, _: ctx.rpc("part", block),
    "begin run": lambda ctx, block, part: ctx.begin_run(part, block),
    "begin rpc": lambda ctx, block, _: ctx.begin_rpc("part", block),
    "all": lambda ctx, block, part: ctx.all(command(ctx, one, part) for one in block),
}


def command(ctx, op, part):
    """Build the command of an op; ``part`` is the function that runs a block of them."""
    kind, operand = op
    return COMMANDS[kind](ctx, operand, part)


async def part_async(ctx, block):
    seen = []
    for op in block:
        try:
            seen.append(await command(ctx, op, part_async))
        except OddError as error:
            seen.append(str(error))
    for future in _some_futures(seen):
        try:
            seen.append(await future)
        except OddError as error:
            seen.append(str(error))
    return _flat(seen)


def part_generator(ctx, block):
    seen = []
    for op in block:
        try:
            seen.append((yield command(ctx, op, part_generator)))
        except OddError as error:
            seen.append(str(error))
    for future in _some_futures(seen):
        try:
            seen.append((yield future))
        except OddError as error:
            seen.append(str(error))
    return _flat(seen)


part_async.__name__ = part_generator.__name__ = "part"


def registry_of(spelling: str) -> Registry:
    registry = Registry()
    function = part_async if spelling == "async" else part_generator
    registry.function(name="part")(function)
    registry.function(name="flow")(function)
    return registry


def _some_futures(seen: list[Any]) -> list[Any]:
    """Every other one is awaited; the rest are left to be joined."""
    return [one for one in seen if isinstance(one, Future)][::2]


def _flat(value: Any) -> Any:
    """Return a value without what has no JSON form or differs from run to run."""
    if isinstance(value, list):
        return [_flat(one) for one in value]
    if isinstance(value, Future):
        return value.id
    return value.outcome if isinstance(value, Decision) else value


async def run(spelling: str, block: Any, crash_at: tuple[int, str] | None = None) -> World:
    world = World(registry_of(spelling), patience=30)
    world.answer_all = promises.resolve
    world.start("w", "flow", block)
    world.sender.crash_at = crash_at
    await world.drain()
    if world.sender.is_crashed:
        world.restart()
        world.outcomes.clear()
        world.clock.advance(LEASE / 1000)
        await world.drain()
    assert [outcome for outcome in world.outcomes if outcome[1].stuck] == []
    assert not world.sender.record("w").is_pending
    return world


@settings(max_examples=40)
@given(ops, st.integers(2, 60), st.sampled_from(["before", "after"]))
def test_spelling_and_crashes_change_nothing(block, number, moment):
    async def check() -> None:
        whole = await run("async", block)
        assert (await run("generator", block)).trace() == whole.trace()
        at = 2 + number % max(1, len(whole.sender.programs) - 1)
        for spelling in ("async", "generator"):
            assert (await run(spelling, block, (at, moment))).trace() == whole.trace()

    asyncio.run(check())
