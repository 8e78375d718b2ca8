"""Door checks and their shadows (protocol.md 8.3): what a missing door lets in, a property sees."""

import pytest
from msgspec.structs import replace

from durable.machine.properties import check_state
from durable.machine.state import Promise, Schedule, ServerState, Task
from durable.protocol.profiles import COMPAT, STRICT
from durable.protocol.requests import (
    PromiseRegisterCallback,
    Request,
    TaskGet,
)
from durable.protocol.states import PromiseState
from tests.machine.checked import CheckedStore, copied
from tests.machine.factories import (
    EXTERNAL,
    NOW,
    TARGETED,
    TIMER,
    Given,
    create,
    fence,
    fulfill,
    give,
    listen,
    schedule,
    settle,
    start,
    suspend,
)


def admitted(given: Given, *objects: Promise | Task | Schedule) -> ServerState:
    """What a server without the door would hold."""
    store = CheckedStore(STRICT)
    give(store, given)
    state = copied(store.state)
    for one in objects:
        match one:
            case Promise():
                state.promises[one.id] = one
            case Task():
                state.tasks[one.id] = one
            case Schedule():
                state.schedules[one.id] = one
    return state


def after(given: Given) -> ServerState:
    store = CheckedStore(STRICT)
    give(store, given)
    return store.state


HELD = (create("b", EXTERNAL), start("a"))
STATE = after(HELD)
AWAITED, OWN, TASK = STATE.promises["b"], STATE.promises["a"], STATE.tasks["a"]
TIMED_OUT = {"state": PromiseState.REJECTED_TIMEDOUT, "settled_at": NOW}
PENDING_AGAIN = {"state": PromiseState.PENDING, "settled_at": NOW}
SCHEDULE = after([schedule(promise_tags=TARGETED)]).schedules["s"]

DOORS = [
    pytest.param(
        create("a", TIMER | TARGETED),
        admitted(HELD, replace(OWN, tags=TIMER | TARGETED)),
        "well_formed_promise_timer_not_targeted",
        id="promise.create timer and target",
    ),
    pytest.param(
        settle("b", PromiseState.PENDING),
        admitted(HELD, replace(AWAITED, **PENDING_AGAIN)),
        "well_formed_promise_settled_at_iff_not_pending",
        id="promise.settle to pending",
    ),
    pytest.param(
        settle("b", PromiseState.REJECTED_TIMEDOUT),
        admitted(HELD, replace(AWAITED, **TIMED_OUT)),
        "well_formed_promise_timedout_is_server_owned",
        id="promise.settle to timed out",
    ),
    pytest.param(
        PromiseRegisterCallback("a", "a"),
        admitted(HELD, replace(OWN, callbacks=("a",))),
        "well_formed_promise_awaiter_is_not_self",
        id="promise.register_callback to itself",
    ),
    pytest.param(
        listen("b", "nowhere"),
        admitted(HELD, replace(AWAITED, listeners=("nowhere",))),
        "consistent_listener_addresses_deliverable",
        id="promise.register_listener address",
    ),
    pytest.param(
        start("b", promise_tags=EXTERNAL),
        admitted(HELD, replace(TASK, id="b")),
        "consistent_task_iff_targeted_promise",
        id="task.create without a target",
    ),
    pytest.param(
        start("a", promise_tags=TIMER | TARGETED),
        admitted(HELD, replace(OWN, tags=TIMER)),
        "consistent_task_iff_targeted_promise",
        id="task.create of a timer",
    ),
    pytest.param(
        suspend("a"),
        admitted(HELD, TASK.suspended()),
        "consistent_suspended_task_holds_rung",
        id="task.suspend on nothing",
    ),
    pytest.param(
        suspend("a", "a"),
        admitted(HELD, replace(OWN, callbacks=("a",)), TASK.suspended()),
        "well_formed_promise_awaiter_is_not_self",
        id="task.suspend on itself",
    ),
    pytest.param(
        suspend("a", "b", "b"),
        admitted(HELD, replace(AWAITED, callbacks=("a", "a")), TASK.suspended()),
        "well_formed_promise_callbacks_unique",
        id="task.suspend twice on one",
    ),
    pytest.param(
        fulfill("a", state=PromiseState.PENDING),
        admitted(HELD, replace(OWN, **PENDING_AGAIN), TASK.fulfilled()),
        "well_formed_promise_settled_at_iff_not_pending",
        id="task.fulfill to pending",
    ),
    pytest.param(
        fulfill("a", state=PromiseState.REJECTED_TIMEDOUT),
        admitted(HELD, replace(OWN, **TIMED_OUT), TASK.fulfilled()),
        "well_formed_promise_timedout_is_server_owned",
        id="task.fulfill to timed out",
    ),
    pytest.param(
        schedule(promise_tags=TIMER | TARGETED),
        admitted((), replace(SCHEDULE, promise_tags=TIMER | TARGETED)),
        "well_formed_schedule_promise_tags_not_timer_targeted",
        id="schedule.create of timers with a target",
    ),
]


@pytest.mark.parametrize(("request_", "state", "name"), DOORS)
def test_the_door_is_shut_and_its_shadow_sees(
    request_: Request, state: ServerState, name: str
) -> None:
    store = CheckedStore(STRICT)
    give(store, HELD)
    before = copied(store.state)
    assert store.ask(request_, NOW).status == 400
    assert store.state == before
    assert name in {violation.name for violation in check_state(state, NOW)}


def test_the_compatible_door_takes_the_target_away() -> None:
    store = CheckedStore(COMPAT)
    assert store.ask(create("t", TIMER | TARGETED), NOW).status == 200
    assert store.promise("t").tags == TIMER
    assert store.ask(TaskGet("t"), NOW).status == 404


def test_a_fence_on_its_own_task_has_no_shadow(store: CheckedStore) -> None:
    """It is a matter of authority: the state it would leave is a sound one."""
    give(store, HELD)
    assert store.ask(fence(settle("a")), NOW).status == 400
    assert store.promise("a").is_pending
    assert check_state(after([*HELD, settle("a")]), NOW) == []
