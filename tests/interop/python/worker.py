"""A worker with the official Python SDK; it takes orders on stdin, one JSON object a line.

Runs in an environment of its own: nothing of the project may be imported here.
"""

import asyncio
import json
import os
import sys
import time
from datetime import timedelta
from pathlib import Path

from resonate.resonate import Resonate
from resonate.retry import Constant, Never
from resonate.types import Value


def say(**line) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def add(ctx, a, b):
    return a + b


async def twice(ctx, x):
    once = await ctx.run(double, x)
    return await ctx.run(double, once)


def double(ctx, x):
    return x * 2


async def call(ctx, func, target, *args):
    return await ctx.options(target=target).rpc(func, *args)


async def fan(ctx, func, target, number):
    futures = [ctx.options(target=target).rpc(func, n, 1) for n in range(number)]
    return sum([await future for future in futures])


async def nap(ctx, seconds):
    await ctx.sleep(timedelta(seconds=seconds))
    return "slept"


async def ask(ctx):
    return await ctx.promise()


async def detach(ctx, func, target, *args):
    return await ctx.options(target=target).detached(func, *args)


async def fail(ctx, text):
    raise ValueError(text)


async def flaky(ctx, path, failures):
    policy = Constant(delay=0, max_retries=5)
    return await ctx.options(retry_policy=policy).run(unreliable, path, failures)


def unreliable(ctx, path, failures):
    if note(path) <= failures:
        message = "not yet"
        raise RuntimeError(message)
    return "at last"


async def survive(ctx, path):
    """Hold on for ever in the first process, be done at once in the next."""
    first = await ctx.run(note_pid, path)
    if first == os.getpid():
        await asyncio.sleep(3600)
    return "adopted"


def note_pid(ctx, path):
    note(path)
    return os.getpid()


def note(path) -> int:
    with Path(path).open("a") as file:
        file.write(f"{os.getpid()}\n")
    return len(Path(path).read_text().splitlines())


FUNCTIONS = [add, twice, double, call, fan, nap, ask, detach, fail, flaky, unreliable]
FUNCTIONS += [survive, note_pid]


async def obey(resonate, order) -> None:
    number = order["n"]
    try:
        say(n=number, result=await carry_out(resonate, order))
    except Exception as error:
        say(n=number, error=f"{type(error).__name__}: {error}")


async def carry_out(resonate, order):
    one = resonate.options(target=order.get("target"), timeout=timedelta(minutes=5))
    match order["do"]:
        case "run":
            return await one.run(order["id"], order["func"], *order["args"]).result()
        case "rpc":
            return await one.rpc(order["id"], order["func"], *order["args"]).result()
        case "begin":
            handle = one.rpc(order["id"], order["func"], *order["args"])
            return await handle.id()
        case "get":
            return await (await resonate.get(order["id"])).result()
        case "schedule":
            await resonate.schedule(order["id"], order["cron"], order["func"], tuple(order["args"]))
        case "unschedule":
            await resonate.schedules.delete(order["id"])
        case "create":
            ends = int(time.time() + 300) * 1000
            await resonate.promises.create(order["id"], ends, Value(), order["tags"])
            return await (await resonate.get(order["id"])).result()
    return None


async def main() -> None:
    url, group = sys.argv[1:3]
    resonate = Resonate(url=url, group=group, ttl=timedelta(seconds=4))
    names = os.environ.get("INTEROP_FUNCTIONS")
    for function in FUNCTIONS:
        if not names or function.__name__ in names.split(","):
            resonate.register(function, retry_policy=Never())
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    say(ready=True)
    orders = set()
    while line := await reader.readline():
        orders.add(asyncio.create_task(obey(resonate, json.loads(line))))
    await resonate.stop()


asyncio.run(main())
