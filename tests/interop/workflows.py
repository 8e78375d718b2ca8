"""Native functions that SDK workers call, and that call SDK workers."""

from typing import Any

import durable


@durable.function(name="native_add")
def native_add(a: int, b: int) -> int:
    return a + b


@durable.function(name="native_call")
async def native_call(ctx: durable.Context, func: str, target: str, *args: Any) -> Any:
    return await ctx.rpc(func, *args).options(target=target)


@durable.function(name="native_fan")
async def native_fan(ctx: durable.Context, func: str, target: str, number: int) -> int:
    calls = [await ctx.begin_rpc(func, n, 1).options(target=target) for n in range(number)]
    return sum([await call for call in calls])


@durable.function(name="native_detach")
async def native_detach(ctx: durable.Context, func: str, target: str, *args: Any) -> str:
    return await ctx.detached(func, *args).options(target=target)


@durable.function(name="native_fail", retry=durable.Never())
def native_fail(text: str) -> None:
    raise ValueError(text)
