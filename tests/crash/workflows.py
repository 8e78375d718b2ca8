"""One execution uses everything: steps, a transaction, a question, a child, a timer."""

from collections.abc import Generator
from typing import Any

import durable
from tests.crash import journal
from tests.crash.models import Effect


@durable.function(name="crash.errand")
async def errand(ctx: durable.Context, number: int) -> dict[str, Any]:
    execution = ctx.id
    first = await ctx.run(step, execution, "first", number)
    booked = await ctx.transaction(book, execution, "before")
    decision = await ctx.approval(title=f"Errand {number}?", groups=["deciders"])
    both = await ctx.all(
        ctx.run(step, execution, "left", number), ctx.run(step, execution, "right", number)
    )
    child = await ctx.rpc(subtask, execution, number)
    await ctx.sleep(0.05)
    last = await ctx.transaction(book, execution, "after")
    return {
        "first": first,
        "booked": [booked, last],
        "answer": decision.comment,
        "both": both,
        "child": child,
    }


@durable.function(name="crash.subtask")
def subtask(ctx: durable.Context, execution: str, number: int) -> Generator[Any, Any, int]:
    total = 0
    for part in range(2):
        total += yield ctx.run(step, execution, f"part{part}", number)
    yield ctx.transaction(book, execution, "child")
    return total


@durable.function(name="crash.step")
def step(execution: str, name: str, number: int) -> int:
    journal.write(execution, name)
    return number


def book(execution: str, name: str) -> str:
    Effect.objects.create(execution=execution, name=name)
    return name


def expected(number: int, comment: str) -> dict[str, Any]:
    """Return what an errand must end with."""
    return {
        "first": number,
        "booked": ["before", "after"],
        "answer": comment,
        "both": [number, number],
        "child": 2 * number,
    }
