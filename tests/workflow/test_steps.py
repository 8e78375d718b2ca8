"""Steps: what the workflow sees of them, when they are tried again, how many run at once."""

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from durable.protocol.requests import TaskSuspend
from durable.protocol.states import PromiseState
from durable.workflow.context import Context
from durable.workflow.errors import (
    ApplicationError,
    DeadlineError,
    EncodingError,
    PerformedTwiceError,
    PromiseCanceledError,
    PromiseTimeoutError,
)
from durable.workflow.registry import Registry
from durable.workflow.retry import Constant, Exponential, Linear, Never
from tests.workflow.engine import EPOCH, World, resolve


class OrderError(Exception):
    def __init__(self, code):
        super().__init__(f"order {code} is refused")
        self.code = code


@dataclass
class Order:
    number: int
    due: datetime
    total: Decimal


def world_of(flow, *others, start=None, **options) -> World:
    registry = Registry()
    registry.function(name="flow")(flow)
    for other in others:
        registry.function(other)
    world = World(registry, **options)
    world.start("w", "flow", **(start or {}))
    return world


async def run(flow, *others, **options) -> World:
    world = world_of(flow, *others, **options)
    await world.drain()
    return world


@pytest.mark.asyncio
async def test_values_make_the_trip_through_json_before_the_workflow_sees_them():
    seen = []

    def pair():
        return (1, {2: Decimal("3.50")})

    async def flow(ctx):
        seen.append(await ctx.run(pair))
        await ctx.sleep(1)

    await run(flow)
    assert seen == [[1, {"2": "3.50"}]] * 2


@pytest.mark.asyncio
async def test_declared_result_types_are_restored_live_and_on_replay():
    seen = []
    order = Order(7, datetime(2026, 1, 2, tzinfo=UTC), Decimal("9.90"))

    def load() -> Order:
        return order

    async def load_all() -> dict[UUID, tuple[Order, ...]]:
        return {UUID(int=1): (order,)}

    def generate(ctx) -> "Generator[object, object, Decimal]":  # noqa: F821
        yield ctx.sleep(1)
        return Decimal("1.20")

    async def flow(ctx):
        seen.append(await ctx.run(load))
        seen.append(await ctx.run(load_all))
        seen.append(await ctx.rpc(load))
        seen.append(await ctx.run(generate))

    await run(flow, load)
    assert seen[-4:] == [order, {UUID(int=1): (order,)}, order, "1.20"]
    assert all(found == order for found in seen if isinstance(found, Order))


@pytest.mark.asyncio
async def test_arguments_of_a_call_by_name_are_restored():
    seen = []

    def remote(ctx, order: Order, *rest: int, at: datetime, note: "Unknown" = None):  # noqa: F821
        seen.append((order, rest, at, note))

    async def flow(ctx):
        order = Order(7, datetime(2026, 1, 2, tzinfo=UTC), Decimal("9.90"))
        await ctx.rpc(remote, order, 1, 2, at=order.due, note=(1,))

    await run(flow, remote)
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    assert seen == [(Order(7, moment, Decimal("9.90")), (1, 2), moment, [1])]


@pytest.mark.asyncio
async def test_errors_are_the_same_objects_live_and_on_replay():
    seen = []

    def refuse():
        raise OrderError(5)

    async def flow(ctx):
        try:
            await ctx.run(refuse).options(retry=Never())
        except OrderError as error:
            seen.append((str(error), error.args, error.code, error.__cause__))
        await ctx.sleep(1)

    await run(flow)
    assert seen == [("order 5 is refused", ("order 5 is refused",), 5, None)] * 2


@pytest.mark.asyncio
async def test_step_arguments_stay_in_memory():
    thing = object()

    async def flow(ctx):
        return await ctx.run(lambda it: it is thing, thing)

    world = await run(flow)
    assert world.value("w") is True


@pytest.mark.parametrize("place", ["plain", "async"])
@pytest.mark.asyncio
async def test_context_is_given_only_to_a_first_parameter_named_ctx(place):
    def plain(ctx):
        return ctx.id

    async def coroutine(ctx):
        return ctx.id

    async def flow(ctx):
        return [
            await ctx.run(plain if place == "plain" else coroutine),
            await ctx.run(lambda other: other, 5),
        ]

    world = await run(flow)
    assert world.value("w") == ["w:1", 5]


@pytest.mark.asyncio
async def test_info_tells_where_the_function_is():
    infos = []

    def step(ctx):
        infos.append(ctx.info)

    async def flow(ctx):
        infos.append(ctx.info)
        await ctx.run(step).options(timeout=60, tags={"a": "b"})

    world = world_of(flow)
    await world.drain()
    root, inner = infos
    assert (root.id, root.origin, root.parent) == ("w", "w", "w")
    assert (root.function, root.version, root.attempt, root.deadline) == ("flow", 1, 1, None)
    assert root.tags["resonate:scope"] == "global"
    assert root.started_at == datetime(2027, 1, 15, 8, tzinfo=UTC)
    assert root.is_replaying is False
    assert (inner.id, inner.origin, inner.parent) == ("w:1", "w", "w")
    assert (inner.tags["a"], inner.tags["resonate:scope"]) == ("b", "local")
    assert inner.deadline == root.started_at + timedelta(seconds=60)


@pytest.mark.asyncio
async def test_the_logger_is_silent_while_replaying(caplog):
    async def flow(ctx):
        ctx.logger.info("first")
        await ctx.run(lambda: 1)
        ctx.logger.info("second")
        await ctx.sleep(1)
        ctx.logger.info("third", extra={"more": 1})

    with caplog.at_level(logging.INFO, logger="durable.function"):
        await run(flow)
    assert [record.message for record in caplog.records] == ["first", "second", "third"]
    assert caplog.records[2].promise_id == "w"
    assert caplog.records[2].more == 1


def failing(times, error=ValueError):
    def fragile(ctx):
        if ctx.info.attempt <= times:
            raise error(f"attempt {ctx.info.attempt}")
        return ctx.info.attempt

    return fragile


@pytest.mark.asyncio
async def test_default_policy_doubles_from_one_second_and_gives_up_after_ten_attempts():
    async def flow(ctx):
        await ctx.run(failing(99))

    world = await run(flow, patience=1000)
    assert world.pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert world.value("w")["message"] == "attempt 10"
    assert world.sender.notes["w:1"].attempts == 10
    assert world.sender.notes["w:1"].last_error == "ValueError: attempt 10"


@pytest.mark.asyncio
async def test_short_pauses_hold_the_lease_and_long_ones_park():
    async def flow(ctx):
        return await ctx.run(failing(6))

    world = await run(flow)
    assert world.value("w") == 7
    assert world.pauses == [1, 2, 4, 8, 16]
    parked = [one for one in world.sender.store.state.promises if ".r" in one]
    assert parked == ["w:1.r6"]
    assert [outcome.ending.value for _, outcome in world.outcomes] == ["suspended", "fulfilled"]
    assert (world.sender.notes["w:1"].attempts, world.sender.notes["w:1"].last_error) == (
        7,
        "ValueError: attempt 6",
    )


@pytest.mark.parametrize(
    ("policy", "pauses"),
    [
        (Linear(2, max_attempts=4), [2, 4, 6]),
        (Constant(timedelta(seconds=3), max_attempts=3), [3, 3]),
        (Never(), []),
        (Exponential(max_attempts=1), []),
        (Exponential(delay=5, factor=3, max_delay=20, max_attempts=4), [5, 15, 20]),
        (Exponential(non_retryable=(ValueError,)), []),
        (Constant(1, non_retryable=(LookupError,), max_attempts=2), [1]),
    ],
    ids=str,
)
@pytest.mark.asyncio
async def test_policies(policy, pauses):
    async def flow(ctx):
        await ctx.run(failing(99)).options(retry=policy)

    world = await run(flow)
    assert world.pauses == pauses
    assert world.state("w") is PromiseState.REJECTED


@pytest.mark.asyncio
async def test_function_brings_its_policy_and_a_call_overrides_it():
    registry = Registry()
    fragile = registry.function(retry=Constant(7, max_attempts=2))(failing(99))

    @registry.function
    async def flow(ctx):
        for options in ({}, {"retry": Constant(3, max_attempts=2)}):
            try:
                await ctx.run(fragile).options(**options)
            except ValueError:
                continue

    world = World(registry)
    world.start("w", "flow")
    await world.drain()
    assert world.pauses == [7, 3]


@pytest.mark.asyncio
async def test_a_function_with_durable_calls_is_never_tried_again():
    async def inner(ctx):
        await ctx.run(lambda: 1)
        raise ValueError("once")

    async def flow(ctx):
        await ctx.run(inner)

    world = await run(flow)
    assert world.pauses == []
    assert [running.id for running in world.runs].count("w:1") == 1
    assert world.value("w")["message"] == "once"


@pytest.mark.asyncio
async def test_a_plain_function_behind_a_task_is_a_step_and_one_with_a_context_is_not():
    attempts = []

    def plain():
        attempts.append("plain")
        raise ValueError("plain")

    async def workflow(ctx):
        attempts.append("workflow")
        raise ValueError("workflow")

    async def flow(ctx):
        for remote in (plain, workflow):
            try:
                await ctx.rpc(remote)
            except ValueError:
                continue

    await run(flow, plain, workflow, patience=1000)
    assert attempts == ["plain"] * 10 + ["workflow"]


@pytest.mark.asyncio
async def test_a_plain_function_behind_a_task_parks_too():
    registry = Registry()
    registry.function(name="flow", retry=Constant(100))(failing(2))
    world = World(registry)
    world.start("w", "flow")
    await world.drain()
    assert world.value("w") == 3
    assert sorted(world.sender.store.state.promises) == ["w", "w:r1", "w:r2"]
    assert world.sender.notes["w"].attempts == 3


@pytest.mark.asyncio
async def test_no_retry_that_would_come_after_the_deadline():
    async def flow(ctx):
        await ctx.run(failing(99)).options(retry=Constant(10), timeout=25)

    world = await run(flow)
    assert world.pauses == [10, 10]
    assert world.value("w")["message"] == "attempt 3"


@pytest.mark.asyncio
async def test_wrong_arguments_are_refused_where_they_stand():
    def add(a, b): ...

    async def flow(ctx):
        for call in (ctx.run, ctx.rpc, ctx.begin_run, ctx.detached, ctx.transaction):
            with pytest.raises(TypeError, match=r"^add\(\): missing a required argument: 'b'$"):
                call(add, 1)
        return "ok"

    assert (await run(flow)).value("w") == "ok"


@pytest.mark.asyncio
async def test_wrong_arguments_from_outside_reject_at_once():
    registry = Registry()

    @registry.function
    def flow(a): ...

    world = World(registry)
    world.start("w", "flow", kwargs={"b": 1})
    await world.drain()
    assert world.value("w")["message"] == "flow(): missing a required argument: 'a'"
    assert world.pauses == []


class Opaque: ...


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (
            {"a": [1, Opaque()]},
            "at $.a[1] is a tests.workflow.test_steps.Opaque, which has no JSON form",
        ),
        (float("nan"), "at $ is nan, which JSON cannot hold"),
        ([None, float("inf")], "at $[1] is inf, which JSON cannot hold"),
        (object(), "at $ is a object, which has no JSON form"),
    ],
)
@pytest.mark.asyncio
async def test_a_result_without_json_form_rejects_with_path_and_type(value, text):
    async def flow(ctx):
        await ctx.run(lambda: value)

    world = await run(flow)
    assert world.pauses == []
    assert (
        world.value("w")["message"]
        == f"the result of '<lambda>' (w:1) cannot be stored as JSON: {text}"
    )


@pytest.mark.asyncio
async def test_arguments_without_json_form_are_refused_at_the_call():
    async def flow(ctx):
        messages = []
        for call in (ctx.rpc("far", Opaque()), ctx.detached("far", x=Opaque())):
            try:
                await call
            except EncodingError as error:
                messages.append(str(error))
        try:
            await ctx.promise(data=Opaque())
        except EncodingError as error:
            messages.append(str(error))
        return messages

    opaque = "a tests.workflow.test_steps.Opaque, which has no JSON form"
    arguments = "the arguments of 'far' cannot be stored as JSON"
    assert (await run(flow)).value("w") == [
        f"{arguments}: at $.args[0] is {opaque}",
        f"{arguments}: at $.kwargs.x is {opaque}",
        f"the data of 'w:3' cannot be stored as JSON: at $ is {opaque}",
    ]


@pytest.mark.asyncio
async def test_children_are_cut_to_their_callers_deadline():
    async def inner(ctx):
        await ctx.begin_rpc("far").options(target="nobody", timeout=9)
        await ctx.begin_rpc("far").options(target="nobody", timeout=90)
        await ctx.promise()

    async def flow(ctx):
        await ctx.begin_run(inner).options(timeout=30)
        await ctx.begin_rpc("far").options(target="nobody")

    world = world_of(flow, start={"timeout": 60})
    await world.step()
    deadlines = {
        record.id: (record.timeout_at - EPOCH) // 1000
        for record in map(world.sender.record, world.sender.store.state.promises)
    }
    assert deadlines == {
        "w": 60,
        "w:1": 30,
        "w:1.1": 9,
        "w:1.2": 30,
        "w:1.3": 30,
        "w:2": 60,
    }


@pytest.mark.asyncio
async def test_a_wait_that_outlives_its_call_is_refused_with_both_times():
    async def flow(ctx):
        messages = []
        for command in (
            ctx.sleep(timedelta(days=1)),
            ctx.sleep(datetime(2027, 2, 1, tzinfo=UTC)),
            ctx.promise(timeout=61),
            ctx.approval("Ship?", timeout=60.5),
        ):
            try:
                await command
            except DeadlineError as error:
                messages.append(str(error))
        return messages

    world = await run(flow, start={"timeout": 60})
    tail = (
        "is longer than 'w' may take, whose deadline is 2027-01-15T08:01:00Z; "
        "start that with a longer timeout"
    )
    assert world.value("w") == [
        f"a sleep until 2027-01-16T08:00:00Z {tail}",
        f"a sleep until 2027-02-01T00:00:00Z {tail}",
        f"ctx.promise() until 2027-01-15T08:01:01Z {tail}",
        f"ctx.approval('Ship?') until 2027-01-15T08:01:00.500Z {tail}",
    ]


@pytest.mark.asyncio
async def test_a_naive_time_and_a_time_that_is_none_are_refused():
    async def flow(ctx):
        with pytest.raises(ValueError, match="has no time zone; use an aware datetime"):
            await ctx.sleep(datetime(2027, 2, 1))  # noqa: DTZ001
        with pytest.raises(TypeError, match="'soon' is no time; use seconds"):
            await ctx.sleep("soon")
        await ctx.sleep(-5)
        await ctx.sleep(datetime(2020, 1, 1, tzinfo=UTC))

    world = await run(flow)
    assert world.state("w") is PromiseState.RESOLVED


@pytest.mark.asyncio
async def test_awaiting_what_timed_out_or_was_cancelled_raises():
    from durable.workflow import promises

    async def flow(ctx):
        seen = []
        for command in (ctx.promise(timeout=5), ctx.promise(), ctx.promise()):
            try:
                await (await command)
            except (PromiseTimeoutError, PromiseCanceledError) as error:
                seen.append(f"{type(error).__name__}: {error}")
        try:
            await ctx.approval("Ship?", timeout=5)
        except TimeoutError as error:
            seen.append(str(error))
        return seen

    answers = {
        "w:2": lambda promise_id: promises.cancel(promise_id, "no longer needed"),
        "w:3": promises.cancel,
    }
    world = world_of(flow, answers=answers)
    await world.step()
    world.clock.advance(5)
    await world.drain()
    assert world.value("w") == [
        "PromiseTimeoutError: 'w:1' was not settled before its deadline, 2027-01-15T08:00:05Z",
        "PromiseCanceledError: 'w:2' was canceled: no longer needed",
        "PromiseCanceledError: 'w:3' was canceled",
        "'w:4' was not settled before its deadline, 2027-01-15T08:00:10Z",
    ]


@pytest.mark.asyncio
async def test_a_step_that_took_longer_than_its_timeout_is_timed_out():
    async def flow(ctx):
        try:
            await ctx.run(lambda: world.clock.advance(31)).options(timeout=30)
        except PromiseTimeoutError:
            return "late"

    world = world_of(flow)
    await world.drain()
    assert world.value("w") == "late"
    assert world.state("w:1") is PromiseState.REJECTED_TIMEDOUT


@pytest.mark.asyncio
async def test_an_async_step_is_stopped_at_its_timeout():
    stopped = []

    async def slow():
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            stopped.append(True)
            raise

    async def flow(ctx):
        try:
            await ctx.run(slow).options(timeout=0.05)
        except PromiseTimeoutError as error:
            return str(error)

    world = await run(flow)
    assert stopped == [True]
    assert "was not settled before its deadline" in world.value("w")


@pytest.mark.asyncio
async def test_an_async_workflow_is_not_stopped_by_the_clock_of_this_process():
    async def inner(ctx):
        await ctx.run(lambda: 1)
        await asyncio.sleep(0.1)
        return "whole"

    async def flow(ctx):
        return await ctx.run(inner).options(timeout=0.05)

    assert (await run(flow)).value("w") == "whole"


@pytest.mark.asyncio
async def test_steps_of_an_all_run_at_once_and_no_more_than_the_worker_allows():
    running = most = 0

    async def step():
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1

    async def flow(ctx):
        await ctx.all(ctx.run(step) for _ in range(20))

    await run(flow, steps=3)
    assert most == 3


@pytest.mark.asyncio
async def test_waiting_functions_hold_no_slot():
    async def inner(ctx, depth):
        if depth:
            return await ctx.run(inner, depth - 1)
        return await ctx.run(lambda: "deep")

    async def flow(ctx):
        return await ctx.all(ctx.run(inner, 5) for _ in range(4))

    assert (await run(flow, steps=1)).value("w") == ["deep"] * 4


@pytest.mark.asyncio
async def test_each_result_is_written_as_it_comes():
    order = []

    async def step(name, delay):
        await asyncio.sleep(delay)
        return name

    async def flow(ctx):
        await ctx.all(ctx.run(step, "slow", 0.05), ctx.run(step, "fast", 0))

    world = await run(flow)
    order = [program[0].action.id for program in world.sender.programs[1:3]]
    assert order == ["w:2", "w:1"]


@pytest.mark.asyncio
async def test_all_waits_for_every_one_and_raises_the_first_in_order():
    ended = []

    async def step(name, delay):
        await asyncio.sleep(delay)
        ended.append(name)
        raise OrderError(name)

    async def flow(ctx):
        policy = ctx.options(retry=Never())
        steps = [policy.run(step, "b", 0.02), policy.run(step, "c", 0)]
        with pytest.raises(OrderError, match="order b is refused"):
            await ctx.all(ctx.run(lambda: 1), *steps)
        return "caught"

    world = await run(flow)
    assert ended == ["c", "b"]
    assert world.value("w") == "caught"


@pytest.mark.asyncio
async def test_all_takes_one_iterable_or_nothing():
    async def flow(ctx):
        return [await ctx.all(), await ctx.all([]), await ctx.all([ctx.run(lambda: 1)])]

    assert (await run(flow)).value("w") == [[], [], [1]]


@pytest.mark.asyncio
async def test_a_pass_that_waits_for_several_registers_each():
    async def flow(ctx):
        a, b = await ctx.promise(), await ctx.promise()
        first = await ctx.begin_run(waits, a)
        second = await ctx.begin_run(waits, b)
        return [await first, await second]

    async def waits(ctx, promise):
        return await promise

    world = world_of(flow, answers={"w:2": resolve("b"), "w:1": resolve("a")})
    await world.drain()
    assert world.value("w") == ["a", "b"]
    suspends = [p[0] for p in world.sender.programs if isinstance(p[0], TaskSuspend)]
    assert [[a.awaited for a in one.actions] for one in suspends] == [["w:1", "w:2"], ["w:1"]]


@pytest.mark.asyncio
async def test_unregistered_functions_lambdas_and_decorated_ones_run():
    import functools

    def decorated(function):
        @functools.wraps(function)
        def wrapper(*args):
            return function(*args)

        return wrapper

    @decorated
    async def coroutine(ctx):
        return await ctx.run(lambda: "in a coroutine")

    @decorated
    def generator(ctx):
        return (yield ctx.run(lambda: "in a generator"))

    async def flow(ctx):
        return [await ctx.run(coroutine), await ctx.run(generator), await ctx.run(len, "abc")]

    world = await run(flow)
    assert world.value("w") == ["in a coroutine", "in a generator", 3]


@pytest.mark.asyncio
async def test_run_by_name_and_version():
    registry = Registry()

    def old():
        return "old"

    def new():
        return "new"

    registry.function(name="price", version=1)(old)
    registry.function(name="price", version=2)(new)

    @registry.function
    async def flow(ctx):
        return [
            await ctx.run("price"),
            await ctx.run("price").options(version=1),
            await ctx.options(version=1).run("price"),
            await ctx.rpc("price").options(version=1),
            await ctx.rpc("price"),
        ]

    world = World(registry)
    world.start("w", "flow")
    await world.drain()
    assert world.value("w") == ["new", "old", "old", "old", "new"]


@pytest.mark.asyncio
async def test_options_that_mean_nothing_are_refused():
    async def flow(ctx):
        commands = [ctx.run(len, "a"), ctx.sleep(1), ctx.all()]
        with pytest.raises(TypeError, match=r"^ctx.run\(len\) takes no option target$"):
            commands[0].options(target="x")
        with pytest.raises(TypeError, match="takes no option timeout and no option retry"):
            commands[1].options(timeout=1, retry=Never())
        with pytest.raises(TypeError, match=r"^ctx.all\(0\) takes no option id$"):
            commands[2].options(id="x")
        for command in commands:
            await command

    world = await run(flow)
    assert world.state("w") is PromiseState.RESOLVED


@pytest.mark.asyncio
async def test_a_command_is_not_its_value():
    async def flow(ctx):
        command, future = ctx.run(len, "a"), await ctx.promise()
        with pytest.raises(TypeError, match=r"^ctx.run\(len\) has no truth value; await it"):
            bool(command)
        with pytest.raises(TypeError, match=r"^the future of 'w:1' has no truth value"):
            bool(future)
        assert repr(command).startswith("<ctx.run(len) built at ")
        return await command

    world = await run(flow)
    assert world.value("w") == 1


@pytest.mark.asyncio
async def test_foreign_errors_arrive_with_name_and_message():
    async def flow(ctx):
        try:
            await ctx.rpc("far").options(target="nobody")
        except ApplicationError as error:
            return [error.name, error.message, error.data]

    from durable.workflow import promises

    def reject(promise_id):
        document = {"name": "TypeError", "stack": "at x.js", "__py_pickle": "gASV"}
        promises.reject(promise_id, "x is undefined", document)

    world = await run(flow, answers={"w:1": reject})
    assert world.value("w") == [
        "TypeError",
        "x is undefined",
        {
            "__type": "error",
            "name": "TypeError",
            "message": "x is undefined",
            "stack": "at x.js",
        },
    ]


def test_context_has_the_older_names():
    assert (Context.lfc, Context.lfi) == (Context.run, Context.begin_run)
    assert (Context.rfc, Context.rfi) == (Context.rpc, Context.begin_rpc)


@pytest.mark.asyncio
async def test_a_function_that_fails_still_waits_for_what_it_began():
    ended = []

    async def slow():
        await asyncio.sleep(0.02)
        ended.append("slow")

    async def flow(ctx):
        await ctx.begin_run(slow)
        raise OrderError(1)

    world = await run(flow)
    assert ended == ["slow"]
    assert world.state("w:1") is PromiseState.RESOLVED
    assert world.value("w")["message"] == "order 1 is refused"


@pytest.mark.asyncio
async def test_an_approval_can_be_begun():
    async def flow(ctx):
        future = await ctx.begin_approval("Ship?", users="mia", groups="finance", timeout=60)
        return [future.id, (await future).approved]

    world = await run(flow, answers={"w:1": resolve(None)})
    assert world.value("w") == ["w:1", True]
    assert world.line("w:1").param == {
        "human_task": {"schema": 1, "title": "Ship?", "users": ["mia"], "groups": ["finance"]}
    }


@pytest.mark.asyncio
async def test_options_of_a_view_and_of_a_command_add_up():
    async def flow(ctx):
        view = ctx.options(target="x", tags={"a": "1", "b": "1"}).options(timeout=60)
        await view.begin_rpc("far").options(tags={"b": "2"}, id="mine")

    world = world_of(flow)
    await world.step()
    record = world.sender.record("mine")
    assert record.tags["resonate:target"] == "poll://any@x"
    assert (record.tags["a"], record.tags["b"]) == ("1", "2")
    assert record.timeout_at == EPOCH + 60_000


@pytest.mark.asyncio
async def test_commands_say_what_they_are():
    async def flow(ctx):
        commands = [
            ctx.run(len, "a"),
            ctx.begin_run(len, "a"),
            ctx.rpc("far"),
            ctx.begin_rpc("far"),
            ctx.detached("far"),
            ctx.transaction(len, "a"),
            ctx.sleep(timedelta(hours=1)),
            ctx.promise(),
            ctx.begin_approval("Ship?"),
            ctx.all([]),
        ]
        return [str(command) for command in commands]

    assert (await run(flow)).value("w") == [
        "ctx.run(len)",
        "ctx.begin_run(len)",
        "ctx.rpc(far)",
        "ctx.begin_rpc(far)",
        "ctx.detached(far)",
        "ctx.transaction(len)",
        "ctx.sleep(1:00:00)",
        "ctx.promise()",
        "ctx.begin_approval('Ship?')",
        "ctx.all(0)",
    ]


@pytest.mark.asyncio
async def test_a_workflow_keeps_what_was_noted_when_it_began():
    async def inner(ctx):
        await ctx.sleep(100)

    async def flow(ctx):
        await ctx.run(inner)

    world = await run(flow)
    note = world.sender.notes["w:1"]
    assert (note.started_at, note.attempts) == (EPOCH, 1)


@pytest.mark.asyncio
async def test_an_unreadable_note_of_a_parked_retry_is_no_hindrance():
    async def flow(ctx):
        return await ctx.run(failing(1)).options(retry=Constant(100))

    world = world_of(flow)
    await world.step()
    promises = world.sender.store.state.promises
    from msgspec.structs import replace

    from durable.protocol.records import Value

    promises["w:1.r1"] = replace(promises["w:1.r1"], param=Value(data="%"))
    await world.drain()
    assert world.value("w") == 2


@pytest.mark.asyncio
async def test_a_command_is_performed_once_and_a_future_awaited_often():
    async def flow(ctx):
        command, begin = ctx.run(len, "a"), ctx.begin_run(len, "ab")
        future = await begin
        seen = [await command, await future, await future]
        for again in (command, begin, ctx.all(ctx.run(len, ""), command)):
            try:
                await again
            except PerformedTwiceError as error:
                seen.append(str(error))
        return seen

    tail = (
        "was performed before: build a new command for a new call, or keep the future of a begin_ "
        "call, which may be awaited again"
    )
    assert (await run(flow)).value("w") == [
        1,
        2,
        2,
        f"ctx.run(len) {tail}",
        f"ctx.begin_run(len) {tail}",
        f"ctx.run(len) {tail}",
    ]
