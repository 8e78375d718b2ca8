"""Properties of every promise in every state, and the two gaps that doors close."""

from collections.abc import Iterator

from durable.machine.properties.catalogue import (
    known_gap,
    of_every_promise,
    state_property,
    subject,
)
from durable.machine.state import Promise, ServerState, deadline_verdict
from durable.protocol import tags
from durable.protocol.states import PromiseState


@of_every_promise
def well_formed_promise_created_at_lte_timeout_at(promise: Promise) -> bool:
    """A promise is created no later than its deadline."""
    return promise.created_at <= promise.timeout_at


@of_every_promise
def well_formed_promise_pending_created_before_deadline(promise: Promise) -> bool:
    """A pending promise was created before its deadline."""
    return not promise.is_pending or promise.created_at < promise.timeout_at


@of_every_promise
def well_formed_promise_settled_at_lte_timeout_at(promise: Promise) -> bool:
    """A promise is settled no later than its deadline."""
    return promise.settled_at is None or promise.settled_at <= promise.timeout_at


@of_every_promise
def well_formed_promise_created_at_lte_settled_at(promise: Promise) -> bool:
    """A promise is settled no earlier than it was created."""
    return promise.settled_at is None or promise.created_at <= promise.settled_at


@of_every_promise
def well_formed_promise_settled_at_iff_not_pending(promise: Promise) -> bool:
    """A promise has a settledAt if and only if it is not pending."""
    return (promise.settled_at is None) == promise.is_pending


@of_every_promise
def well_formed_promise_pending_has_no_value(promise: Promise) -> bool:
    """A pending promise has no value."""
    return not promise.is_pending or promise.value.is_empty


@of_every_promise
def well_formed_promise_deadline_verdict_matches_timer_tag(promise: Promise) -> bool:
    """The deadline resolves a timer and times out everything else."""
    return promise.settled_at != promise.timeout_at or promise.state is deadline_verdict(
        promise.tags
    )


@of_every_promise
def well_formed_promise_deadline_settlement_has_no_value(promise: Promise) -> bool:
    """A promise that its deadline settled has no value."""
    return promise.settled_at != promise.timeout_at or promise.value.is_empty


@of_every_promise
def well_formed_promise_timer_not_targeted(promise: Promise) -> bool:
    """A timer has no target."""
    return not (promise.is_timer and promise.is_targeted)


@of_every_promise
def well_formed_promise_timedout_is_server_owned(promise: Promise) -> bool:
    """A timed out promise was settled at exactly its deadline."""
    return (
        promise.state is not PromiseState.REJECTED_TIMEDOUT
        or promise.settled_at == promise.timeout_at
    )


@of_every_promise
def well_formed_promise_callbacks_unique(promise: Promise) -> bool:
    """An awaiter is registered once."""
    return len(set(promise.callbacks)) == len(promise.callbacks)


@of_every_promise
def well_formed_promise_listeners_unique(promise: Promise) -> bool:
    """A listener is registered once."""
    return len(set(promise.listeners)) == len(promise.listeners)


@state_property
def well_formed_promise_obligations_require_external(
    state: ServerState, _now: int
) -> Iterator[str]:
    """Only an external promise has callbacks or listeners."""
    for promise in state.promises.values():
        owing = promise.callbacks or promise.listeners
        if owing and not promise.is_external(state.config.profile):
            yield subject("promise", promise.id)


@of_every_promise
def well_formed_promise_awaiter_is_not_self(promise: Promise) -> bool:
    """A promise does not await itself."""
    return promise.id not in promise.callbacks


@state_property
def well_formed_promise_created_at_lte_now(state: ServerState, now: int) -> Iterator[str]:
    """A promise is not created in the future."""
    for promise in state.promises.values():
        if promise.created_at > now:
            yield subject("promise", promise.id)


@state_property
def well_formed_promise_settled_at_lte_now(state: ServerState, now: int) -> Iterator[str]:
    """A promise is not settled in the future."""
    for promise in state.promises.values():
        if promise.settled_at is not None and promise.settled_at > now:
            yield subject("promise", promise.id)


@known_gap
def well_formed_promise_target_is_nonempty(state: ServerState, _now: int) -> Iterator[str]:
    """A target is not empty."""
    for promise in state.promises.values():
        if promise.tags.get(tags.TARGET) == "":
            yield subject("promise", promise.id)


@known_gap
def well_formed_promise_delay_before_deadline(state: ServerState, _now: int) -> Iterator[str]:
    """A delay is an instant before the deadline."""
    for promise in state.promises.values():
        try:
            delay = tags.parse_delay(promise.tags)
        except ValueError:
            yield subject("promise", promise.id)
        else:
            if delay is not None and delay >= promise.timeout_at:
                yield subject("promise", promise.id)
