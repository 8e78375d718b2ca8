"""``ctx.transaction``: the rows of a step and its result are there both, or neither."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth.models import Group
from django.db import IntegrityError, connection

from durable.protocol.requests import CONFLICT, PromiseSettle, Reply, TaskFence
from durable.protocol.states import PromiseState
from durable.workflow import calls, codec
from durable.workflow.calls import Place
from durable.workflow.errors import InvalidFunctionError
from durable.workflow.outcome import LOST, stuck
from durable.workflow.registry import Registry
from durable.workflow.retry import Constant, Never
from tests.workflow.engine import World

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def in_thread():
    """One thread with a connection of its own, as a worker's."""
    with ThreadPoolExecutor(1) as pool:

        async def run(call):
            return await asyncio.get_running_loop().run_in_executor(pool, call)

        yield run
        pool.submit(lambda: connection.close()).result()  # noqa: PLW0108 - in that thread


def book(name: str) -> int:
    return Group.objects.create(name=name).pk


def world_of(flow, in_thread) -> World:
    registry = Registry()
    registry.function(name="flow")(flow)
    world = World(registry, in_thread=in_thread)
    world.start("w", "flow")
    return world


async def booked(in_thread) -> list[str]:
    return await in_thread(lambda: list(Group.objects.values_list("name", flat=True)))


@pytest.mark.asyncio
async def test_rows_and_result_are_committed_together(in_thread):
    async def flow(ctx):
        await ctx.transaction(book, "a")
        return "ok"

    world = world_of(flow, in_thread)
    inside = []
    send = world.sender.send

    def watch(*requests, annotations=None):
        if isinstance(requests[0], TaskFence) and requests[0].action.id == "w:1":
            inside.append(connection.in_atomic_block)
        return send(*requests, annotations=annotations)

    world.sender.send = watch
    await world.drain()
    assert world.value("w") == "ok"
    assert inside == [True]
    assert await booked(in_thread) == ["a"]
    assert world.sender.record("w:1").tags["resonate:scope"] == "local"
    assert world.sender.notes["w:1"].attempts == 1


@pytest.mark.asyncio
async def test_it_is_not_run_again_when_it_is_recorded(in_thread):
    async def flow(ctx):
        await ctx.transaction(book, "a")
        await ctx.sleep(1)

    world = world_of(flow, in_thread)
    await world.drain()
    assert world.state("w") is PromiseState.RESOLVED
    assert await booked(in_thread) == ["a"]


@pytest.mark.asyncio
async def test_what_a_failed_attempt_wrote_is_rolled_back(in_thread):
    attempts = []

    def fragile(ctx):
        attempts.append(ctx.info.attempt)
        book(f"attempt {ctx.info.attempt}")
        if ctx.info.attempt == 1:
            raise ValueError("busy")

    async def flow(ctx):
        await ctx.transaction(fragile).options(retry=Constant(1))
        try:
            await ctx.transaction(book, "attempt 2").options(retry=Never())
        except IntegrityError as error:
            return type(error).__name__

    world = world_of(flow, in_thread)
    await world.drain()
    assert attempts == [1, 2]
    assert world.value("w") == "IntegrityError"
    assert world.state("w:2") is PromiseState.REJECTED
    assert await booked(in_thread) == ["attempt 2"]


@pytest.mark.asyncio
async def test_a_lost_lease_rolls_back(in_thread):
    async def flow(ctx):
        await ctx.transaction(book, "a")

    world = world_of(flow, in_thread)
    world.sender.refuse = lambda request: (
        Reply(CONFLICT, "taken") if isinstance(request, TaskFence) else None
    )
    assert await world.step() is LOST
    assert await booked(in_thread) == []


@pytest.mark.asyncio
async def test_an_engine_that_fails_rolls_back(in_thread):
    async def flow(ctx):
        await ctx.transaction(book, "a")

    world = world_of(flow, in_thread)
    world.sender.crash_at = (2, "before")
    assert await world.step() == stuck("the engine failed: CrashError: ")
    assert await booked(in_thread) == []


@pytest.mark.asyncio
async def test_a_result_that_is_there_already_rolls_back_and_wins(in_thread):
    def book_late():
        create = calls.create_step(Place("w:1", "w", "w", "w"), "book_late", 1, 2**53 - 1, {})
        settle = PromiseSettle("w:1", PromiseState.RESOLVED, codec.encode("first", "it"))
        world.sender.send(*(TaskFence("w", 1, action) for action in (create, settle)))
        book("second")
        return "second"

    async def flow(ctx):
        return await ctx.transaction(book_late)

    world = world_of(flow, in_thread)
    await world.drain()
    assert world.value("w") == "first"
    assert await booked(in_thread) == []


@pytest.mark.asyncio
async def test_a_result_without_json_form_rolls_back(in_thread):
    def book_object():
        return Group.objects.create(name="a")

    async def flow(ctx):
        await ctx.transaction(book_object)

    world = world_of(flow, in_thread)
    await world.drain()
    assert world.value("w")["message"] == (
        "the result of 'book_object' (w:1) cannot be stored as JSON: at $ is a "
        "django.contrib.auth.models.Group, which has no JSON form"
    )
    assert await booked(in_thread) == []


@pytest.mark.asyncio
async def test_an_error_of_the_database_that_was_swallowed(in_thread):
    def careless():
        book("a")
        try:
            book("a")
        except IntegrityError:
            return "fine"

    async def flow(ctx):
        await ctx.transaction(careless).options(retry=Never())

    world = world_of(flow, in_thread)
    await world.drain()
    assert world.value("w")["message"] == (
        "the function went on after an error of the database; it needs a savepoint"
    )
    assert await booked(in_thread) == []


@pytest.mark.asyncio
async def test_only_plain_functions_have_transactions(in_thread):
    async def coroutine(): ...

    def generator():
        yield

    async def flow(ctx):
        messages = []
        for function in (coroutine, generator):
            try:
                ctx.transaction(function)
            except InvalidFunctionError as error:
                messages.append(str(error).rpartition("<locals>.")[2])
        return messages

    world = world_of(flow, in_thread)
    await world.drain()
    problem = "cannot be a durable function: ctx.transaction runs plain functions, on a thread"
    assert world.value("w") == [
        f"coroutine {problem} with the database",
        f"generator {problem} with the database",
    ]
