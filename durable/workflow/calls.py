"""Calls as promises: which tags and param each kind has (protocol.md 5), and which is recorded."""

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from durable.protocol import tags
from durable.protocol.records import EMPTY, PromiseRecord, Value
from durable.protocol.requests import PromiseCreate
from durable.workflow import codec


class Kind(Enum):
    """What a promise below a task is for; the value is how errors call it."""

    STEP = "a local call"
    REMOTE = "a remote call"
    TIMER = "a sleep"
    LATENT = "a promise settled from outside"


class Call(NamedTuple):
    """What a replay compares: the kind, and the function where one is called."""

    kind: Kind
    function: str | None = None

    def __str__(self) -> str:
        """Say it as errors do."""
        return self.kind.value + (f" of {self.function!r}" if self.function else "")

    def fits(self, recorded: "Call") -> bool:
        """Whether the record may be of this call; one without a name says nothing of it."""
        names = {self.function, recorded.function} - {None}
        return self.kind is recorded.kind and len(names) < 2


def call_of(record: PromiseRecord | PromiseCreate) -> Call:
    """Return what a promise is for, recorded or about to be."""
    if tags.is_timer(record.tags):
        return Call(Kind.TIMER)
    if tags.is_targeted(record.tags):
        return Call(Kind.REMOTE, codec.function_in(record.param))
    if record.tags.get(tags.SCOPE) == tags.SCOPE_LOCAL:
        return Call(Kind.STEP, codec.function_in(record.param))
    return Call(Kind.LATENT)


class Place(NamedTuple):
    """Where a call stands: its id, who makes it, and the task and lineage it belongs to."""

    id: str
    parent: str
    task: str
    origin: str


def create_root(
    promise_id: str, param: Value, target: str, timeout_at: int, extra: Mapping[str, str]
) -> PromiseCreate:
    """Create the root of an execution: its own origin, branch and parent."""
    place = Place(promise_id, parent=promise_id, task=promise_id, origin=promise_id)
    return create_remote(place, param, target, timeout_at, extra)


def create_step(
    place: Place, name: str, version: int, timeout_at: int, extra: Mapping[str, str]
) -> PromiseCreate:
    """Create a call that runs inside this task: its branch is the task."""
    own = {tags.SCOPE: tags.SCOPE_LOCAL, tags.BRANCH: place.task}
    return _create(place, codec.encode_name(name, version), own, timeout_at, extra)


def create_remote(
    place: Place, param: Value, target: str, timeout_at: int, extra: Mapping[str, str]
) -> PromiseCreate:
    """Create a call that any worker of the target may run, as a task of its own."""
    own = {**_global(place), tags.TARGET: target}
    return _create(place, param, own, timeout_at, extra)


def create_timer(
    place: Place, timeout_at: int, extra: Mapping[str, str], param: Value = EMPTY
) -> PromiseCreate:
    """Create a timer; no worker is its target, the deadline resolves it."""
    return _create(place, param, {**_global(place), tags.TIMER: tags.TRUE}, timeout_at, extra)


def create_latent(
    place: Place, param: Value, timeout_at: int, extra: Mapping[str, str]
) -> PromiseCreate:
    """Create a promise that only the outside settles."""
    own = {**_global(place), tags.EXTERNAL: tags.TRUE}
    return _create(place, param, own, timeout_at, extra)


def _global(place: Place) -> dict[str, str]:
    return {tags.SCOPE: tags.SCOPE_GLOBAL, tags.BRANCH: place.id}


def _create(
    place: Place, param: Value, own: dict[str, str], timeout_at: int, extra: Mapping[str, str]
) -> PromiseCreate:
    lineage = {tags.PARENT: place.parent, tags.ORIGIN: place.origin}
    return PromiseCreate(
        id=place.id, timeout_at=timeout_at, param=param, tags={**extra, **own, **lineage}
    )
