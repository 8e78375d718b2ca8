"""What a property is, and the list that each property enters under the name of its function.

Knows none of the properties themselves; the first line of a docstring is the claim.
"""

from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import NamedTuple

from durable.machine.properties.differences import Step
from durable.machine.state import Promise, Schedule, ServerState, Task


class Violation(NamedTuple):
    """An object, or the place of one, that a property does not hold for."""

    name: str
    claim: str
    subject: str

    def __str__(self) -> str:
        return f"{self.name}: {self.subject} ({self.claim})"


class Standing(Enum):
    """Whose property it is, and for which steps it is claimed."""

    SPECIFIED = "specified"
    KNOWN_GAP = "known gap"  # the specification leaves it open, our doors close it
    INTERNAL = "internal"  # only for steps that the server takes on its own


type FindInState = Callable[[ServerState, int], Iterator[str]]
type FindInStep = Callable[[Step], Iterator[str]]


class StateProperty(NamedTuple):
    """A claim about every state; ``find(state, now)`` names the objects that break it."""

    name: str
    claim: str
    find: FindInState
    standing: Standing

    def violations(self, state: ServerState, now: int) -> Iterator[Violation]:
        """Yield one violation for each object at fault."""
        for subject in self.find(state, now):
            yield Violation(self.name, self.claim, subject)


class TransitionProperty(NamedTuple):
    """A claim about every single step; ``find(step)`` names the objects that break it."""

    name: str
    claim: str
    find: FindInStep
    standing: Standing

    def violations(self, step: Step) -> Iterator[Violation]:
        """Yield one violation for each object at fault."""
        for subject in self.find(step):
            yield Violation(self.name, self.claim, subject)


STATE_PROPERTIES: dict[str, StateProperty] = {}
TRANSITION_PROPERTIES: dict[str, TransitionProperty] = {}


def state_property(find: FindInState, standing: Standing = Standing.SPECIFIED) -> FindInState:
    """Enter a state property; ``find`` yields the subjects at fault."""
    name, claim = _name_and_claim(find)
    STATE_PROPERTIES[name] = StateProperty(name, claim, find, standing)
    return find


def transition_property(find: FindInStep, standing: Standing = Standing.SPECIFIED) -> FindInStep:
    """Enter a transition property; ``find`` yields the subjects at fault."""
    name, claim = _name_and_claim(find)
    TRANSITION_PROPERTIES[name] = TransitionProperty(name, claim, find, standing)
    return find


def known_gap(find: FindInState) -> FindInState:
    """Enter a state property that the specification knows it does not enforce."""
    return state_property(find, Standing.KNOWN_GAP)


def internal_step_property(find: FindInStep) -> FindInStep:
    """Enter a transition property of the steps that the server takes on its own."""
    return transition_property(find, Standing.INTERNAL)


def of_every_promise(holds: Callable[[Promise], bool]) -> FindInState:
    """Enter a state property that looks at one promise at a time."""

    def find(state: ServerState, _now: int) -> Iterator[str]:
        return _subjects("promise", (p.id for p in state.promises.values() if not holds(p)))

    return state_property(_named_like(holds, find))


def of_every_task(holds: Callable[[Task], bool]) -> FindInState:
    """Enter a state property that looks at one task at a time."""

    def find(state: ServerState, _now: int) -> Iterator[str]:
        return _subjects("task", (t.id for t in state.tasks.values() if not holds(t)))

    return state_property(_named_like(holds, find))


def of_every_schedule(holds: Callable[[Schedule], bool]) -> FindInState:
    """Enter a state property that looks at one schedule at a time."""

    def find(state: ServerState, _now: int) -> Iterator[str]:
        return _subjects("schedule", (s.id for s in state.schedules.values() if not holds(s)))

    return state_property(_named_like(holds, find))


def of_every_promise_change(holds: Callable[[Promise, Promise], bool]) -> FindInStep:
    """Enter a transition property that compares a promise before and after the step."""

    def find(step: Step) -> Iterator[str]:
        return _subjects("promise", (b.id for a, b in step.promises.changed if not holds(a, b)))

    return transition_property(_named_like(holds, find))


def of_every_task_change(holds: Callable[[Task, Task], bool]) -> FindInStep:
    """Enter a transition property that compares a task before and after the step."""

    def find(step: Step) -> Iterator[str]:
        return _subjects("task", (b.id for a, b in step.tasks.changed if not holds(a, b)))

    return transition_property(_named_like(holds, find))


def subject(kind: str, object_id: str) -> str:
    """Return the words by which a violation names an object."""
    return f"{kind} {object_id!r}"


def _subjects(kind: str, ids: Iterable[str]) -> Iterator[str]:
    return (subject(kind, object_id) for object_id in ids)


def _name_and_claim(function: Callable[..., object]) -> tuple[str, str]:
    documentation = function.__doc__ or ""
    claim = " ".join(documentation.partition("\n\n")[0].split()).removesuffix(".")
    return function.__name__, claim


def _named_like[**P, R](model: Callable[..., object], function: Callable[P, R]) -> Callable[P, R]:
    function.__name__, function.__doc__ = model.__name__, model.__doc__
    return function
