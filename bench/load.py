"""Starts many workflows at once from this process, as many calls in flight as the sizes say."""

import asyncio
import itertools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import durable
from bench.marks import Marks

_numbers = itertools.count(1)


class Produced(NamedTuple):
    """When the first start call was made and the last one returned, and how many there were."""

    began_at: float
    started_at: float
    number: int


def new_key(prefix: str) -> str:
    """Return an id that this session has not used."""
    return f"{prefix}-{next(_numbers):06}"


def start_many(
    function: Callable[..., Any],
    number: int,
    *,
    prefix: str,
    concurrency: int,
    numbered: bool = False,
) -> Produced:
    """Start workflows and return when all start calls have; ``numbered`` gives each its number."""
    return asyncio.run(_start_many(function, number, prefix, concurrency, numbered=numbered))


async def _start_many(
    function: Callable[..., Any], number: int, prefix: str, concurrency: int, *, numbered: bool
) -> Produced:
    keys = [new_key(prefix) for _ in range(number)]
    remaining = iter(enumerate(keys))

    async def keep_starting() -> None:
        for place, key in remaining:
            await durable.astart(key, function, *([place] if numbered else []))

    began_at = time.monotonic()
    await asyncio.gather(*(keep_starting() for _ in range(concurrency)))
    return Produced(began_at, time.monotonic(), number)


class Rate(NamedTuple):
    """Workflows a second until the last line of the last, and start calls a second."""

    workflows: float
    starts: float


def measure_rate(
    marks: Marks, function: Callable[..., Any], number: int, *, concurrency: int
) -> Rate:
    """Start workflows and wait for the end of all."""
    marks.clear()
    produced = start_many(function, number, prefix="load", concurrency=concurrency)
    ended_at = marks.wait_all("done", number)
    return Rate(
        number / (ended_at - produced.began_at),
        number / (produced.started_at - produced.began_at),
    )
