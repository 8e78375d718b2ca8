"""Properties of what one step may do to a promise."""

from collections.abc import Iterator

from durable.machine.properties.catalogue import (
    internal_step_property,
    of_every_promise_change,
    subject,
    transition_property,
)
from durable.machine.properties.differences import Step
from durable.machine.properties.edges import is_internal_promise_edge, is_promise_edge
from durable.machine.properties.store import misplaced
from durable.machine.state import Promise, deadline_verdict
from durable.protocol.states import SETTLEABLE, PromiseState


@of_every_promise_change
def preserved_promise_birth_fields_immutable(old: Promise, new: Promise) -> bool:
    """What a promise was created with never changes: param, tags, timeoutAt, createdAt."""
    return (old.param, old.tags, old.timeout_at, old.created_at) == (
        new.param,
        new.tags,
        new.timeout_at,
        new.created_at,
    )


@of_every_promise_change
def preserved_settled_promise_record(old: Promise, new: Promise) -> bool:
    """The record of a settled promise never changes."""
    return old.is_pending or (old.state, old.settled_at, old.value) == (
        new.state,
        new.settled_at,
        new.value,
    )


@transition_property
def monotone_promise_set_grows(step: Step) -> Iterator[str]:
    """Promises are never deleted."""
    return (subject("promise", promise.id) for promise in step.promises.gone)


@of_every_promise_change
def preserved_promise_state_frozen_once_settled(old: Promise, new: Promise) -> bool:
    """The state of a settled promise never changes."""
    return old.is_pending or new.state is old.state


@of_every_promise_change
def preserved_promise_settlement_is_one_way(old: Promise, new: Promise) -> bool:
    """A settled promise is never pending again."""
    return old.is_pending or not new.is_pending


@of_every_promise_change
def consistent_promise_settled_at_moves_with_state(old: Promise, new: Promise) -> bool:
    """A promise gets its settledAt with its state."""
    return (old.settled_at != new.settled_at) == (old.state is not new.state)


@of_every_promise_change
def preserved_promise_value_until_settlement(old: Promise, new: Promise) -> bool:
    """The value stays as it is while the promise is pending."""
    return not new.is_pending or old.value == new.value


@transition_property
def preserved_promise_no_duplicate_ids(step: Step) -> Iterator[str]:
    """A step leaves one promise for each id."""
    return misplaced("promise", step.after.promises)


@transition_property
def monotone_promise_callbacks_grow_while_pending(step: Step) -> Iterator[str]:
    """A pending promise is born without callbacks and only gains them."""
    for promise in step.promises.born:
        if promise.is_pending and promise.callbacks:
            yield subject("promise", promise.id)
    for old, new in step.promises.changed:
        if new.is_pending and not set(old.callbacks) <= set(new.callbacks):
            yield subject("promise", new.id)


@transition_property
def monotone_promise_callbacks_shrink_once_settled(step: Step) -> Iterator[str]:
    """A settled promise only loses callbacks."""
    for promise in step.promises.born:
        if not promise.is_pending and promise.callbacks:
            yield subject("promise", promise.id)
    for old, new in step.promises.changed:
        if not new.is_pending and not set(new.callbacks) <= set(old.callbacks):
            yield subject("promise", new.id)


@transition_property
def monotone_promise_listeners_grow_while_pending(step: Step) -> Iterator[str]:
    """A pending promise is born without listeners and only gains them."""
    for promise in step.promises.born:
        if promise.is_pending and promise.listeners:
            yield subject("promise", promise.id)
    for old, new in step.promises.changed:
        if new.is_pending and not set(old.listeners) <= set(new.listeners):
            yield subject("promise", new.id)


@transition_property
def monotone_promise_listeners_shrink_once_settled(step: Step) -> Iterator[str]:
    """A settled promise only loses listeners."""
    for promise in step.promises.born:
        if not promise.is_pending and promise.listeners:
            yield subject("promise", promise.id)
    for old, new in step.promises.changed:
        if not new.is_pending and not set(new.listeners) <= set(old.listeners):
            yield subject("promise", new.id)


@transition_property
def consistent_promise_state_edge_admissible(step: Step) -> Iterator[str]:
    """A promise moves only along the edges of its state machine."""
    for promise in step.promises.born:
        if not is_promise_edge(None, promise):
            yield f"promise {promise.id!r}, born {promise.state}"
    for old, new in step.promises.changed:
        if not is_promise_edge(old.state, new):
            yield f"promise {new.id!r}, {old.state} to {new.state}"


@transition_property
def consistent_promise_settlement_stamp(step: Step) -> Iterator[str]:
    """A client settles now and before the deadline, or the deadline at its own instant."""
    for old, new in step.promises.changed:
        if not old.is_pending or new.is_pending:
            continue
        by_client = new.settled_at == step.now < new.timeout_at and new.state in SETTLEABLE
        by_deadline = (
            new.settled_at == new.timeout_at <= step.now
            and new.state is deadline_verdict(new.tags)
            and new.value == old.value
        )
        if not (by_client or by_deadline):
            yield subject("promise", new.id)


@transition_property
def preserved_timedout_is_server_owned(step: Step) -> Iterator[str]:
    """A promise times out only when its deadline has come, and at that instant."""
    entering = [*step.promises.born, *(b for a, b in step.promises.changed if a.state != b.state)]
    for promise in entering:
        timely = promise.settled_at == promise.timeout_at <= step.now
        if promise.state is PromiseState.REJECTED_TIMEDOUT and not timely:
            yield subject("promise", promise.id)


@transition_property
def consistent_new_promise_born_clean(step: Step) -> Iterator[str]:
    """A promise is born bare: pending before its deadline, or settled at it."""
    for promise in step.promises.born:
        alive = promise.is_pending and promise.created_at < promise.timeout_at
        dead = (
            not promise.is_pending
            and promise.created_at == promise.settled_at == promise.timeout_at <= step.now
        )
        clean = not (promise.callbacks or promise.listeners) and promise.value.is_empty
        if not (clean and promise.created_at <= step.now and (alive or dead)):
            yield subject("promise", promise.id)


@internal_step_property
def consistent_promise_state_edge_internal_admissible(step: Step) -> Iterator[str]:
    """On its own the server settles a promise only by its deadline."""
    for promise in step.promises.born:
        if not is_internal_promise_edge(None, promise):
            yield f"promise {promise.id!r}, born {promise.state}"
    for old, new in step.promises.changed:
        if not is_internal_promise_edge(old.state, new):
            yield f"promise {new.id!r}, {old.state} to {new.state}"
