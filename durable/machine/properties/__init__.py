"""The catalogue of properties (protocol.md 8.4) as code, under the same names.

Tests check it after every step, integration tests and ``manage.py durable_fsck`` on what a database
holds: there the state properties alone, since a delivered message leaves the outbox.
"""

from durable.machine.properties import (
    coupling,
    promise_changes,
    promises,
    store,
    task_changes,
    tasks,
)
from durable.machine.properties.catalogue import (
    STATE_PROPERTIES,
    TRANSITION_PROPERTIES,
    Standing,
    StateProperty,
    TransitionProperty,
    Violation,
)
from durable.machine.properties.differences import Step
from durable.machine.state import ServerState

MODULES = (promises, tasks, store, promise_changes, task_changes, coupling)
"""Where the properties are written down; importing them fills the catalogue."""

__all__ = [
    "MODULES",
    "STATE_PROPERTIES",
    "TRANSITION_PROPERTIES",
    "Standing",
    "StateProperty",
    "Step",
    "TransitionProperty",
    "Violation",
    "check_state",
    "check_transition",
]


def check_state(state: ServerState, now: int) -> list[Violation]:
    """Return what breaks a property of states, known gaps included, at ``now`` (epoch ms)."""
    return [
        violation
        for known in STATE_PROPERTIES.values()
        for violation in known.violations(state, now)
    ]


def check_transition(
    before: ServerState, after: ServerState, now: int, *, internal: bool
) -> list[Violation]:
    """Return what breaks a property of single steps.

    ``now`` is the clock reading of the step (epoch ms); ``internal`` says that the server took it
    on its own, which allows it less. ``before`` must not be mutated by the step.
    """
    step = Step(before, after, now)
    return [
        violation
        for known in TRANSITION_PROPERTIES.values()
        if internal or known.standing is not Standing.INTERNAL
        for violation in known.violations(step)
    ]
