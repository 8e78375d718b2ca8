"""The guard tables of promise.* (protocol.md 3.2 to 3.6), row by row."""

import pytest

from durable.machine.state import Execute
from durable.protocol import tags
from durable.protocol.profiles import COMPAT, STRICT
from durable.protocol.records import EMPTY, PromiseRecord, Value
from durable.protocol.requests import (
    PromiseCreate,
    PromiseGet,
    PromiseRegisterCallback,
    Reply,
    Request,
    TaskGet,
)
from durable.protocol.states import PromiseState, TaskState
from tests.machine.checked import CheckedStore, copied
from tests.machine.factories import (
    ADDRESS,
    EXTERNAL,
    FAR,
    GLOBAL,
    GROUP,
    INTERNAL,
    NOW,
    TARGETED,
    TIMER,
    VALUE,
    At,
    Given,
    create,
    give,
    listen,
    settle,
    start,
    suspend,
)

CALLBACK = PromiseRegisterCallback(awaited="b", awaiter="a")
INTERNAL_TEXT = "Awaited promise is internal: nothing outside its task settles it"


@pytest.mark.parametrize(
    ("given", "request_", "status", "text"),
    [
        pytest.param((), PromiseGet("a"), 404, "Promise not found", id="get unknown"),
        pytest.param(
            (),
            create("a", TARGETED | {tags.TARGET: ""}),
            400,
            "resonate:target must not be empty",
            id="create with an empty target",
        ),
        pytest.param(
            (),
            create("a", TARGETED | {tags.DELAY: "soon"}),
            400,
            "resonate:delay must be a non-negative integer",
            id="create with a delay that is no number",
        ),
        pytest.param(
            (),
            create("a", TARGETED | {tags.DELAY: "-1"}),
            400,
            "resonate:delay must be a non-negative integer",
            id="create with a negative delay",
        ),
        pytest.param(
            (),
            create("a", TARGETED | {tags.DELAY: "9" * 5000}),
            400,
            "resonate:delay must be a non-negative integer",
            id="create with a delay beyond reading",
        ),
        pytest.param(
            (),
            create("a", TARGETED | {tags.DELAY: "٣"}),
            400,
            "resonate:delay must be a non-negative integer",
            id="create with a delay in other digits",
        ),
        pytest.param(
            (),
            create("a", TARGETED | {tags.DELAY: str(FAR)}),
            400,
            "resonate:delay must be less than timeoutAt",
            id="create with a delay at the deadline",
        ),
        pytest.param(
            (),
            create("a", EXTERNAL | {tags.DELAY: "5"}),
            400,
            "resonate:delay requires a resonate:target tag",
            id="create with a delay but no target",
        ),
        pytest.param(
            (create("a"),),
            create("a", TARGETED | {tags.DELAY: "soon"}),
            400,
            "resonate:delay must be a non-negative integer",
            id="create is refused at the door although the promise exists",
        ),
        pytest.param(
            (),
            settle("a", PromiseState.PENDING),
            400,
            "A promise cannot be settled to pending",
            id="settle to pending, before existence",
        ),
        pytest.param(
            (),
            settle("a", PromiseState.REJECTED_TIMEDOUT),
            400,
            "A promise cannot be settled to rejected_timedout",
            id="settle to timed out, before existence",
        ),
        pytest.param((), settle("a"), 404, "Promise not found", id="settle unknown"),
        pytest.param(
            (),
            PromiseRegisterCallback("a", "a"),
            400,
            "Awaited and awaiter must be different promises",
            id="callback to itself, before existence",
        ),
        pytest.param(
            (), CALLBACK, 404, "Awaited promise not found", id="callback on unknown awaited"
        ),
        pytest.param(
            (create("b", EXTERNAL),),
            CALLBACK,
            422,
            "Awaiter promise not found",
            id="callback of unknown awaiter",
        ),
        pytest.param(
            (create("b", EXTERNAL), create("a", EXTERNAL)),
            CALLBACK,
            422,
            "Awaiter promise has no resonate:target tag",
            id="callback of an awaiter without target",
        ),
        pytest.param(
            (create("b"), create("a", EXTERNAL)),
            CALLBACK,
            422,
            "Awaiter promise has no resonate:target tag",
            id="callback, untargeted awaiter before internal awaited",
        ),
        pytest.param(
            (create("b", INTERNAL), create("a", TARGETED)),
            CALLBACK,
            422,
            INTERNAL_TEXT,
            id="callback on an internal promise",
        ),
        pytest.param(
            (create("b", INTERNAL, NOW), create("a", TARGETED)),
            CALLBACK,
            422,
            INTERNAL_TEXT,
            id="callback on an internal promise past its deadline",
        ),
        pytest.param(
            (create("a"),),
            listen("a", "nowhere"),
            400,
            "Invalid listener address",
            id="listener without a scheme",
        ),
        pytest.param(
            (),
            listen("a", "://rest"),
            400,
            "Invalid listener address",
            id="listener with an empty scheme, before existence",
        ),
        pytest.param(
            (),
            listen("a", "https://"),
            400,
            "Invalid listener address",
            id="listener with nothing behind the scheme",
        ),
        pytest.param((), listen("a"), 404, "Promise not found", id="listener on unknown"),
        pytest.param(
            (create("a", INTERNAL),), listen("a"), 422, INTERNAL_TEXT, id="listener on internal"
        ),
        pytest.param(
            (create("a", INTERNAL), settle("a")),
            listen("a"),
            422,
            INTERNAL_TEXT,
            id="listener on internal and settled",
        ),
    ],
)
def test_refusals_change_nothing(
    store: CheckedStore, given: Given, request_: Request, status: int, text: str
) -> None:
    give(store, given)
    before = copied(store.state)
    assert store.ask(request_, NOW) == Reply(status, text)
    assert store.state == before


def test_get_answers_with_the_record(store: CheckedStore) -> None:
    give(store, [create("a", EXTERNAL, param=VALUE)])
    assert store.ask(PromiseGet("a"), NOW).promise == PromiseRecord(
        id="a",
        state=PromiseState.PENDING,
        param=VALUE,
        value=EMPTY,
        tags=EXTERNAL,
        timeout_at=FAR,
        created_at=0,
    )


@pytest.mark.parametrize(
    ("promise_tags", "state"),
    [
        (INTERNAL, PromiseState.REJECTED_TIMEDOUT),
        (EXTERNAL, PromiseState.REJECTED_TIMEDOUT),
        (TARGETED, PromiseState.REJECTED_TIMEDOUT),
        (TIMER, PromiseState.RESOLVED),
    ],
    ids=["internal", "external", "targeted", "timer"],
)
@pytest.mark.parametrize("late", [0, 1, 5000])
def test_get_projects_the_deadline(
    store: CheckedStore, promise_tags: dict[str, str], state: PromiseState, late: int
) -> None:
    give(store, [create("a", promise_tags, NOW)])
    assert store.ask(PromiseGet("a"), NOW - 1).promise.state is PromiseState.PENDING
    seen = store.ask(PromiseGet("a"), NOW + late).promise
    assert (seen.state, seen.settled_at, seen.value) == (state, NOW, EMPTY)


def test_create_stores_a_pending_promise(store: CheckedStore) -> None:
    reply = store.ask(create("a", EXTERNAL, param=VALUE), NOW)
    assert reply.status == 200
    assert reply.promise == store.promise("a").record(NOW)
    assert (reply.promise.created_at, reply.promise.param) == (NOW, VALUE)
    assert not store.state.tasks


@pytest.mark.parametrize(
    ("delay", "retry_at"), [(None, NOW), ("0", NOW), ("999", NOW), ("5000", 5000)]
)
def test_create_with_a_target_makes_a_pending_task(
    store: CheckedStore, delay: str | None, retry_at: int
) -> None:
    delayed = {} if delay is None else {tags.DELAY: delay}
    store.ask(create("a", TARGETED | delayed), NOW)
    task = store.task("a")
    assert (task.state, task.version, task.retry_at) == (TaskState.PENDING, 0, retry_at)


@pytest.mark.parametrize("timeout_at", [NOW, NOW - 1, 0])
@pytest.mark.parametrize(
    ("promise_tags", "state"),
    [
        (INTERNAL, PromiseState.REJECTED_TIMEDOUT),
        (EXTERNAL, PromiseState.REJECTED_TIMEDOUT),
        (TIMER, PromiseState.RESOLVED),
        (TARGETED, PromiseState.REJECTED_TIMEDOUT),
    ],
    ids=["internal", "external", "timer", "targeted"],
)
def test_create_past_the_deadline_is_born_settled(
    store: CheckedStore, promise_tags: dict[str, str], state: PromiseState, timeout_at: int
) -> None:
    promise = store.ask(create("a", promise_tags, timeout_at, VALUE), NOW).promise
    assert (promise.state, promise.value, promise.param) == (state, EMPTY, VALUE)
    assert promise.created_at == promise.settled_at == promise.timeout_at == timeout_at
    task = store.task("a")
    assert (task is not None) == (promise_tags is TARGETED)
    if task is not None:
        assert (task.state, task.version) == (TaskState.FULFILLED, 0)


def test_create_again_answers_with_what_was_first(store: CheckedStore) -> None:
    first = store.ask(create("a", EXTERNAL, param=VALUE), 0).promise
    again = store.ask(create("a", TARGETED, FAR + 1, Value(data="other")), NOW)
    assert again == Reply(200, promise=first)
    assert not store.state.tasks


def test_create_again_projects_the_deadline(store: CheckedStore) -> None:
    give(store, [create("a", EXTERNAL, NOW)])
    assert store.ask(create("a", EXTERNAL, FAR), NOW).promise.settled_at == NOW


def test_create_of_a_timer_with_a_target_is_refused_when_strict() -> None:
    store = CheckedStore(STRICT)
    reply = store.ask(create("a", TIMER | TARGETED), NOW)
    assert reply == Reply(400, "A promise cannot be a timer and have a resonate:target tag")
    assert not store.state.promises


@pytest.mark.parametrize("target", [GROUP, ""])
def test_create_of_a_timer_with_a_target_drops_the_target_when_compatible(target: str) -> None:
    store = CheckedStore(COMPAT)
    reply = store.ask(create("a", TIMER | GLOBAL | {tags.TARGET: target}, NOW + 5), NOW)
    assert reply.promise.tags == TIMER | GLOBAL
    assert store.ask(TaskGet("a"), NOW).status == 404
    store.tick(NOW + 5)
    assert store.promise("a").state is PromiseState.RESOLVED
    assert not any(isinstance(message, Execute) for message in store.state.outbox.values())


@pytest.mark.parametrize("target", ["w1", "https://example.org", "poll://any@g/p", "✓"])
def test_create_accepts_any_target(store: CheckedStore, target: str) -> None:
    assert store.ask(create("a", {tags.TARGET: target}), NOW).status == 200


def test_create_takes_other_values_of_the_flags_for_unset(store: CheckedStore) -> None:
    off = {tags.TIMER: "false", tags.EXTERNAL: "True"}
    give(store, [create("a", off | TARGETED), create("b", off)])
    assert store.task("a") is not None
    assert store.ask(listen("b"), NOW).status == 422


@pytest.mark.parametrize(
    "state", [PromiseState.RESOLVED, PromiseState.REJECTED, PromiseState.REJECTED_CANCELED]
)
@pytest.mark.parametrize("promise_tags", [INTERNAL, EXTERNAL, TIMER], ids=["int", "ext", "timer"])
def test_settle_of_a_pending_promise(
    store: CheckedStore, state: PromiseState, promise_tags: dict[str, str]
) -> None:
    give(store, [create("a", promise_tags)])
    reply = store.ask(settle("a", state, VALUE), NOW)
    assert (reply.status, reply.applied) == (200, True)
    assert reply.promise == store.promise("a").record(NOW)
    assert (reply.promise.state, reply.promise.settled_at) == (state, NOW)
    assert reply.promise.value == VALUE


def test_settle_again_answers_with_what_was_first(store: CheckedStore) -> None:
    give(store, [create("a"), settle("a", PromiseState.REJECTED, VALUE)])
    reply = store.ask(settle("a", PromiseState.RESOLVED, Value(data="other")), NOW)
    assert (reply.status, reply.applied) == (200, False)
    assert (reply.promise.state, reply.promise.settled_at) == (PromiseState.REJECTED, 0)
    assert reply.promise.value == VALUE


def test_settle_after_the_deadline_is_a_timeout(store: CheckedStore) -> None:
    give(store, [create("a", EXTERNAL, NOW)])
    reply = store.ask(settle("a", PromiseState.RESOLVED, VALUE), NOW + 500)
    assert (reply.status, reply.applied) == (200, False)
    assert reply.promise.state is PromiseState.REJECTED_TIMEDOUT
    assert (reply.promise.settled_at, reply.promise.value) == (NOW, EMPTY)


def test_settle_takes_the_task_from_its_holder(store: CheckedStore) -> None:
    give(store, [start("a"), settle("a")])
    task = store.task("a")
    assert task == task.fulfilled()
    assert task.version == 1


def test_settle_keeps_callbacks_and_listeners_for_the_drains(store: CheckedStore) -> None:
    give(store, [create("b", EXTERNAL), create("a", TARGETED), CALLBACK, listen("b")])
    store.ask(settle("b"), NOW)
    assert store.promise("b").callbacks == ("a",)
    assert store.promise("b").listeners == (ADDRESS,)


@pytest.mark.parametrize(
    "awaited", [EXTERNAL, TARGETED, TIMER], ids=["external", "targeted", "timer"]
)
def test_callback_is_registered_once(store: CheckedStore, awaited: dict[str, str]) -> None:
    give(store, [create("b", awaited), create("a", TARGETED)])
    replies = [store.ask(CALLBACK, NOW) for _ in range(2)]
    assert [reply.status for reply in replies] == [200, 200]
    assert replies[0].promise == store.promise("b").record(NOW)
    assert store.promise("b").callbacks == ("a",)


def test_callbacks_keep_their_order(store: CheckedStore) -> None:
    give(store, [create("b", EXTERNAL), create("z", TARGETED), create("a", TARGETED)])
    give(store, [PromiseRegisterCallback("b", "z"), CALLBACK])
    assert store.promise("b").callbacks == ("z", "a")


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(
            (create("b", EXTERNAL), create("a", TARGETED), settle("a")), id="awaiter settled"
        ),
        pytest.param((create("b", EXTERNAL), create("a", TARGETED, NOW)), id="awaiter expired"),
        pytest.param(
            (create("b", EXTERNAL), create("a", TARGETED), settle("b")), id="awaited settled"
        ),
        pytest.param((create("b", EXTERNAL, NOW), create("a", TARGETED)), id="awaited expired"),
        pytest.param(
            (
                create("b", EXTERNAL),
                create("c", EXTERNAL),
                settle("b"),
                start("a"),
                suspend("a", "c"),
            ),
            id="awaited settled and awaiter suspended",
        ),
    ],
)
def test_callback_of_what_is_settled_writes_nothing(store: CheckedStore, given: Given) -> None:
    give(store, given)
    before = copied(store.state)
    reply = store.ask(CALLBACK, NOW)
    assert reply == Reply(200, promise=store.promise("b").record(NOW))
    assert store.state == before


def test_global_scope_can_be_awaited_when_compatible() -> None:
    store = CheckedStore(COMPAT)
    give(store, [create("b", GLOBAL), create("a", TARGETED), CALLBACK, listen("b")])
    assert store.promise("b").callbacks == ("a",)


def test_global_scope_is_internal_when_strict() -> None:
    store = CheckedStore(STRICT)
    give(store, [create("b", GLOBAL), create("a", TARGETED)])
    assert store.ask(CALLBACK, NOW).status == 422
    assert store.ask(listen("b"), NOW).status == 422


def test_listener_is_registered_once(store: CheckedStore) -> None:
    give(store, [create("a", EXTERNAL)])
    replies = [store.ask(listen("a"), NOW) for _ in range(2)]
    assert [reply.status for reply in replies] == [200, 200]
    assert replies[0].promise == store.promise("a").record(NOW)
    assert store.promise("a").listeners == (ADDRESS,)
    store.ask(listen("a", "https://example.org/a"), NOW)
    assert store.promise("a").listeners == (ADDRESS, "https://example.org/a")


@pytest.mark.parametrize(
    "given",
    [
        pytest.param((create("a", EXTERNAL), settle("a")), id="settled"),
        pytest.param((create("a", EXTERNAL, NOW),), id="expired"),
        pytest.param((At(1, create("a", TIMER, 1)),), id="born settled"),
    ],
)
def test_listener_of_what_is_settled_writes_nothing(store: CheckedStore, given: Given) -> None:
    give(store, given)
    before = copied(store.state)
    reply = store.ask(listen("a"), NOW)
    assert reply == Reply(200, promise=store.promise("a").record(NOW))
    assert not reply.promise.is_pending
    assert store.state == before


@pytest.mark.parametrize(
    ("address", "strict_status"),
    [
        ("http://h/x", 200),
        ("https://h", 200),
        ("poll://any@g", 200),
        ("poll://uni@g/p", 200),
        ("poll://g", 400),
        ("gcps://project/topic", 400),
        ("bash://x", 400),
    ],
)
def test_listener_schemes(address: str, strict_status: int) -> None:
    for profile, status in ((COMPAT, 200), (STRICT, strict_status)):
        store = CheckedStore(profile)
        give(store, [create("a", EXTERNAL)])
        assert store.ask(listen("a", address), NOW).status == status


def test_records_carry_headers_and_data_as_sent(store: CheckedStore) -> None:
    for n, value in enumerate([Value(), Value(headers={}), Value(data=""), Value({}, "")]):
        request = PromiseCreate(f"p{n}", FAR, value, {})
        assert store.ask(request, NOW).promise.param == value
