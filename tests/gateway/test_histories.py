"""Random histories of many clients at once are linearizable against the machine.

Half of them speak to one gateway, half to another on the same database, as behind a load balancer.
"""

import asyncio
import random
import time

import pytest
from msgspec import json

from durable.machine.memory import MemoryStore
from durable.machine.state import Config
from durable.protocol.requests import (
    PromiseGet,
    PromiseRegisterCallback,
    Reply,
    Request,
    TaskContinue,
    TaskGet,
    TaskHalt,
)
from tests.gateway.clients import AsgiClient, MakeClient, check
from tests.gateway.linearizable import NOW, Call, find_order, timeless
from tests.gateway.wire import decode_reply, encode_envelope
from tests.machine.factories import (
    EXTERNAL,
    TARGETED,
    VALUE,
    acquire,
    create,
    fence,
    fulfill,
    heartbeat,
    listen,
    release,
    settle,
    start,
    suspend,
)

LATE = 2**53 - 1
CLIENTS = 6
CALLS = 5
IDS = "abc"


def any_request(dice: random.Random) -> Request:
    """A request about few ids, mostly one that may succeed."""
    one, other = dice.choice(IDS), dice.choice(IDS)
    version = dice.choice([1, 1, 1, 2, 3])
    tags = dice.choice([TARGETED, TARGETED, EXTERNAL])
    made: list[Request] = [
        create(one, tags, LATE),
        create(one, tags, LATE),
        start(one, LATE, pid=dice.choice("pq"), ttl=LATE // 4),
        start(one, LATE, pid=dice.choice("pq"), ttl=LATE // 4),
        acquire(one, version - 1, pid=dice.choice("pq"), ttl=LATE // 4),
        acquire(one, version - 1, pid=dice.choice("pq"), ttl=LATE // 4),
        settle(one, value=VALUE),
        fence(settle(other, value=VALUE), one, version),
        fence(create(other, EXTERNAL, LATE), one, version),
        suspend(one, other, version=version),
        suspend(one, *(x for x in IDS if x != one), version=version),
        fulfill(one, version),
        release(one, version),
        heartbeat((one, version), (other, version)),
        PromiseRegisterCallback(one, other),
        listen(one),
        TaskHalt(one),
        TaskContinue(one),
        PromiseGet(one),
        TaskGet(one),
        TaskGet(other),
    ]
    return dice.choice(made)


def record(gateways: list[AsgiClient], dice: random.Random) -> list[Call]:
    """Let many clients send requests at once and write down what they saw."""
    history: list[Call] = []

    async def live(number: int) -> None:
        for _ in range(CALLS):
            request = any_request(dice)
            began = time.perf_counter()
            gateway = gateways[number % len(gateways)]
            response = await gateway.exchange("POST", "/", encode_envelope(request))
            ended = time.perf_counter()
            answer = check(response, kind=request.kind, corr_id="c-1")
            history.append(Call(number, began, ended, request, decode_reply(*answer)))

    async def all_of_them() -> None:
        await asyncio.gather(*map(live, range(CLIENTS)))

    gateways[0]._runner.run(all_of_them())
    return history


def describe(history: list[Call]) -> str:
    lines = [
        f"{call.client} {call.began:.6f} {call.ended:.6f} {call.request} -> {call.reply}"
        for call in sorted(history, key=lambda call: call.began)
    ]
    return "no order explains this history:\n" + "\n".join(lines)


@pytest.mark.parametrize("seed", range(10))
def test_concurrent_histories_are_linearizable(make_client: MakeClient, seed: int) -> None:
    from tests.store.support import wipe

    gateways = [make_client("asgi", has_debug_surface=False) for _ in range(2)]
    dice = random.Random(seed)
    for _ in range(4):
        wipe()
        history = record(gateways, dice)
        assert find_order(history) is not None, describe(history)


# The checker itself


def call(began: float, ended: float, request: Request, reply: Reply) -> Call:
    return Call(0, began, ended, request, reply)


def answers(*requests: Request) -> list[Reply]:
    return MemoryStore(Config()).run(*requests, now=NOW)


def test_the_checker_finds_what_cannot_have_been() -> None:
    made = create("a", TARGETED, LATE)
    created, first, second = answers(made, acquire("a", 0), acquire("a", 0))
    both = [
        call(0, 1, made, created),
        call(2, 5, acquire("a", 0), first),
        call(3, 4, acquire("a", 0), first),
    ]
    assert find_order(both) is None, "two winners"
    fair = [*both[:2], call(3, 4, acquire("a", 0), second)]
    assert [one.ended for one in find_order(fair) or []] == [1, 5, 4]
    stale = [both[0], call(2, 3, PromiseGet("a"), Reply(404, "Promise not found"))]
    assert find_order(stale) is None, "read after the answer, and did not see it"
    early = [both[0], call(0, 3, PromiseGet("a"), Reply(404, "Promise not found"))]
    assert find_order(early) is not None, "overlapping"


def test_stamps_do_not_matter_to_the_checker() -> None:
    [created] = answers(create("a", EXTERNAL, LATE))
    [later] = MemoryStore(Config()).run(create("a", EXTERNAL, LATE), now=NOW + 5)
    assert created != later
    assert timeless(created) == timeless(later)
    assert json.encode(timeless(later)) == json.encode(timeless(created))
