"""The workflows that are measured. Each one's id is the key of its marks."""

import asyncio
from typing import Any

import durable
from bench.marks import is_first_attempt, mark

STEPS = 10
_LONGER_THAN_ANY_RUN = 600


@durable.function(name="bench.step")
async def step(number: int) -> int:
    return number


@durable.function(name="bench.plain_step")
def plain_step(number: int) -> int:
    return number


@durable.function(name="bench.one")
async def one(ctx: durable.Context) -> int:
    mark("begin", ctx.id)
    value = await ctx.run(step, 1)
    mark("done", ctx.id)
    return value


@durable.function(name="bench.ten")
async def ten(ctx: durable.Context) -> int:
    mark("begin", ctx.id)
    for number in range(STEPS):
        await ctx.run(step, number)
    mark("done", ctx.id)
    return STEPS


@durable.function(name="bench.ten_plain")
async def ten_plain(ctx: durable.Context) -> int:
    """Ten steps that run on threads, as functions with Django's ORM do."""
    mark("begin", ctx.id)
    for number in range(STEPS):
        await ctx.run(plain_step, number)
    mark("done", ctx.id)
    return STEPS


@durable.function(name="bench.parallel")
async def parallel(ctx: durable.Context, number: int) -> int:
    if not ctx.info.is_replaying:
        mark("begin", ctx.id)
    values = await ctx.all(ctx.run(step, place) for place in range(number))
    mark("done", ctx.id)
    return len(values)


@durable.function(name="bench.parallel_plain")
async def parallel_plain(ctx: durable.Context, number: int) -> int:
    if not ctx.info.is_replaying:
        mark("begin", ctx.id)
    values = await ctx.all(ctx.run(plain_step, place) for place in range(number))
    mark("done", ctx.id)
    return len(values)


@durable.function(name="bench.child")
async def child(ctx: durable.Context, number: int) -> int:
    return await ctx.run(step, number)


@durable.function(name="bench.children")
async def children(ctx: durable.Context, number: int) -> int:
    if not ctx.info.is_replaying:
        mark("begin", ctx.id)
    values = await ctx.all(ctx.rpc(child, place) for place in range(number))
    mark("done", ctx.id)
    return len(values)


@durable.function(name="bench.signal")
async def signal(ctx: durable.Context) -> Any:
    """Wait for a promise that the driver settles; its id is that of ``question_of``."""
    reply = await ctx.promise()
    mark("waiting", ctx.id)
    answer = await reply
    mark("resumed", ctx.id)
    mark("done", ctx.id)
    return answer


@durable.function(name="bench.approval")
async def approval(ctx: durable.Context, number: int) -> bool:
    """What the pages show: a step, a question to people, a step."""
    await ctx.run(step, number)
    decision = await ctx.approval(
        f"Pay invoice {number}?",
        question="The amount is above the limit.",
        groups=["bench-deciders"],
        facts={"Amount": f"{number} EUR", "Supplier": "Example"},
    )
    await ctx.run(step, number)
    mark("done", ctx.id)
    return decision.approved


@durable.function(name="bench.interrupted")
async def interrupted(ctx: durable.Context) -> int:
    """Hang in the second step the first time, until the worker is killed."""
    await ctx.run(step, 1)
    value = await ctx.run(hang_once, ctx.id)
    mark("done", ctx.id)
    return value


@durable.function(name="bench.hang_once")
async def hang_once(key: str) -> int:
    if is_first_attempt(key):
        mark("instep", key)
        await asyncio.sleep(_LONGER_THAN_ANY_RUN)
    return 1


def question_of(key: str) -> str:
    """Return the id of the promise that a ``signal`` awaits."""
    return f"{key}:1"
