"""One state or step, made by hand, for each property of the catalogue that it must catch.

All start from ``HEALTHY``, in which every kind of object stands and nothing is wrong.
"""

from typing import NamedTuple

from msgspec.structs import replace

from durable.machine.state import (
    Execute,
    ExecuteKey,
    Message,
    Promise,
    Schedule,
    ServerState,
    Task,
    Unblock,
    UnblockKey,
)
from durable.protocol import tags
from durable.protocol.records import EMPTY
from durable.protocol.requests import TaskHalt
from durable.protocol.states import PromiseState, TaskState
from tests.machine.checked import CheckedStore, copied
from tests.machine.factories import (
    ADDRESS,
    EXTERNAL,
    FAR,
    GROUP,
    INTERNAL,
    NOW,
    TARGETED,
    TIMER,
    TTL,
    VALUE,
    At,
    create,
    give,
    listen,
    schedule,
    settle,
    start,
    suspend,
)

STRANGE = "nowhere"


def healthy() -> ServerState:
    store = CheckedStore()
    give(
        store,
        [
            create("latent", EXTERNAL),
            listen("latent"),
            create("internal", INTERNAL),
            create("timer", TIMER),
            create("over", EXTERNAL, 500),
            create("done", EXTERNAL),
            listen("done"),
            start("settled"),
            create("ready", TARGETED),
            start("held"),
            start("parked"),
            suspend("parked", "latent"),
            start("waking"),
            suspend("waking", "done"),
            create("stopped", TARGETED),
            TaskHalt("stopped"),
            schedule("s", cron="0 * * * * *", promise_id="fired"),
        ],
    )
    store.tick(0)
    give(store, [At(900, settle("settled", value=VALUE)), At(900, settle("done", value=VALUE))])
    store.tick(950)
    give(
        store,
        [At(950, start("dying", 990)), At(950, create("late", EXTERNAL)), At(950, listen("late"))],
    )
    give(store, [At(950, start("waiter")), At(950, suspend("waiter", "late"))])
    give(store, [At(960, settle("late", value=VALUE))])
    return store.state


HEALTHY = healthy()
type Anything = Promise | Task | Schedule | Message


def having(*objects: Anything, base: ServerState = HEALTHY) -> ServerState:
    """The state with these objects in place of their namesakes."""
    state = copied(base)
    for one in objects:
        match one:
            case Promise():
                state.promises[one.id] = one
            case Task():
                state.tasks[one.id] = one
            case Schedule():
                state.schedules[one.id] = one
            case Execute() | Unblock():
                state.outbox[one.key] = one
    return state


def lacking(
    *, promise: str = "", task: str = "", key: ExecuteKey | UnblockKey | None = None
) -> ServerState:
    state = copied(HEALTHY)
    state.promises.pop(promise, None)
    state.tasks.pop(task, None)
    if key is not None:
        del state.outbox[key]
    return state


def promise(promise_id: str, **changes: object) -> Promise:
    return replace(HEALTHY.promises[promise_id], **changes)


def task(task_id: str, **changes: object) -> Task:
    return replace(HEALTHY.tasks[task_id], **changes)


def scheduled(**changes: object) -> Schedule:
    return replace(HEALTHY.schedules["s"], **changes)


def unblock_of(promise_id: str, address: str = ADDRESS) -> Unblock:
    return Unblock(HEALTHY.promises[promise_id].record(NOW), address)


def doubled_promises() -> ServerState:
    state = copied(HEALTHY)
    state.promises["other"] = HEALTHY.promises["latent"]
    return state


def doubled_tasks() -> ServerState:
    state = copied(HEALTHY)
    state.tasks["other"] = HEALTHY.tasks["held"]
    return state


def doubled_schedules() -> ServerState:
    state = copied(HEALTHY)
    state.schedules["other"] = HEALTHY.schedules["s"]
    return state


def doubled_messages() -> ServerState:
    state = copied(HEALTHY)
    state.outbox[ExecuteKey("other")] = Execute("ready", 0, GROUP)
    return state


class BadState(NamedTuple):
    """A state at NOW that breaks a property, and the words for what is at fault."""

    state: ServerState
    subject: str


NEW = Promise(
    "new",
    PromiseState.PENDING,
    param=VALUE,
    value=EMPTY,
    tags=EXTERNAL,
    timeout_at=FAR,
    created_at=NOW,
)
NEW_TARGETED = replace(NEW, tags=TARGETED)
NEW_TASK = Task("new", TaskState.PENDING, version=0, retry_at=NOW)
RESOLVED = PromiseState.RESOLVED
TIMEDOUT = PromiseState.REJECTED_TIMEDOUT

BAD_STATES: dict[str, BadState] = {
    "well_formed_promise_created_at_lte_timeout_at": BadState(
        having(promise("latent", created_at=FAR + 1)), "promise 'latent'"
    ),
    "well_formed_promise_pending_created_before_deadline": BadState(
        having(promise("latent", created_at=FAR)), "promise 'latent'"
    ),
    "well_formed_promise_settled_at_lte_timeout_at": BadState(
        having(promise("done", settled_at=FAR + 1)), "promise 'done'"
    ),
    "well_formed_promise_created_at_lte_settled_at": BadState(
        having(promise("done", created_at=901)), "promise 'done'"
    ),
    "well_formed_promise_settled_at_iff_not_pending": BadState(
        having(promise("latent", settled_at=5)), "promise 'latent'"
    ),
    "well_formed_promise_pending_has_no_value": BadState(
        having(promise("latent", value=VALUE)), "promise 'latent'"
    ),
    "well_formed_promise_deadline_verdict_matches_timer_tag": BadState(
        having(promise("over", tags=TIMER)), "promise 'over'"
    ),
    "well_formed_promise_deadline_settlement_has_no_value": BadState(
        having(promise("over", value=VALUE)), "promise 'over'"
    ),
    "well_formed_promise_timer_not_targeted": BadState(
        having(promise("ready", tags=TARGETED | TIMER)), "promise 'ready'"
    ),
    "well_formed_promise_timedout_is_server_owned": BadState(
        having(promise("over", settled_at=499)), "promise 'over'"
    ),
    "well_formed_promise_callbacks_unique": BadState(
        having(promise("latent", callbacks=("parked", "parked"))), "promise 'latent'"
    ),
    "well_formed_promise_listeners_unique": BadState(
        having(promise("latent", listeners=(ADDRESS, ADDRESS))), "promise 'latent'"
    ),
    "well_formed_promise_obligations_require_external": BadState(
        having(promise("internal", listeners=(ADDRESS,))), "promise 'internal'"
    ),
    "well_formed_promise_awaiter_is_not_self": BadState(
        having(promise("ready", callbacks=("ready",))), "promise 'ready'"
    ),
    "well_formed_promise_created_at_lte_now": BadState(
        having(promise("latent", created_at=NOW + 1)), "promise 'latent'"
    ),
    "well_formed_promise_settled_at_lte_now": BadState(
        having(promise("done", settled_at=NOW + 1)), "promise 'done'"
    ),
    "well_formed_promise_target_is_nonempty": BadState(
        having(promise("ready", tags={tags.TARGET: ""})), "promise 'ready'"
    ),
    "well_formed_promise_delay_before_deadline": BadState(
        having(promise("ready", tags=TARGETED | {tags.DELAY: str(FAR)})), "promise 'ready'"
    ),
    "well_formed_task_acquired_iff_has_pid": BadState(
        having(task("held", pid=None)), "task 'held'"
    ),
    "well_formed_task_acquired_iff_has_ttl": BadState(
        having(task("held", ttl=None)), "task 'held'"
    ),
    "well_formed_task_acquired_iff_has_expires_at": BadState(
        having(task("held", expires_at=None)), "task 'held'"
    ),
    "well_formed_task_pending_iff_has_retry_at": BadState(
        having(task("ready", retry_at=None)), "task 'ready'"
    ),
    "well_formed_task_fulfilled_is_cleared": BadState(
        having(task("settled", resumes=("latent",))), "task 'settled'"
    ),
    "well_formed_task_suspended_is_cleared": BadState(
        having(task("parked", retry_at=NOW)), "task 'parked'"
    ),
    "well_formed_task_halted_is_cleared": BadState(
        having(task("stopped", retry_at=NOW)), "task 'stopped'"
    ),
    "well_formed_task_suspended_has_no_resumes": BadState(
        having(task("parked", resumes=("latent",))), "task 'parked'"
    ),
    "well_formed_task_resumes_unique": BadState(
        having(task("ready", resumes=("done", "done"))), "task 'ready'"
    ),
    "well_formed_task_acquired_version_positive": BadState(
        having(task("held", version=0)), "task 'held'"
    ),
    "well_formed_task_ttl_positive": BadState(having(task("held", ttl=0)), "task 'held'"),
    "well_formed_schedule_promise_tags_not_timer_targeted": BadState(
        having(scheduled(promise_tags=TIMER | TARGETED)), "schedule 's'"
    ),
    "well_formed_schedule_created_at_lte_next_run_at": BadState(
        having(scheduled(created_at=60_001)), "schedule 's'"
    ),
    "well_formed_schedule_created_at_lte_last_run_at": BadState(
        having(scheduled(created_at=500, last_run_at=400)), "schedule 's'"
    ),
    "well_formed_schedule_last_run_at_lt_next_run_at": BadState(
        having(scheduled(last_run_at=60_000)), "schedule 's'"
    ),
    "well_formed_store_promise_ids_unique": BadState(doubled_promises(), "promise 'latent'"),
    "well_formed_store_task_ids_unique": BadState(doubled_tasks(), "task 'held'"),
    "well_formed_store_schedule_ids_unique": BadState(doubled_schedules(), "schedule 's'"),
    "well_formed_store_outbox_keys_unique": BadState(
        doubled_messages(), "message ExecuteKey(task_id='other')"
    ),
    "consistent_task_iff_targeted_promise": BadState(lacking(task="ready"), "promise 'ready'"),
    "consistent_settled_promise_has_fulfilled_task": BadState(
        having(promise("held", state=RESOLVED, settled_at=900)), "task 'held'"
    ),
    "consistent_callback_awaiter_is_targeted": BadState(
        having(promise("latent", callbacks=("parked", "timer"))),
        "promise 'latent', awaiter 'timer'",
    ),
    "consistent_listener_addresses_deliverable": BadState(
        having(promise("latent", listeners=(STRANGE,))), "promise 'latent', listener 'nowhere'"
    ),
    "consistent_outbox_execute_names_existing_task": BadState(
        having(Execute("latent", 0, GROUP)), "execute of task 'latent' at version 0"
    ),
    "consistent_outbox_never_ahead": BadState(
        having(Execute("ready", 1, GROUP)), "execute of task 'ready' at version 1"
    ),
    "consistent_outbox_execute_address_is_target_tag": BadState(
        having(Execute("ready", 0, STRANGE)), "execute of task 'ready' at version 0"
    ),
    "consistent_outbox_unblock_names_settled_promise": BadState(
        having(unblock_of("latent")), f"unblock of promise 'latent' to {ADDRESS!r}"
    ),
    "consistent_outbox_unblock_address_deliverable": BadState(
        having(unblock_of("done", STRANGE)), "unblock of promise 'done' to 'nowhere'"
    ),
    "consistent_settled_task_promise_settled": BadState(
        having(HEALTHY.tasks["held"].fulfilled()), "task 'held'"
    ),
    "consistent_suspended_task_holds_rung": BadState(
        having(promise("latent", callbacks=())), "task 'parked'"
    ),
}


class BadStep(NamedTuple):
    """What a step at NOW makes of HEALTHY, and the words for what is at fault."""

    after: ServerState
    subject: str
    before: ServerState = HEALTHY


DRAINED = promise("late", callbacks=(), listeners=())

BAD_STEPS: dict[str, BadStep] = {
    "preserved_promise_birth_fields_immutable": BadStep(
        having(promise("latent", timeout_at=FAR + 1)), "promise 'latent'"
    ),
    "preserved_settled_promise_record": BadStep(
        having(promise("done", settled_at=901)), "promise 'done'"
    ),
    "monotone_promise_set_grows": BadStep(lacking(promise="latent"), "promise 'latent'"),
    "preserved_promise_state_frozen_once_settled": BadStep(
        having(promise("done", state=PromiseState.REJECTED)), "promise 'done'"
    ),
    "preserved_promise_settlement_is_one_way": BadStep(
        having(promise("done", state=PromiseState.PENDING)), "promise 'done'"
    ),
    "consistent_promise_settled_at_moves_with_state": BadStep(
        having(promise("latent", state=RESOLVED)), "promise 'latent'"
    ),
    "preserved_promise_value_until_settlement": BadStep(
        having(promise("latent", value=VALUE)), "promise 'latent'"
    ),
    "preserved_promise_no_duplicate_ids": BadStep(doubled_promises(), "promise 'latent'"),
    "monotone_promise_callbacks_grow_while_pending": BadStep(
        having(promise("latent", callbacks=())), "promise 'latent'"
    ),
    "monotone_promise_callbacks_shrink_once_settled": BadStep(
        having(promise("done", callbacks=("ready",))), "promise 'done'"
    ),
    "monotone_promise_listeners_grow_while_pending": BadStep(
        having(promise("latent", listeners=())), "promise 'latent'"
    ),
    "monotone_promise_listeners_shrink_once_settled": BadStep(
        having(promise("done", listeners=(GROUP,))), "promise 'done'"
    ),
    "consistent_promise_state_edge_admissible": BadStep(
        having(replace(NEW, state=PromiseState.REJECTED)), "promise 'new', born rejected"
    ),
    "consistent_promise_settlement_stamp": BadStep(
        having(promise("latent", state=RESOLVED, settled_at=NOW - 1)), "promise 'latent'"
    ),
    "preserved_timedout_is_server_owned": BadStep(
        having(promise("latent", state=TIMEDOUT, settled_at=NOW)), "promise 'latent'"
    ),
    "consistent_new_promise_born_clean": BadStep(
        having(replace(NEW, state=TIMEDOUT, settled_at=NOW)), "promise 'new'"
    ),
    "consistent_promise_state_edge_internal_admissible": BadStep(
        having(promise("latent", state=RESOLVED, settled_at=NOW)),
        "promise 'latent', pending to resolved",
    ),
    "monotone_task_set_grows": BadStep(lacking(task="ready"), "task 'ready'"),
    "monotone_task_version_increases_only_on_acquisition": BadStep(
        having(task("held", version=2)), "task 'held'"
    ),
    "preserved_fulfilled_task": BadStep(
        having(task("settled", resumes=("done",))), "task 'settled'"
    ),
    "consistent_task_state_edge_admissible": BadStep(
        having(HEALTHY.tasks["ready"].suspended()), "task 'ready', pending to suspended"
    ),
    "preserved_task_acquisition_only_from_pending": BadStep(
        having(HEALTHY.tasks["stopped"].acquired(pid="p", ttl=TTL, now=NOW)), "task 'stopped'"
    ),
    "preserved_task_suspension_only_from_acquired": BadStep(
        having(HEALTHY.tasks["stopped"].suspended()), "task 'stopped'"
    ),
    "preserved_task_halted_only_reenters_via_pending": BadStep(
        having(HEALTHY.tasks["stopped"].suspended()), "task 'stopped'"
    ),
    "consistent_task_birth_state": BadStep(
        having(NEW_TARGETED, NEW_TASK.suspended()), "task 'new'"
    ),
    "consistent_task_lease_released_atomically": BadStep(
        having(task("held", state=TaskState.HALTED)), "task 'held'"
    ),
    "preserved_task_lease_holder_stable": BadStep(having(task("held", pid="q")), "task 'held'"),
    "consistent_task_lease_fields_move_together": BadStep(
        having(task("held", pid=None)), "task 'held'"
    ),
    "monotone_task_resumes_grow_or_clear": BadStep(
        having(task("waking", resumes=("latent",))), "task 'waking'"
    ),
    "consistent_task_resumes_cleared_only_on_dispatch_or_park": BadStep(
        having(task("waking", resumes=())), "task 'waking'"
    ),
    "preserved_no_dead_dispatch": BadStep(
        having(HEALTHY.tasks["dying"].pending(NOW)), "task 'dying'"
    ),
    "preserved_execute_only_for_live_task": BadStep(
        having(Execute("dying", 1, GROUP)), "execute of task 'dying'"
    ),
    "consistent_task_acquisition_is_atomic": BadStep(
        having(replace(HEALTHY.tasks["ready"].acquired(pid="p", ttl=TTL, now=NOW), resumes=("x",))),
        "task 'ready'",
    ),
    "consistent_task_lease_deadline_is_now_plus_ttl": BadStep(
        having(task("held", expires_at=NOW + TTL + 1)), "task 'held'"
    ),
    "consistent_task_pending_entry_arms_retry": BadStep(
        having(HEALTHY.tasks["held"].pending(NOW + 1)), "task 'held'"
    ),
    "consistent_task_retry_rearm_only_when_due": BadStep(
        having(task("ready", retry_at=10_000)), "task 'ready'"
    ),
    "monotone_task_retry_rearm_advances": BadStep(
        having(task("ready", retry_at=NOW)), "task 'ready'"
    ),
    "consistent_task_wake_records_resume": BadStep(
        having(HEALTHY.tasks["parked"].pending(NOW)), "task 'parked'"
    ),
    "consistent_task_state_edge_internal_admissible": BadStep(
        having(HEALTHY.tasks["ready"].halted()), "task 'ready', pending to halted"
    ),
    "consistent_settlement_fulfils_task": BadStep(
        having(promise("held", state=RESOLVED, settled_at=NOW)), "promise 'held'"
    ),
    "consistent_task_fulfilment_needs_settlement": BadStep(
        having(HEALTHY.tasks["held"].fulfilled()), "task 'held'"
    ),
    "consistent_obligation_discharge_requires_settled": BadStep(
        having(promise("latent", state=RESOLVED, settled_at=NOW, callbacks=())),
        "promise 'latent'",
    ),
    "consistent_callback_consumption_resumes_awaiter": BadStep(
        having(DRAINED, unblock_of("late")), "promise 'late', awaiter 'waiter'"
    ),
    "consistent_listener_consumption_enqueues_unblock": BadStep(
        having(DRAINED), f"promise 'late', listener {ADDRESS!r}"
    ),
    "consistent_wake_follows_callback_consumption": BadStep(
        having(HEALTHY.tasks["waiter"].resumed_by("late").pending(NOW)), "task 'waiter'"
    ),
    "consistent_suspension_registers_callback": BadStep(
        having(HEALTHY.tasks["held"].suspended()), "task 'held'"
    ),
    "consistent_task_birth_couples_promise_birth": BadStep(
        having(NEW_TARGETED), "promise or task 'new'"
    ),
    "monotone_outbox_keys_never_disappear": BadStep(
        lacking(key=ExecuteKey("ready")), "message ExecuteKey(task_id='ready')"
    ),
    "consistent_new_execute_matches_task_and_target": BadStep(
        having(Execute("held", 0, GROUP)), "execute of task 'held'"
    ),
    "consistent_new_unblock_carries_stored_record": BadStep(
        having(
            DRAINED, Unblock(replace(HEALTHY.promises["late"].record(NOW), state=TIMEDOUT), ADDRESS)
        ),
        f"unblock of promise 'late' to {ADDRESS!r}",
    ),
    "consistent_new_unblock_discharges_its_listener": BadStep(
        having(unblock_of("late")), f"unblock of promise 'late' to {ADDRESS!r}"
    ),
    "preserved_schedule_birth_fields_immutable": BadStep(
        having(scheduled(promise_timeout=1)), "schedule 's'"
    ),
}
