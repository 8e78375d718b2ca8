"""The catalogue of properties: complete, silent on what is sound, catching what it claims."""

import inspect
import re

import pytest
from msgspec.structs import replace

from durable.machine.properties import (
    MODULES,
    STATE_PROPERTIES,
    TRANSITION_PROPERTIES,
    Standing,
    StateProperty,
    Step,
    TransitionProperty,
    Violation,
    check_state,
    check_transition,
)
from durable.machine.state import Execute, ServerState, Task
from durable.protocol import tags
from durable.protocol.profiles import COMPAT, STRICT
from durable.protocol.states import PromiseState, TaskState
from tests.machine.checked import CheckedStore, copied
from tests.machine.factories import FAR, GLOBAL, GROUP, NOW, TARGETED, TTL, create, give, listen
from tests.machine.violations import (
    BAD_STATES,
    BAD_STEPS,
    HEALTHY,
    NEW,
    NEW_TARGETED,
    NEW_TASK,
    having,
    lacking,
    promise,
    task,
    unblock_of,
)


def test_the_catalogue_is_complete() -> None:
    def names(*properties: StateProperty | TransitionProperty) -> dict[Standing, int]:
        standings = [known.standing for known in properties]
        return {standing: standings.count(standing) for standing in set(standings)}

    assert names(*STATE_PROPERTIES.values()) == {Standing.SPECIFIED: 45, Standing.KNOWN_GAP: 3}
    assert names(*TRANSITION_PROPERTIES.values()) == {
        Standing.SPECIFIED: 50,
        Standing.INTERNAL: 2,
    }


def test_every_property_written_down_is_in_the_catalogue() -> None:
    written = {
        name
        for module in MODULES
        for name, value in vars(module).items()
        if re.match(r"(well_formed|consistent|preserved|monotone)_", name)
        and inspect.isfunction(value)
    }
    assert written == STATE_PROPERTIES.keys() | TRANSITION_PROPERTIES.keys()


def test_every_property_says_what_it_claims() -> None:
    claims = [known.claim for known in STATE_PROPERTIES.values()]
    claims += [known.claim for known in TRANSITION_PROPERTIES.values()]
    assert all(claim and not claim.endswith(".") for claim in claims)
    assert len(set(claims)) == len(claims)


def test_every_property_has_a_violation() -> None:
    assert BAD_STATES.keys() == STATE_PROPERTIES.keys()
    assert BAD_STEPS.keys() == TRANSITION_PROPERTIES.keys()


def test_nothing_is_wrong_with_the_healthy_state() -> None:
    assert check_state(HEALTHY, NOW) == []
    assert check_transition(HEALTHY, HEALTHY, NOW, internal=True) == []
    assert check_state(ServerState(), 0) == []


@pytest.mark.parametrize("name", BAD_STATES)
def test_a_bad_state_is_caught(name: str) -> None:
    bad = BAD_STATES[name]
    known = STATE_PROPERTIES[name]
    assert list(known.find(bad.state, NOW)) == [bad.subject]
    assert Violation(name, known.claim, bad.subject) in check_state(bad.state, NOW)


@pytest.mark.parametrize("name", BAD_STEPS)
def test_a_bad_step_is_caught(name: str) -> None:
    bad = BAD_STEPS[name]
    known = TRANSITION_PROPERTIES[name]
    assert list(known.find(Step(bad.before, bad.after, NOW))) == [bad.subject]
    violation = Violation(name, known.claim, bad.subject)
    assert violation in check_transition(bad.before, bad.after, NOW, internal=True)
    requested = check_transition(bad.before, bad.after, NOW, internal=False)
    assert (violation in requested) == (known.standing is Standing.SPECIFIED)


def test_a_violation_reads_as_a_sentence() -> None:
    [violation] = check_state(having(promise("internal", listeners=("http://x",))), NOW)
    assert str(violation) == (
        "well_formed_promise_obligations_require_external: promise 'internal' "
        "(Only an external promise has callbacks or listeners)"
    )


ACQUIRED = NEW_TASK.acquired(pid="p", ttl=TTL, now=NOW)
OTHER_BAD_STATES = [
    (
        "well_formed_promise_delay_before_deadline",
        having(promise("ready", tags=TARGETED | {tags.DELAY: "soon"})),
    ),
    ("well_formed_promise_settled_at_iff_not_pending", having(promise("done", settled_at=None))),
    ("well_formed_task_acquired_iff_has_pid", having(task("ready", pid="p"))),
    ("well_formed_task_acquired_iff_has_ttl", having(task("ready", ttl=5))),
    ("well_formed_task_acquired_iff_has_expires_at", having(task("ready", expires_at=5))),
    ("well_formed_task_pending_iff_has_retry_at", having(task("held", retry_at=5))),
    ("well_formed_task_fulfilled_is_cleared", having(task("settled", pid="p"))),
    ("consistent_task_iff_targeted_promise", lacking(promise="ready")),
    ("consistent_task_iff_targeted_promise", having(Task("timer", TaskState.HALTED, 0))),
    (
        "consistent_callback_awaiter_is_targeted",
        having(promise("latent", callbacks=("parked", "z"))),
    ),
    (
        "consistent_outbox_unblock_names_settled_promise",
        having(
            promise("done", state=PromiseState.PENDING, settled_at=None, value=NEW.value),
        ),
    ),
]


@pytest.mark.parametrize(("name", "state"), OTHER_BAD_STATES)
def test_a_bad_state_is_caught_from_the_other_side(name: str, state: ServerState) -> None:
    assert name in {violation.name for violation in check_state(state, NOW)}


BIRTH = "consistent_new_promise_born_clean"
OTHER_BAD_STEPS = [
    (BIRTH, having(replace(NEW, callbacks=("held",)))),
    (BIRTH, having(replace(NEW, listeners=("http://x",)))),
    (BIRTH, having(replace(NEW, value=HEALTHY.promises["done"].value))),
    (BIRTH, having(replace(NEW, created_at=NOW + 1))),
    (BIRTH, having(replace(NEW, timeout_at=NOW))),
    ("monotone_promise_callbacks_grow_while_pending", having(replace(NEW, callbacks=("held",)))),
    ("monotone_promise_listeners_grow_while_pending", having(replace(NEW, listeners=("a://b",)))),
    (
        "monotone_promise_callbacks_shrink_once_settled",
        having(replace(NEW, state=PromiseState.RESOLVED, callbacks=("held",))),
    ),
    (
        "monotone_promise_listeners_shrink_once_settled",
        having(replace(NEW, state=PromiseState.RESOLVED, listeners=("a://b",))),
    ),
    (
        "consistent_promise_state_edge_admissible",
        having(promise("done", state=PromiseState.PENDING)),
    ),
    (
        "consistent_promise_state_edge_internal_admissible",
        having(replace(NEW, state=PromiseState.REJECTED)),
    ),
    (
        "preserved_timedout_is_server_owned",
        having(replace(NEW, state=PromiseState.REJECTED_TIMEDOUT, settled_at=NOW)),
    ),
    ("consistent_promise_settlement_stamp", having(promise("dying", state=PromiseState.RESOLVED))),
    (
        "consistent_promise_settlement_stamp",
        having(
            promise(
                "dying",
                state=PromiseState.REJECTED_TIMEDOUT,
                settled_at=990,
                value=HEALTHY.promises["done"].value,
            )
        ),
    ),
    ("preserved_task_suspension_only_from_acquired", having(NEW_TASK.suspended())),
    ("consistent_task_state_edge_admissible", having(NEW_TASK.halted())),
    ("consistent_task_birth_state", having(replace(NEW_TASK, retry_at=None))),
    ("consistent_task_birth_state", having(replace(ACQUIRED, version=0))),
    ("consistent_task_birth_state", having(replace(ACQUIRED, pid=None))),
    ("consistent_task_birth_state", having(replace(NEW_TASK.fulfilled(), resumes=("x",)))),
    ("preserved_no_dead_dispatch", having(replace(NEW_TARGETED, timeout_at=NOW), NEW_TASK)),
    (
        "consistent_task_lease_fields_move_together",
        having(task("ready", pid="p", ttl=5)),
    ),
    ("consistent_task_lease_fields_move_together", having(task("held", expires_at=None))),
    ("consistent_task_lease_fields_move_together", having(task("held", ttl=7))),
    (
        "consistent_task_lease_deadline_is_now_plus_ttl",
        having(NEW_TARGETED, replace(ACQUIRED, expires_at=5)),
    ),
    (
        "consistent_task_lease_deadline_is_now_plus_ttl",
        having(task("ready", expires_at=NOW)),
    ),
    *(
        (
            "consistent_task_acquisition_is_atomic",
            having(replace(HEALTHY.tasks["ready"].acquired(pid="p", ttl=TTL, now=NOW), **changes)),
        )
        for changes in ({"pid": None}, {"ttl": None}, {"expires_at": NOW}, {"retry_at": NOW})
    ),
    (
        "monotone_task_version_increases_only_on_acquisition",
        having(replace(HEALTHY.tasks["ready"].acquired(pid="p", ttl=TTL, now=NOW), version=0)),
    ),
    (
        "monotone_task_version_increases_only_on_acquisition",
        having(replace(HEALTHY.tasks["held"].pending(NOW), version=0)),
    ),
    (
        "consistent_task_lease_released_atomically",
        having(replace(HEALTHY.tasks["held"].pending(NOW), version=2)),
    ),
    ("consistent_task_retry_rearm_only_when_due", having(task("ready", retry_at=None))),
    (
        "consistent_task_wake_records_resume",
        having(HEALTHY.tasks["waiter"].resumed_by("late").pending(NOW - 1)),
    ),
    (
        "consistent_task_fulfilment_needs_settlement",
        having(NEW_TARGETED, NEW_TASK.fulfilled()),
    ),
    (
        "consistent_settlement_fulfils_task",
        having(replace(NEW_TARGETED, state=PromiseState.REJECTED_TIMEDOUT), NEW_TASK),
    ),
    ("consistent_obligation_discharge_requires_settled", having(promise("latent", listeners=()))),
    ("consistent_task_birth_couples_promise_birth", having(NEW_TASK)),
    ("consistent_task_birth_couples_promise_birth", having(NEW, NEW_TASK)),
    (
        "consistent_task_birth_couples_promise_birth",
        having(NEW_TARGETED, NEW_TASK.fulfilled()),
    ),
    (
        "consistent_task_birth_couples_promise_birth",
        having(replace(NEW_TARGETED, state=PromiseState.REJECTED_TIMEDOUT), NEW_TASK),
    ),
    ("consistent_new_execute_matches_task_and_target", having(Execute("held", 1, "elsewhere"))),
    ("consistent_new_execute_matches_task_and_target", having(Execute("nobody", 1, GROUP))),
    ("preserved_execute_only_for_live_task", having(Execute("settled", 1, GROUP))),
    ("consistent_new_unblock_carries_stored_record", having(unblock_of("latent"))),
    (
        "consistent_new_unblock_discharges_its_listener",
        having(unblock_of("done", "http://never/listened")),
    ),
]


@pytest.mark.parametrize(("name", "after"), OTHER_BAD_STEPS)
def test_a_bad_step_is_caught_from_the_other_side(name: str, after: ServerState) -> None:
    assert list(TRANSITION_PROPERTIES[name].find(Step(HEALTHY, after, NOW)))


def test_external_depends_on_the_profile() -> None:
    store = CheckedStore(COMPAT)
    give(store, [create("g", GLOBAL), listen("g", "gcps://project/topic")])
    strict = ServerState(CheckedStore(STRICT).state.config, store.state.promises)
    assert {violation.name for violation in check_state(strict, NOW)} == {
        "well_formed_promise_obligations_require_external",
        "consistent_listener_addresses_deliverable",
    }


def test_delivered_messages_break_no_state_property() -> None:
    state = copied(HEALTHY)
    state.outbox.clear()
    assert check_state(state, NOW) == []


def test_a_suspended_task_past_its_deadline_needs_no_callback() -> None:
    state = having(task("dying").suspended())
    assert check_state(state, NOW) == []
    assert [violation.name for violation in check_state(state, 989)] == [
        "consistent_suspended_task_holds_rung"
    ]


def test_an_equal_copy_is_no_change() -> None:
    """Two reads of a database give equal objects, not the same ones."""
    after = copied(HEALTHY)
    after.promises = {key: replace(one) for key, one in HEALTHY.promises.items()}
    after.tasks = {key: replace(one) for key, one in HEALTHY.tasks.items()}
    step = Step(HEALTHY, after, FAR)
    assert step.promises == ((), (), ())
    assert step.tasks == ((), (), ())
    assert check_transition(HEALTHY, after, FAR, internal=True) == []
