"""One running function: where it stands, how it numbers its calls, and what it has begun."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from durable.protocol.annotations import Annotation
from durable.protocol.requests import PromiseCreate
from durable.workflow import ids
from durable.workflow.calls import Place
from durable.workflow.functions import Function
from durable.workflow.registry import Registry
from durable.workflow.slots import Floor, Slot

if TYPE_CHECKING:
    from asyncio import Task

    from durable.workflow.commands import BaseCommand
    from durable.workflow.results import Result


class Scope(Protocol):
    """What a frame asks of its pass."""

    @property
    def floor(self) -> Floor:
        """Who moves and who waits."""

    def frame_of(self, task: "Task[Any] | None") -> "Frame | None":
        """Return the function that a task of asyncio runs; None for one that is not ours."""

    @property
    def registry(self) -> Registry:
        """The functions that are known by name."""

    def last_recorded(self, promise_id: str) -> int:
        """Return the highest number that an earlier pass gave to a call below this promise."""


class Begun(NamedTuple):
    """A call under way: the promises to wait for, and how to read what came of it then."""

    slots: tuple[Slot, ...]
    read: "Callable[[], Result]"


@dataclass(eq=False, slots=True)
class Frame:
    """A function of a pass. The root's promise exists; that of a step is written when it ends.

    create: how its own promise is created, while that is still to be done.
    is_leaf: it has made no durable call so far, so it may be tried again.
    """

    scope: Scope
    place: Place
    function: Function
    timeout_at: int
    version: int
    tags: Mapping[str, str]
    parent: "Frame | None" = None
    create: PromiseCreate | None = None
    group: str = "default"
    started_at: int = 0
    attempt: int = 1
    last_error: str | None = None
    is_leaf: bool = True
    counter: int = 0
    refusals: int = 0
    begun: dict[Slot, Begun] = field(default_factory=dict)
    unperformed: "dict[BaseCommand, None]" = field(default_factory=dict)
    on_first_call: "list[Callable[[], None]]" = field(default_factory=list)

    @property
    def id(self) -> str:
        """Id of its promise."""
        return self.place.id

    @property
    def origin(self) -> str:
        """Root of its lineage."""
        return self.place.origin

    @property
    def is_replaying(self) -> bool:
        """Whether an earlier pass came further."""
        return self.counter < self.scope.last_recorded(self.id)

    def next_place(self, explicit: str | None, *, is_detached: bool = False) -> Place:
        """Number the next call. An explicit id takes no number and keeps the lineage."""
        parent = self.origin if is_detached else self.id
        if explicit is not None:
            return Place(explicit, parent, self.place.task, self.origin)
        self.counter += 1
        name = (
            ids.detached_id(self.origin, self.id, self.counter)
            if is_detached
            else ids.child_id(self.id, self.counter)
        )
        return Place(name, parent, self.place.task, self.origin)

    def leave_leaf(self) -> None:
        """It makes a durable call: from here on it is a workflow, not a step."""
        if self.is_leaf:
            self.is_leaf = False
            for callback in self.on_first_call:
                callback()

    def note(self) -> Annotation:
        """Return what is kept beside its promise."""
        return Annotation(
            started_at=self.started_at or None, attempts=self.attempt, last_error=self.last_error
        )

    def unwritten(self) -> "list[Frame]":
        """Return the frames whose promises must be there before one below them: outermost first."""
        frames: list[Frame] = []
        frame: Frame | None = self
        while frame is not None and frame.create is not None:
            frames.append(frame)
            frame = frame.parent
        return frames[::-1]
