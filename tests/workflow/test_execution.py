"""How a pass ends: fulfilled, suspended, lost or released, and what is left behind."""

import asyncio
import base64
import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from durable.protocol.records import Value
from durable.protocol.requests import (
    CONFLICT,
    INVALID,
    NOT_FOUND,
    PromiseCreate,
    PromiseSettle,
    Reply,
    TaskFence,
    TaskFulfill,
    TaskRelease,
    TaskSuspend,
)
from durable.protocol.states import PromiseState, TaskState
from durable.protocol.validation import MAX_INSTANT
from durable.workflow.errors import MisplacedCommandError, Suspended
from durable.workflow.outcome import FULFILLED, LOST, SUSPENDED, released, stuck
from durable.workflow.registry import Registry
from tests.workflow.engine import LEASE, CrashError, World, resolve

TARGET = {"resonate:target": "poll://any@default"}


def world_of(flow, *others, start=None, **options) -> World:
    registry = Registry()
    registry.function(name="flow")(flow)
    for other in others:
        registry.function(other)
    world = World(registry, **options)
    world.start("w", "flow", **(start or {}))
    return world


def task_state(world: World) -> TaskState:
    return world.sender.store.state.tasks["w"].state


def settle(world: World, promise_id: str, text: str, state=PromiseState.RESOLVED) -> None:
    """Settle with raw text, as somebody might who knows nothing of JSON."""
    world.sender.send(PromiseSettle(promise_id, state, Value(data=text)))


async def waits(ctx):
    return await (await ctx.promise())


@pytest.mark.asyncio
async def test_fulfilled():
    async def flow(ctx):
        return 1

    world = world_of(flow)
    assert await world.step() is FULFILLED
    assert world.value("w") == 1


@pytest.mark.asyncio
async def test_suspended_and_back():
    world = world_of(waits, answers={"w:1": resolve(5)})
    assert await world.step() is SUSPENDED
    assert task_state(world) is TaskState.SUSPENDED
    assert await world.step() is None
    await world.drain()
    assert world.value("w") == 5


@pytest.mark.parametrize("kind", [TaskFence, TaskSuspend, TaskFulfill])
@pytest.mark.parametrize("status", [NOT_FOUND, CONFLICT])
@pytest.mark.asyncio
async def test_lost_when_a_write_is_refused(kind, status):
    world = world_of(waits, answers={"w:1": resolve(5)})
    if kind is TaskFulfill:
        await world.step()
        world._answer()
    programs = len(world.sender.programs)
    world.sender.refuse = lambda request: (
        Reply(status, "taken") if isinstance(request, kind) else None
    )
    assert await world.step() is LOST
    assert not any(isinstance(p[0], TaskRelease) for p in world.sender.programs[programs:])


@pytest.mark.asyncio
async def test_lost_when_the_lease_ran_out_and_another_pass_took_over():
    """The late one's writes are refused; the value is the other's."""
    outcomes = []

    async def flow(ctx):
        return await ctx.run(step)

    async def step():
        if outcomes:
            return "second"
        outcomes.append("first")
        world.clock.advance(LEASE / 1000)
        await world.step()
        return "first"

    world = world_of(flow)
    assert await world.step() is LOST
    assert world.value("w") == "second"


@pytest.mark.asyncio
async def test_lost_when_the_promise_is_settled_elsewhere():
    async def flow(ctx):
        await ctx.run(lambda: settle(world, "w", base64.b64encode(b'"by hand"').decode()))
        raise AssertionError

    world = world_of(flow)
    assert await world.step() is LOST
    assert world.value("w") == "by hand"


@pytest.mark.asyncio
async def test_lost_when_the_deadline_of_the_root_passes():
    async def flow(ctx):
        await ctx.run(lambda: world.clock.advance(11))

    world = world_of(flow, start={"timeout": 10})
    assert await world.step() is LOST
    assert world.state("w") is PromiseState.REJECTED_TIMEDOUT


@pytest.mark.asyncio
async def test_an_engine_that_fails_releases_as_stuck():
    async def flow(ctx):
        await ctx.run(lambda: 1)

    world = world_of(flow)
    world.sender.crash_at = (2, "before")
    assert await world.step() == stuck("the engine failed: CrashError: ")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (TaskFence, "promise.create of 'w:1' was refused (400): odd"),
        (TaskSuspend, "task.suspend was refused (400): odd"),
        (TaskFulfill, "task.fulfill was refused (400): odd"),
    ],
)
@pytest.mark.asyncio
async def test_any_other_refusal_releases_as_stuck(kind, reason):
    async def flow(ctx):
        await ctx.sleep(0)
        await (await ctx.promise()) if kind is TaskSuspend else None

    world = world_of(flow)
    world.sender.refuse = lambda request: (
        Reply(INVALID, "odd") if isinstance(request, kind) else None
    )
    assert await world.step() == stuck(reason)
    assert world.sender.notes["w"].stuck == reason
    assert task_state(world) is TaskState.PENDING


@pytest.mark.asyncio
async def test_an_inner_refusal_releases_as_stuck():
    async def flow(ctx):
        await ctx.rpc("far").options(tags={"resonate:delay": "soon"})

    assert await world_of(flow).step() == stuck(
        "promise.create of 'w:1' was refused (400): resonate:delay must be a non-negative integer"
    )


@pytest.mark.asyncio
async def test_a_task_that_cannot_be_released_is_left_to_its_lease(caplog):
    async def flow(ctx):
        await ctx.run(lambda: 1)

    world = world_of(flow)
    world.sender.refuse = lambda request: (
        Reply(INVALID, "odd") if isinstance(request, TaskFence | TaskRelease) else None
    )
    assert (await world.step()).stuck
    assert "a task could not be released; its lease will run out" in caplog.text


@pytest.mark.asyncio
async def test_a_release_that_comes_too_late_is_a_loss():
    async def flow(ctx):
        await ctx.run(lambda: 1)

    world = world_of(flow)
    world.sender.refuse = lambda request: (
        Reply(INVALID, "odd")
        if isinstance(request, TaskFence)
        else Reply(CONFLICT, "taken")
        if isinstance(request, TaskRelease)
        else None
    )
    assert await world.step() is LOST


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (
            b'{"func":"gone","args":[]}',
            "no function 'gone' is registered here: registered are flow, other",
        ),
        (
            b'{"func":"flow","args":[],"version":2}',
            "no function 'flow' version 2 is registered here: 'flow' is registered with version 1",
        ),
        (b"[1]", "the param of 'p' cannot be read: it names no function under the key 'func'"),
        (b"{", "the param of 'p' cannot be read: its data is base64, but not of JSON"),
    ],
)
@pytest.mark.asyncio
async def test_a_task_that_cannot_be_run_here_is_stuck(data, reason):
    def other(): ...

    world = world_of(waits, other)
    await world.step()
    param = Value(data=base64.b64encode(data).decode())
    world.sender.send(PromiseCreate("p", MAX_INSTANT, param, TARGET))
    assert await world.step() == stuck(reason)
    assert world.sender.notes["p"].stuck == reason
    assert world.state("p") is PromiseState.PENDING


@pytest.mark.asyncio
async def test_nothing_registered_says_where_functions_are_found():
    world = World(Registry())
    world.start("w", "flow")
    assert await world.step() == stuck(
        "no function 'flow' version 1 is registered here: nothing is registered; "
        "functions are found in the workflows.py of each app"
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("yes, ship it", "its data is not base64"),
        (base64.b64encode(b"yes").decode(), "its data is base64, but not of JSON"),
        (base64.b64encode(b"\xff\xfe").decode(), "its data is base64, but not of JSON"),
    ],
)
@pytest.mark.parametrize(
    ("state", "what"), [(PromiseState.RESOLVED, "value"), (PromiseState.REJECTED, "error")]
)
@pytest.mark.asyncio
async def test_a_value_that_cannot_be_read_is_stuck_and_never_a_rejection(
    text, problem, state, what
):
    world = world_of(waits)
    await world.step()
    settle(world, "w:1", text, state)
    assert await world.step() == stuck(f"the {what} of 'w:1' cannot be read: {problem}")
    assert world.state("w") is PromiseState.PENDING


@pytest.mark.asyncio
async def test_an_approval_that_cannot_be_read_is_stuck():
    async def flow(ctx):
        await ctx.approval("Ship?")

    world = world_of(flow)
    await world.step()
    settle(world, "w:1", "yes")
    assert (await world.step()).stuck


@pytest.mark.asyncio
async def test_what_is_settled_before_the_suspension_is_taken_without_a_replay():
    """Status 300: the pass goes on where it stands, under the same version."""
    calls = []

    async def flow(ctx):
        calls.append("began")
        promise, other = await ctx.promise(), await ctx.promise()
        value = await promise
        return [value, await other]

    world = world_of(flow)

    def settle_first(request):
        if isinstance(request, TaskSuspend) and world.state("w:1") is PromiseState.PENDING:
            world.sender.refuse = None
            resolve("early")("w:1")

    from durable.workflow.connection import using

    world.sender.refuse = settle_first
    with using(world.sender):
        assert await world.step() is SUSPENDED
        resolve("late")("w:2")
    assert calls == ["began"]
    await world.drain()
    assert world.value("w") == ["early", "late"]
    assert world.sender.store.state.tasks["w"].version == 2


@pytest.mark.asyncio
async def test_a_function_is_unwound_where_it_waits():
    seen = []

    async def flow(ctx):
        try:
            await (await ctx.promise())
        except Suspended:
            seen.append("suspended")
            raise
        finally:
            seen.append("finally")

    world = world_of(flow)
    assert await world.step() is SUSPENDED
    assert seen == ["suspended", "finally"]


@pytest.mark.asyncio
async def test_a_generator_is_unwound_where_it_waits():
    seen = []

    def flow(ctx):
        try:
            yield (yield ctx.promise())
        finally:
            seen.append("finally")

    world = world_of(flow)
    assert await world.step() is SUSPENDED
    assert seen == ["finally"]


@pytest.mark.asyncio
async def test_durable_calls_while_unwinding_do_nothing():
    async def flow(ctx):
        try:
            await (await ctx.promise())
        finally:
            await ctx.run(lambda: 1)

    world = world_of(flow)
    assert await world.step() is SUSPENDED
    assert sorted(world.sender.store.state.promises) == ["w", "w:1"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("spelling", ["async", "generator"])
@pytest.mark.asyncio
async def test_a_function_that_swallows_the_suspension_is_abandoned(spelling, caplog):
    async def coroutine(ctx):
        while True:
            try:
                await (await ctx.promise())
            except BaseException:
                continue

    def generator(ctx):
        while True:
            try:
                yield (yield ctx.promise())
            except BaseException:
                continue

    world = world_of(coroutine if spelling == "async" else generator)
    assert await world.step() is SUSPENDED
    assert (
        "a function of 'w' goes on although its pass is over; it is abandoned: "
        "let Suspended pass, and never catch BaseException" in caplog.text
    )
    del world
    gc.collect()  # the function ignores its end here, too


@pytest.mark.asyncio
async def test_a_function_that_does_not_unwind_is_cancelled(caplog):
    async def flow(ctx):
        try:
            await (await ctx.promise())
        finally:
            await asyncio.sleep(60)

    world = world_of(flow)
    assert await asyncio.wait_for(world.step(), 5) is SUSPENDED
    assert "functions of 'w' do not unwind; they are cancelled" in caplog.text


@pytest.mark.asyncio
async def test_functions_that_wait_for_each_other_are_stuck():
    async def flow(ctx):
        box = []
        box.append(await ctx.begin_run(inner, box))
        return await box[0]

    async def inner(ctx, box):
        await ctx.sleep(1)
        return await box[0]

    world = world_of(flow)
    await world.step()
    world.clock.advance(1)
    assert await world.step() == stuck("every function of this pass waits for another one of it")


@pytest.mark.asyncio
async def test_what_is_not_ours_passes_through_to_the_event_loop():
    async def flow(ctx):
        await asyncio.sleep(0.01)
        async with asyncio.timeout(5):
            one = await ctx.run(step)
        results = await asyncio.gather(asyncio.sleep(0, "a"), asyncio.to_thread(lambda: "b"))
        return [one, *results]

    async def step():
        await asyncio.sleep(0)
        return await asyncio.to_thread(lambda: "c")

    world = world_of(flow)
    await world.drain()
    assert world.value("w") == ["c", "a", "b"]


MISPLACED = (
    "was awaited outside the function that its context belongs to: give a function that makes "
    "durable calls a first parameter named ctx of its own, and use ctx.all() in place of tasks of "
    "asyncio"
)


@pytest.mark.asyncio
async def test_commands_in_tasks_of_asyncio_are_refused():
    async def flow(ctx):
        async def helper():
            return await ctx.run(lambda: 1)

        with pytest.raises(MisplacedCommandError) as caught:
            await asyncio.gather(helper())
        return [str(caught.value), await helper()]

    world = world_of(flow)
    await world.drain()
    assert world.value("w") == [f"ctx.run(<lambda>) {MISPLACED}", 1]


@pytest.mark.asyncio
async def test_the_context_of_another_function_is_refused():
    async def flow(ctx):
        async def inner():
            await ctx.sleep(1)

        def generator():
            yield ctx.sleep(1)

        messages = []
        for function in (inner, generator):
            try:
                await ctx.run(function)
            except MisplacedCommandError as error:
                messages.append(str(error))
        return messages

    world = world_of(flow)
    await world.drain()
    assert world.value("w") == [f"ctx.sleep(1) {MISPLACED}"] * 2
    assert world.pauses == []


@pytest.mark.asyncio
async def test_a_future_may_be_awaited_in_any_function_of_the_pass():
    async def flow(ctx):
        future = await ctx.begin_run(lambda: "shared")
        return await ctx.all(ctx.run(inner, future), ctx.run(inner, future), future)

    async def inner(ctx, future):
        return await future

    world = world_of(flow)
    await world.drain()
    assert world.value("w") == ["shared"] * 3


@pytest.mark.asyncio
async def test_a_future_of_another_pass_is_refused():
    kept = []

    async def flow(ctx):
        kept.append(await ctx.promise())
        await kept[0]

    world = world_of(flow, answers={"w:1": resolve(1)})
    await world.drain()
    assert world.value("w")["message"] == f"the future of 'w:1' {MISPLACED}"


@pytest.mark.asyncio
async def test_a_generator_may_yield_commands_only():
    def flow(ctx):
        messages = []
        for wrong in (5, [ctx.sleep(1)]):
            try:
                yield wrong
            except TypeError as error:
                messages.append(str(error))
        yield ctx.sleep(0)
        return messages

    world = world_of(flow)
    await world.drain()
    first, second = world.value("w")
    assert first == "a durable function may yield commands and futures only, not 5"
    assert second.startswith(
        "a durable function may yield commands and futures only, not [<ctx.sleep(1) built at "
    )


@pytest.mark.asyncio
async def test_all_takes_commands_and_futures_only():
    async def flow(ctx):
        await ctx.all(ctx.sleep(0), 5)

    world = world_of(flow)
    await world.drain()
    assert world.value("w")["message"] == "ctx.all takes commands and futures, not 5"


@pytest.mark.asyncio
async def test_a_cut_short_remote_call_still_happens():
    """A timeout of asyncio around a durable call ends the wait, never the call."""

    async def flow(ctx):
        try:
            async with asyncio.timeout(0):
                await ctx.rpc("far").options(target="nobody")
        except TimeoutError:
            pass
        return "done"

    world = world_of(flow, answers={"w:1": resolve(1)})
    await world.drain()
    assert world.state("w:1") is PromiseState.RESOLVED
    assert world.value("w") == "done"


@pytest.mark.parametrize("error", [SystemExit(3), asyncio.CancelledError("mine"), StopIteration(1)])
@pytest.mark.parametrize("style", ["async", "plain"])
@pytest.mark.asyncio
async def test_odd_errors_of_a_step_reject_it_and_nothing_else(error, style):
    from durable.workflow.retry import Never

    def plain():
        raise error

    async def coroutine():
        raise error

    async def flow(ctx):
        try:
            await ctx.run(plain if style == "plain" else coroutine).options(retry=Never())
        except Exception as caught:
            return type(caught).__name__

    world = world_of(flow)
    await world.drain()
    assert world.state("w:1") is PromiseState.REJECTED
    expected = {
        SystemExit: "ApplicationError",
        asyncio.CancelledError: "ApplicationError",
        StopIteration: "RuntimeError",  # as any coroutine that lets one out
    }
    assert world.value("w") == expected[type(error)]


@pytest.mark.asyncio
async def test_a_command_that_is_never_performed_is_reported(caplog):
    async def flow(ctx):
        ctx.run(len, "a")
        await ctx.sleep(1)
        return 1

    line = flow.__code__.co_firstlineno + 1
    world = world_of(flow)
    await world.drain()
    assert world.value("w") == 1
    [record] = [one for one in caplog.records if "never awaited" in one.message]
    assert record.message == (
        f"ctx.run(len), built at {__file__}:{line}, was never awaited or yielded, so it did "
        "nothing (function 'flow' of 'w', pass 2)"
    )
    assert record.action == "command_unperformed"


@pytest.mark.asyncio
async def test_stop_lets_running_steps_be_recorded_and_gives_the_task_back():
    started, go = asyncio.Event(), asyncio.Event()

    async def step():
        started.set()
        await go.wait()
        return "recorded"

    async def flow(ctx):
        first = await ctx.run(step)
        return [first, await ctx.run(lambda: 2)]

    world = world_of(flow)
    execution = world.execution(world.claim())
    task = asyncio.create_task(execution.run())
    await started.wait()
    execution.stop("the worker is shutting down")
    await asyncio.sleep(0)
    go.set()
    assert await task == released("the worker is shutting down")
    assert world.state("w:1") is PromiseState.RESOLVED
    assert "w:2" not in world.sender.store.state.promises
    assert task_state(world) is TaskState.PENDING
    assert world.sender.notes["w"].stuck is None
    await world.drain()
    assert world.value("w") == ["recorded", 2]


@pytest.mark.asyncio
async def test_stop_cuts_pauses_short():
    sleeping = asyncio.Event()

    async def flow(ctx):
        await ctx.run(lambda: 1 / 0)

    world = world_of(flow)

    async def sleep(seconds):
        sleeping.set()
        await asyncio.sleep(60)

    world._sleep = sleep
    object.__setattr__(world._config, "sleep", sleep)
    execution = world.execution(world.claim())
    task = asyncio.create_task(execution.run())
    await sleeping.wait()
    execution.stop("enough")
    assert await asyncio.wait_for(task, 5) == released("enough")


@pytest.mark.asyncio
async def test_stop_ends_the_wait_for_a_slot():
    started, go = asyncio.Event(), asyncio.Event()

    async def step():
        started.set()
        await go.wait()

    async def flow(ctx):
        await ctx.all(ctx.run(step) for _ in range(3))

    world = world_of(flow, steps=1)
    execution = world.execution(world.claim())
    task = asyncio.create_task(execution.run())
    await started.wait()
    execution.stop("enough")
    await asyncio.sleep(0)
    go.set()
    assert await asyncio.wait_for(task, 5) == released("enough")
    assert sorted(world.sender.store.state.promises) == ["w", "w:1"]


@pytest.mark.asyncio
async def test_stop_of_a_pass_that_ends_by_itself():
    async def flow(ctx):
        execution.stop("enough")
        await asyncio.sleep(0)
        return 1

    world = world_of(flow)
    execution = world.execution(world.claim())
    assert await execution.run() is FULFILLED
    assert world.value("w") == 1


@pytest.mark.asyncio
async def test_a_write_that_the_engine_drops_releases_as_stuck():
    async def flow(ctx):
        await ctx.run(lambda: 1)

    world = world_of(flow)
    ask = world.sender.ask

    def drop(*requests, annotations=None):
        future = ask(*requests, annotations=annotations)
        if isinstance(requests[0], TaskFence):
            future = asyncio.get_running_loop().create_future()
            future.cancel()
        return future

    world.sender.ask = drop
    assert await world.step() == stuck("the engine dropped a write")


@pytest.mark.asyncio
async def test_a_replay_is_timed_once_a_pass():
    async def flow(ctx):
        reply = await ctx.promise()
        await reply
        await ctx.run(lambda: 1)
        return await ctx.run(lambda: 2)

    world = world_of(flow)
    assert await world.step() is SUSPENDED
    assert world.replays == []  # there was nothing to replay
    settle(world, "w:1", "bnVsbA==")
    assert await world.step() is FULFILLED
    assert len(world.replays) == 1


@pytest.mark.asyncio
async def test_stop_before_the_pass_begins():
    world = world_of(waits)
    execution = world.execution(world.claim())
    execution.stop("enough")
    assert await execution.run() == released("enough")
    assert list(world.sender.store.state.promises) == ["w"]


@pytest.mark.asyncio
async def test_lose_ends_at_once_and_writes_nothing():
    started, cancelled = asyncio.Event(), []

    async def step():
        started.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def flow(ctx):
        await ctx.all(ctx.run(step), ctx.begin_run(step))

    world = world_of(flow)
    execution = world.execution(world.claim())
    task = asyncio.create_task(execution.run())
    await started.wait()
    threading.Thread(target=execution.lose).start()
    assert await asyncio.wait_for(task, 5) is LOST
    assert cancelled == [True, True]
    assert len(world.sender.programs) == 1


@pytest.mark.asyncio
async def test_losing_a_task_that_is_being_given_back():
    started = asyncio.Event()

    async def flow(ctx):
        await ctx.run(step)

    async def step():
        started.set()
        await asyncio.sleep(60)

    world = world_of(flow)
    execution = world.execution(world.claim())
    task = asyncio.create_task(execution.run())
    await started.wait()
    execution.stop("enough")
    await asyncio.sleep(0)
    execution.lose()
    assert await asyncio.wait_for(task, 5) is LOST
    assert len(world.sender.programs) == 1


@pytest.mark.asyncio
async def test_a_cancelled_pass_cancels_its_functions_and_leaves_the_task_held():
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def flow(ctx):
        await ctx.run(step)

    async def step():
        started.set()
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    world = world_of(flow)
    task = asyncio.create_task(world.execution(world.claim()).run())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(cancelled.wait(), 5)
    assert task_state(world) is TaskState.ACQUIRED
    assert len(world.sender.programs) == 1


@pytest.mark.asyncio
async def test_plain_functions_and_generators_run_on_threads_and_coroutines_on_the_loop():
    main = threading.current_thread()
    where = {}

    def plain():
        where["plain"] = threading.current_thread()

    async def coroutine():
        where["coroutine"] = threading.current_thread()

    def flow(ctx):
        where["before"] = threading.current_thread()
        yield ctx.run(plain)
        where["between"] = threading.current_thread()
        yield ctx.run(coroutine)

    with ThreadPoolExecutor(2) as pool:

        async def in_thread(call):
            return await asyncio.get_running_loop().run_in_executor(pool, call)

        world = world_of(flow, in_thread=in_thread)
        await world.drain()
    assert world.state("w") is PromiseState.RESOLVED
    assert where.pop("coroutine") is main
    assert set(where) == {"before", "plain", "between"}
    assert main not in where.values()


@pytest.mark.asyncio
async def test_what_runs_is_shown_while_it_runs():
    shown = []

    def step(ctx):
        shown.append([(r.task_id, r.id, r.function, r.attempt) for r in world.runs])
        assert len(world.runs) - len(world.ends) == 1

    async def flow(ctx):
        shown.append([(r.task_id, r.id, r.function, r.attempt) for r in world.runs])
        await ctx.run(step)

    world = world_of(flow)
    await world.drain()
    assert world.state("w") is PromiseState.RESOLVED
    root, below = ("w", "w", "flow", 1), ("w", "w:1", "step", 1)
    assert shown == [[root], [root, below]]
    assert world.runs == world.ends


@pytest.mark.asyncio
async def test_a_callback_that_fails_is_no_failure_of_the_function():
    async def flow(ctx):
        return 1

    world = world_of(flow)

    def broken(running, is_running):
        raise CrashError("display")

    world._on_running = broken
    assert await world.step() == stuck("the engine failed: CrashError: display")
    assert world.state("w") is PromiseState.PENDING
