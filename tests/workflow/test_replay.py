"""What holds for every workflow: spelling and crashes change nothing, and no step runs twice."""

import pytest

from durable.protocol.requests import TaskFence
from durable.protocol.states import PromiseState
from tests.workflow.engine import LEASE, World
from tests.workflow.shapes import SHAPES, SPELLINGS, Shape

by_name = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
spelled = pytest.mark.parametrize("spelling", SPELLINGS)


def build(shape: Shape, spelling: str) -> World:
    world = World(shape.registry(spelling), answers=shape.answers, patience=shape.patience)
    world.start("w", "flow", *shape.args)
    return world


async def run(shape: Shape, spelling: str) -> World:
    world = build(shape, spelling)
    await world.drain()
    return world


def check_result(shape: Shape, world: World) -> None:
    line = world.line("w")
    assert [outcome for outcome in world.outcomes if outcome[1].stuck] == []
    if shape.error is None:
        assert (line.state, line.value) == ("resolved", shape.result)
    else:
        assert (line.state, line.value["message"]) == ("rejected", shape.error)


@by_name
@spelled
@pytest.mark.asyncio
async def test_it_ends_as_written(shape, spelling):
    check_result(shape, await run(shape, spelling))


@by_name
@pytest.mark.asyncio
async def test_both_spellings_leave_the_same_trace(shape):
    one, two = [await run(shape, spelling) for spelling in SPELLINGS]
    assert one.trace() == two.trace()
    assert len(one.sender.programs) == len(two.sender.programs)
    assert one.sender.notes.keys() == two.sender.notes.keys()


@by_name
@spelled
@pytest.mark.asyncio
async def test_a_crash_at_any_write_changes_nothing(shape, spelling):
    whole = await run(shape, spelling)
    for number in range(2, len(whole.sender.programs) + 1):
        for moment in ("before", "after"):
            world = build(shape, spelling)
            world.sender.crash_at = (number, moment)
            await world.drain()
            assert world.sender.is_crashed
            world.restart()
            world.outcomes.clear()
            world.clock.advance(LEASE / 1000)
            await world.drain()
            check_result(shape, world)
            assert world.trace() == whole.trace(), (number, moment)


@by_name
@spelled
@pytest.mark.asyncio
async def test_nothing_is_left_open(shape, spelling):
    world = await run(shape, spelling)
    assert {line.state for line in world.trace()}.isdisjoint({PromiseState.PENDING})
    assert len(world.runs) == len(world.ends)


@by_name
@pytest.mark.asyncio
async def test_every_write_below_a_task_is_fenced(shape):
    world = await run(shape, "async")
    kinds = {type(request) for program in world.sender.programs[1:] for request in program}
    assert TaskFence in kinds
    assert {kind.__name__ for kind in kinds} <= {
        "TaskFence",
        "TaskSuspend",
        "TaskFulfill",
    }
