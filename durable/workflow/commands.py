"""The values that a function awaits or yields. Building one does nothing; performing it does."""

import asyncio
import sys
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self

from durable.workflow.errors import MisplacedCommandError
from durable.workflow.functions import Function
from durable.workflow.instants import When
from durable.workflow.retry import RetryPolicy
from durable.workflow.slots import Slot

if TYPE_CHECKING:
    from durable.workflow.frame import Frame
    from durable.workflow.results import Result

_PACKAGE = str(Path(__file__).parent)


@dataclass(frozen=True, slots=True)
class Options:
    """What may differ from call to call; None leaves it to the function, then to the engine."""

    id: str | None = None
    target: str | None = None
    timeout: When | None = None
    retry: RetryPolicy | None = None
    version: int | None = None
    tags: Mapping[str, str] | None = None

    def updated(self, **given: Any) -> "Options":
        """Return these with those that are given on top; tags are added."""
        changes = {name: value for name, value in given.items() if value is not None}
        if self.tags and "tags" in changes:
            changes["tags"] = {**self.tags, **changes["tags"]}
        return replace(self, **changes)


@dataclass(frozen=True, slots=True)
class LocalCall:
    """Run a function in this process. A transactional one commits with its own result."""

    function: Function
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    is_transactional: bool = False
    is_by_name: bool = False

    def __str__(self) -> str:
        """Say it as the user wrote it."""
        return f"{'transaction' if self.is_transactional else 'run'}({self.function.name})"


@dataclass(frozen=True, slots=True)
class RemoteCall:
    """Call a function by name, wherever it is served. A detached call is not joined."""

    name: str
    function: Function | None
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    is_detached: bool = False

    def __str__(self) -> str:
        """Say it as the user wrote it."""
        return f"{'detached' if self.is_detached else 'rpc'}({self.name})"


@dataclass(frozen=True, slots=True)
class Timer:
    """Wait for a time."""

    until: When

    def __str__(self) -> str:
        """Say it as the user wrote it."""
        return f"sleep({self.until})"


@dataclass(frozen=True, slots=True)
class Latent:
    """Create a promise that the outside settles."""

    data: Any = None

    def __str__(self) -> str:
        """Say it as the user wrote it."""
        return "promise()"


@dataclass(frozen=True, slots=True)
class Approval:
    """Create a promise that people settle; ``due`` becomes an instant when it is created."""

    description: Mapping[str, Any]
    due: When | None = None

    def __str__(self) -> str:
        """Say it as the user wrote it."""
        return f"approval({self.description['title']!r})"


@dataclass(frozen=True, slots=True)
class Batch:
    """Perform several together and wait for all."""

    items: "tuple[Operation, ...]"

    def __str__(self) -> str:
        """Say it as the user wrote it."""
        return f"all({len(self.items)})"


type Single = LocalCall | RemoteCall | Timer | Latent | Approval
type Request = Single | Batch

_TAKEN_BY: dict[type, frozenset[str]] = {
    LocalCall: frozenset({"id", "timeout", "retry", "version", "tags"}),
    RemoteCall: frozenset({"id", "target", "timeout", "version", "tags"}),
    Timer: frozenset({"id", "tags"}),
    Latent: frozenset({"id", "timeout", "tags"}),
    Approval: frozenset({"id", "timeout", "tags"}),
    Batch: frozenset(),
}


class Operation:
    """Whatever a function may await or yield: a command or a future."""

    __slots__ = ("frame",)

    def __init__(self, frame: "Frame") -> None:
        """``frame`` is the running function that it was made for."""
        self.frame = frame

    def belongs_to(self, frame: "Frame | None") -> bool:
        """Whether this running function may perform it."""
        return frame is self.frame

    def _yield(self) -> Generator[Any, Any, Any]:
        """Hand over to the driver of the running function, and to nobody else."""
        scope = self.frame.scope
        # a function that runs on after its pass must find no way to go on without yielding
        if not scope.floor.is_closed and not self.belongs_to(
            scope.frame_of(asyncio.current_task())
        ):
            self.forget()
            raise MisplacedCommandError(str(self))
        return (yield self)

    def forget(self) -> None:
        """Count it as performed: it was tried, or is no command."""

    def __bool__(self) -> NoReturn:
        """It is not its value: a forgotten await must not count as true."""
        message = f"{self} has no truth value; await it, or yield it"
        raise TypeError(message)


class BaseCommand(Operation):
    """What both kinds of command share."""

    __slots__ = ("given", "is_performed", "request", "site")

    def __init__(self, frame: "Frame", request: Request, given: Options) -> None:
        """Remember where it was built, so that one that is never performed can be named."""
        super().__init__(frame)
        self.request = request
        self.given = given
        self.is_performed = False
        self.site = _call_site()
        frame.unperformed[self] = None

    def options(
        self,
        *,
        id: str | None = None,  # noqa: A002 - the protocol's word
        target: str | None = None,
        timeout: When | None = None,
        retry: RetryPolicy | None = None,
        version: int | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Self:
        """Set options of this one call, and return it."""
        given = {
            "id": id,
            "target": target,
            "timeout": timeout,
            "retry": retry,
            "version": version,
            "tags": tags,
        }
        taken = _TAKEN_BY[type(self.request)]
        if unknown := [name for name in given if given[name] is not None and name not in taken]:
            message = f"{self} takes no option {' and no option '.join(unknown)}"
            raise TypeError(message)
        self.given = self.given.updated(**given)
        return self

    def forget(self) -> None:
        """Count it as performed."""
        self.frame.unperformed.pop(self, None)

    def __str__(self) -> str:
        return f"ctx.{self.request}"

    def __repr__(self) -> str:
        return f"<{self} built at {self.site}>"


class Command[T](BaseCommand):
    """Performed, it gives a value of type T."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, Any, T]:
        """Perform it and wait for its value."""
        return (yield from self._yield())  # type: ignore[no-any-return]


class BeginCommand[T](BaseCommand):
    """Performed, it gives a future at once; the future gives a value of type T."""

    __slots__ = ()

    def __str__(self) -> str:
        return "ctx.promise()" if isinstance(self.request, Latent) else f"ctx.begin_{self.request}"

    def __await__(self) -> "Generator[Any, Any, Future[T]]":
        """Begin it."""
        return (yield from self._yield())  # type: ignore[no-any-return]


class Future[T](Operation):
    """A call under way: ``await`` it for its value, as often as you like."""

    __slots__ = ("read", "slot")

    def __init__(self, frame: "Frame", slot: Slot, read: "Callable[[], Result]") -> None:
        """``read`` says what came of it, once it is settled."""
        super().__init__(frame)
        self.slot = slot
        self.read = read

    @property
    def id(self) -> str:
        """Id of the promise, for whoever is to settle it."""
        return self.slot.id

    def belongs_to(self, frame: "Frame | None") -> bool:
        """Any function of the same pass may wait for it."""
        return frame is not None and frame.scope is self.frame.scope

    def __await__(self) -> Generator[Any, Any, T]:
        """Wait for its value."""
        return (yield from self._yield())  # type: ignore[no-any-return]

    def __str__(self) -> str:
        return f"the future of {self.id!r}"

    def __repr__(self) -> str:
        return f"<{self}>"


type Awaitable[T] = Command[T] | BeginCommand[T] | Future[T]
"""What ``ctx.all`` takes."""


def _call_site() -> str:
    """Return where outside this package the command is built."""
    frame = sys._getframe(2)  # noqa: SLF001 - the traceback module is far slower
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
