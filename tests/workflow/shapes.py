# ruff: noqa: N805 - the classes hold functions, not methods; the first argument is the context
"""A corpus of workflow shapes, each in both spellings; test_replay says what holds for all."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from durable.workflow.context import Context
from durable.workflow.errors import ApplicationError, PromiseTimeoutError
from durable.workflow.registry import Registry
from durable.workflow.retry import Constant, Exponential, Never
from tests.workflow.engine import reject, resolve

SPELLINGS = ("async", "generator")


class PaymentError(Exception):
    """What steps fail with."""


def add(a: int, b: int) -> int:
    return a + b


def echo(value: Any) -> Any:
    return value


async def echo_async(value: Any) -> Any:
    return value


def fail(message: str) -> None:
    raise PaymentError(message)


def fail_until(ctx: Context, attempt: int) -> int:
    if ctx.info.attempt < attempt:
        raise PaymentError(f"attempt {ctx.info.attempt}")
    return ctx.info.attempt


@dataclass(frozen=True)
class Shape:
    """One workflow in two spellings, how it is settled from outside, and how it must end."""

    name: str
    functions: Mapping[str, Mapping[str, Callable[..., Any]]]
    result: Any = None
    error: str | None = None
    args: tuple[Any, ...] = ()
    answers: Mapping[str, Callable[[str], object]] = field(default_factory=dict)
    patience: float = 30.0

    def registry(self, spelling: str) -> Registry:
        registry = Registry()
        for name, spelled in self.functions.items():
            registry.function(name=name)(spelled[spelling])
        return registry


SHAPES: list[Shape] = []


def shape(**options: Any) -> Callable[[type], type]:
    """Collect a class whose methods are functions: ``flow``, and those it calls, each twice."""

    def collect(cls: type) -> type:
        members = {name: value for name, value in vars(cls).items() if not name.startswith("__")}
        functions: dict[str, dict[str, Callable[..., Any]]] = {}
        for name, member in members.items():
            base = name.removesuffix("_async").removesuffix("_generator")
            spelled = functions.setdefault(base, {})
            if name.endswith("_async"):
                spelled["async"] = member
            elif name.endswith("_generator"):
                spelled["generator"] = member
            else:
                spelled |= {"async": member, "generator": member}
        SHAPES.append(Shape(name=cls.__name__, functions=functions, **options))
        return cls

    return collect


@shape(args=(2,), result=16)
class Sequence:
    async def flow_async(ctx, n: int) -> int:
        n = await ctx.run(add, n, 2)
        n = await ctx.run(echo_async, n * 2)
        return await ctx.run(lambda: n * 2)

    def flow_generator(ctx, n: int):
        n = yield ctx.run(add, n, 2)
        n = yield ctx.run(echo_async, n * 2)
        return (yield ctx.run(lambda: n * 2))


@shape(result=[0, 1, 3, 6])
class Loop:
    async def flow_async(ctx):
        total, seen = 0, []
        for n in range(4):
            total = await ctx.lfc(add, total, n)
            seen.append(total)
        return seen

    def flow_generator(ctx):
        total, seen = 0, []
        for n in range(4):
            total = yield ctx.lfc(add, total, n)
            seen.append(total)
        return seen


@shape(result=[0, 1, 4, 9])
class FanOutLocal:
    async def flow_async(ctx):
        return await ctx.all(ctx.run(echo, n * n) for n in range(4))

    def flow_generator(ctx):
        return (yield ctx.all(ctx.run(echo, n * n) for n in range(4)))


@shape(result=[1, 2, 3, [10, None]])
class FanOutMixed:
    async def flow_async(ctx):
        first = await ctx.begin_rpc("double", 1)
        return await ctx.all(
            ctx.run(echo, 1), first, ctx.run(echo, 3), ctx.all(ctx.rpc("double", 5), ctx.sleep(1))
        )

    def flow_generator(ctx):
        first = yield ctx.begin_rpc("double", 1)
        return (
            yield ctx.all(
                ctx.run(echo, 1),
                first,
                ctx.run(echo, 3),
                ctx.all(ctx.rpc("double", 5), ctx.sleep(1)),
            )
        )

    def double(n: int) -> int:
        return n * 2


@shape(result=[7, 7])
class Nested:
    async def flow_async(ctx):
        return await ctx.run(Nested.inner_async, 3)

    async def inner_async(ctx, n):
        await ctx.sleep(2)
        return [await ctx.run(Nested.innermost_async, n), await ctx.run(add, n, 4)]

    async def innermost_async(ctx, n):
        return await ctx.run(add, n, 4)

    def flow_generator(ctx):
        return (yield ctx.run(Nested.inner_generator, 3))

    def inner_generator(ctx, n):
        yield ctx.sleep(2)
        return [(yield ctx.run(Nested.innermost_generator, n)), (yield ctx.run(add, n, 4))]

    def innermost_generator(ctx, n):
        return (yield ctx.run(add, n, 4))


for _spelling in SPELLINGS:
    for _name in ("inner", "innermost"):
        getattr(Nested, f"{_name}_{_spelling}").__name__ = _name


@shape(result=["caught no funds", "and PaymentError"])
class ErrorCaught:
    async def flow_async(ctx):
        try:
            await ctx.run(fail, "no funds").options(retry=Never())
        except PaymentError as error:
            caught = await ctx.run(echo, f"caught {error}")
        try:
            await ctx.rpc("charge")
        except PaymentError as error:
            return [caught, f"and {type(error).__name__}"]

    def flow_generator(ctx):
        try:
            yield ctx.run(fail, "no funds").options(retry=Never())
        except PaymentError as error:
            caught = yield ctx.run(echo, f"caught {error}")
        try:
            yield ctx.rpc("charge")
        except PaymentError as error:
            return [caught, f"and {type(error).__name__}"]

    def charge(ctx):
        raise PaymentError("broke")


@shape(error="no funds")
class ErrorUncaught:
    async def flow_async(ctx):
        await ctx.run(echo, 1)
        await ctx.options(retry=Never()).run(fail, "no funds")

    def flow_generator(ctx):
        yield ctx.run(echo, 1)
        yield ctx.options(retry=Never()).run(fail, "no funds")


@shape(result=[3, 2])
class Retries:
    async def flow_async(ctx):
        return [
            await ctx.run(fail_until, 3),
            await ctx.run(fail_until, 2).options(retry=Constant(5)),
        ]

    def flow_generator(ctx):
        return [
            (yield ctx.run(fail_until, 3)),
            (yield ctx.run(fail_until, 2).options(retry=Constant(5))),
        ]


@shape(result=[4, 1], patience=1.0)
class RetriesParked:
    async def flow_async(ctx):
        policy = Exponential(delay=60, max_delay=timedelta(minutes=5))
        return [await ctx.run(fail_until, 4).options(retry=policy), await ctx.run(echo, 1)]

    def flow_generator(ctx):
        policy = Exponential(delay=60, max_delay=timedelta(minutes=5))
        return [
            (yield ctx.run(fail_until, 4).options(retry=policy)),
            (yield ctx.run(echo, 1)),
        ]


@shape(result=["b", "a", "r"])
class BeginJoin:
    async def flow_async(ctx):
        a = await ctx.begin_run(echo, "a")
        r = await ctx.rfi("remote", "r")
        b = await ctx.lfi(echo_async, "b")
        return [await b, await a, await r]

    def flow_generator(ctx):
        a = yield ctx.begin_run(echo, "a")
        r = yield ctx.rfi("remote", "r")
        b = yield ctx.lfi(echo_async, "b")
        return [(yield b), (yield a), (yield r)]

    def remote(value):
        return value


@shape(result="done")
class Unjoined:
    async def flow_async(ctx):
        await ctx.begin_run(echo, 1)
        await ctx.begin_rpc("remote")
        await ctx.begin_run(Unjoined.slow_async)
        return "done"

    async def slow_async(ctx):
        await ctx.sleep(5)

    def flow_generator(ctx):
        yield ctx.begin_run(echo, 1)
        yield ctx.begin_rpc("remote")
        yield ctx.begin_run(Unjoined.slow_generator)
        return "done"

    def slow_generator(ctx):
        yield ctx.sleep(5)

    def remote():
        return 1


for _spelling in SPELLINGS:
    getattr(Unjoined, f"slow_{_spelling}").__name__ = "slow"


@shape(error="late")
class UnjoinedFails:
    async def flow_async(ctx):
        await ctx.begin_rpc("remote")
        await ctx.begin_run(echo, 1)
        return "done"

    def flow_generator(ctx):
        yield ctx.begin_rpc("remote")
        yield ctx.begin_run(echo, 1)
        return "done"

    def remote(ctx):
        raise PaymentError("late")


@shape(result=[None, None, "x"])
class Sleep:
    async def flow_async(ctx):
        first = await ctx.sleep(0.5)
        second = await ctx.sleep(timedelta(days=30))
        return [first, second, await ctx.run(echo, "x")]

    def flow_generator(ctx):
        first = yield ctx.sleep(0.5)
        second = yield ctx.sleep(timedelta(days=30))
        return [first, second, (yield ctx.run(echo, "x"))]


@shape(
    result=["w:1", {"paid": 5}, "too late"],
    answers={"w:1": resolve({"paid": 5})},
)
class Latent:
    async def flow_async(ctx):
        reply = await ctx.promise(data={"ask": "money"})
        sent = await ctx.run(echo, reply.id)
        answer = await reply
        try:
            await (await ctx.promise(timeout=60))
        except PromiseTimeoutError:
            return [sent, answer, "too late"]

    def flow_generator(ctx):
        reply = yield ctx.promise(data={"ask": "money"})
        sent = yield ctx.run(echo, reply.id)
        answer = yield reply
        try:
            yield (yield ctx.promise(timeout=60))
        except PromiseTimeoutError:
            return [sent, answer, "too late"]


@shape(
    result=["shipped", "not again: too expensive by mia"],
    answers={
        "w:1": resolve({"approved": True, "answer": "ship", "comment": "", "by": "mia"}),
        "w:3": reject("no", approved=False, comment="too expensive", by="mia"),
    },
)
class Approvals:
    async def flow_async(ctx):
        said = []
        decision = await ctx.approval("Ship it?", users=["mia"], groups=["finance"])
        if decision.approved:
            said.append(await ctx.run(echo, "shipped"))
        again = await ctx.approval("And again?", consequence="It is not shipped.", priority=3)
        if not again.approved:
            said.append(f"not again: {again.comment} by {again.by}")
        return said

    def flow_generator(ctx):
        said = []
        decision = yield ctx.approval("Ship it?", users=["mia"], groups=["finance"])
        if decision.approved:
            said.append((yield ctx.run(echo, "shipped")))
        again = yield ctx.approval("And again?", consequence="It is not shipped.", priority=3)
        if not again.approved:
            said.append(f"not again: {again.comment} by {again.by}")
        return said


@shape(result="w:d71dfbf847130f98d")
class Detached:
    async def flow_async(ctx):
        return await ctx.detached("job", 1)

    def flow_generator(ctx):
        return (yield ctx.detached("job", 1))

    async def job_async(ctx, n):
        await ctx.sleep(1)
        return await ctx.run(add, n, 1)

    def job_generator(ctx, n):
        yield ctx.sleep(1)
        return (yield ctx.run(add, n, 1))


@shape(args=(4,), result=24)
class RemoteChain:
    async def flow_async(ctx, n):
        if n <= 1:
            return 1
        return n * await ctx.rpc("flow", n - 1)

    def flow_generator(ctx, n):
        if n <= 1:
            return 1
        return n * (yield ctx.rpc("flow", n - 1))


@shape(result=["A", ["b", "b"], "foreign: gone"], answers={"w:2": reject("gone")})
class RemoteAndLocal:
    async def flow_async(ctx):
        local = await ctx.begin_run(RemoteAndLocal.part_async, "b")
        foreign = await ctx.begin_rpc("elsewhere").options(target="nobody")
        upper = await ctx.rpc("upper", "a").options(target="poll://any@other")
        try:
            await foreign
        except ApplicationError as error:
            return [upper, await local, f"foreign: {error}"]

    async def part_async(ctx, value):
        remote = await ctx.rpc("same", value)
        return [remote, await ctx.run(echo, value)]

    def flow_generator(ctx):
        local = yield ctx.begin_run(RemoteAndLocal.part_generator, "b")
        foreign = yield ctx.begin_rpc("elsewhere").options(target="nobody")
        upper = yield ctx.rpc("upper", "a").options(target="poll://any@other")
        try:
            yield foreign
        except ApplicationError as error:
            return [upper, (yield local), f"foreign: {error}"]

    def part_generator(ctx, value):
        remote = yield ctx.rpc("same", value)
        return [remote, (yield ctx.run(echo, value))]

    def upper(value):
        return value.upper()

    def same(value):
        return value


for _spelling in SPELLINGS:
    getattr(RemoteAndLocal, f"part_{_spelling}").__name__ = "part"


@shape(result="undone step 2, undone step 1")
class Saga:
    async def flow_async(ctx):
        done = []
        try:
            for n in (1, 2, 3):
                if n == 3:
                    await ctx.run(fail, "step 3").options(retry=Never())
                done.append(await ctx.run(echo, f"step {n}"))
        except PaymentError:
            undone = [await ctx.run(echo, f"undone {step}") for step in reversed(done)]
            return ", ".join(undone)

    def flow_generator(ctx):
        done = []
        try:
            for n in (1, 2, 3):
                if n == 3:
                    yield ctx.run(fail, "step 3").options(retry=Never())
                done.append((yield ctx.run(echo, f"step {n}")))
        except PaymentError:
            undone = ""
            for step in reversed(done):
                undone += ", " * bool(undone) + (yield ctx.run(echo, f"undone {step}"))
            return undone


@shape(result=[5, 5], answers={})
class ExplicitIds:
    async def flow_async(ctx):
        first = await ctx.begin_rpc("cached", 5).options(id="cache-5")
        second = await ctx.rpc("cached", 5).options(id="cache-5")
        return [await first, second]

    def flow_generator(ctx):
        first = yield ctx.begin_rpc("cached", 5).options(id="cache-5")
        second = yield ctx.rpc("cached", 5).options(id="cache-5")
        return [(yield first), second]

    async def cached_async(ctx, n):
        return await ctx.run(echo, n)

    def cached_generator(ctx, n):
        return (yield ctx.run(echo, n))
