"""Starting an execution, from a view, a shell, a signal or a script."""

from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass, replace
from typing import Any, overload

from durable import clock
from durable.protocol.addresses import target_of
from durable.protocol.annotations import Annotation
from durable.protocol.requests import Reply
from durable.protocol.validation import MAX_INSTANT
from durable.workflow import calls, codec, ids, instants
from durable.workflow.connection import Question, ask, ask_async, promise_in
from durable.workflow.errors import IdTakenError, RootIdError
from durable.workflow.functions import Function, describe
from durable.workflow.handle import Handle
from durable.workflow.instants import When
from durable.workflow.registry import registry

DEFAULT_GROUP = "default"


@dataclass(frozen=True, slots=True)
class Starter:
    """Starts executions with these options; ``durable.options(...)`` makes one.

    target: worker group or address; the function's own, else the group ``default``.
    timeout: seconds, timedelta or aware datetime; else the function's own, else none.
    version: of the function; the newest known here, else 1.
    tags: further tags.
    started_by: ``user:<id>``, ``token:<name>``, or a user object; kept beside the execution.
    """

    target: str | None = None
    timeout: When | None = None
    version: int | None = None
    tags: Mapping[str, str] | None = None
    started_by: Any = None

    def options(
        self,
        *,
        target: str | None = None,
        timeout: When | None = None,
        version: int | None = None,
        tags: Mapping[str, str] | None = None,
        started_by: Any = None,
    ) -> "Starter":
        """Return a starter with these options on top."""
        given = {
            "target": target,
            "timeout": timeout,
            "version": version,
            "tags": {**(self.tags or {}), **tags} if tags else None,
            "started_by": started_by,
        }
        return replace(self, **{name: value for name, value in given.items() if value is not None})

    @overload
    def start[T](
        self, promise_id: str, function: Callable[..., Awaitable[T]], /, *args: Any, **kwargs: Any
    ) -> Handle[T]: ...

    @overload
    def start[T](
        self,
        promise_id: str,
        function: Callable[..., Generator[Any, Any, T]],
        /,
        *args: Any,
        **kwargs: Any,
    ) -> Handle[T]: ...

    @overload
    def start[T](
        self, promise_id: str, function: Callable[..., T], /, *args: Any, **kwargs: Any
    ) -> Handle[T]: ...

    @overload
    def start(
        self, promise_id: str, function: str, /, *args: Any, **kwargs: Any
    ) -> Handle[Any]: ...

    def start(
        self, promise_id: str, function: Callable[..., Any] | str, /, *args: Any, **kwargs: Any
    ) -> Handle[Any]:
        """Start a function under an id, and return its handle at once.

        An id that exists is not started again: its handle is returned, whatever the arguments.
        Inside ``transaction.atomic()`` the start commits or rolls back with the caller's rows.
        Raises ``IdTakenError`` when the id stands for another function.
        """
        return ask(self._start(promise_id, function, args, kwargs))

    @overload
    async def astart[T](
        self, promise_id: str, function: Callable[..., Awaitable[T]], /, *args: Any, **kwargs: Any
    ) -> Handle[T]: ...

    @overload
    async def astart[T](
        self,
        promise_id: str,
        function: Callable[..., Generator[Any, Any, T]],
        /,
        *args: Any,
        **kwargs: Any,
    ) -> Handle[T]: ...

    @overload
    async def astart[T](
        self, promise_id: str, function: Callable[..., T], /, *args: Any, **kwargs: Any
    ) -> Handle[T]: ...

    @overload
    async def astart(
        self, promise_id: str, function: str, /, *args: Any, **kwargs: Any
    ) -> Handle[Any]: ...

    async def astart(
        self, promise_id: str, function: Callable[..., Any] | str, /, *args: Any, **kwargs: Any
    ) -> Handle[Any]:
        """Async twin of ``start``; always in a transaction of its own."""
        return await ask_async(self._start(promise_id, function, args, kwargs))

    @overload
    def call[T](
        self, promise_id: str, function: Callable[..., Awaitable[T]], /, *args: Any, **kwargs: Any
    ) -> T: ...

    @overload
    def call[T](
        self,
        promise_id: str,
        function: Callable[..., Generator[Any, Any, T]],
        /,
        *args: Any,
        **kwargs: Any,
    ) -> T: ...

    @overload
    def call[T](
        self, promise_id: str, function: Callable[..., T], /, *args: Any, **kwargs: Any
    ) -> T: ...

    @overload
    def call(self, promise_id: str, function: str, /, *args: Any, **kwargs: Any) -> Any: ...

    def call(
        self, promise_id: str, function: Callable[..., Any] | str, /, *args: Any, **kwargs: Any
    ) -> Any:
        """Start a function under an id, wait for it and return its value."""
        return self.start(promise_id, function, *args, **kwargs).result()

    @overload
    async def acall[T](
        self, promise_id: str, function: Callable[..., Awaitable[T]], /, *args: Any, **kwargs: Any
    ) -> T: ...

    @overload
    async def acall[T](
        self,
        promise_id: str,
        function: Callable[..., Generator[Any, Any, T]],
        /,
        *args: Any,
        **kwargs: Any,
    ) -> T: ...

    @overload
    async def acall[T](
        self, promise_id: str, function: Callable[..., T], /, *args: Any, **kwargs: Any
    ) -> T: ...

    @overload
    async def acall(self, promise_id: str, function: str, /, *args: Any, **kwargs: Any) -> Any: ...

    async def acall(
        self, promise_id: str, function: Callable[..., Any] | str, /, *args: Any, **kwargs: Any
    ) -> Any:
        """Async twin of ``call``."""
        handle = await self.astart(promise_id, function, *args, **kwargs)
        return await handle.aresult()

    def _start(
        self,
        promise_id: str,
        function: Callable[..., Any] | str,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Question[Handle[Any]]:
        if not promise_id or ids.SEPARATOR in promise_id:
            raise RootIdError(promise_id)
        known = self._find(function)
        if known is not None:
            known.check(args, kwargs)
        name = known.name if known is not None else str(function)
        target, timeout = self.target, self.timeout
        version = self.version or 1
        if known is not None:
            target, version = target or known.target, self.version or known.version
            timeout = known.timeout if timeout is None else timeout
        timeout_at = (
            MAX_INSTANT if timeout is None else instants.to_instant(timeout, clock.now_ms())
        )
        request = calls.create_root(
            promise_id,
            codec.encode_invocation(name, version, args, kwargs),
            target_of(target or DEFAULT_GROUP),
            timeout_at,
            self.tags or {},
        )
        shape = Any if known is None else known.result

        def answer(replies: list[Reply]) -> Handle[Any]:
            record = promise_in(replies[0], request, promise_id)
            recorded = codec.function_in(record.param)
            if recorded != name:
                found = "no call of a function" if recorded is None else f"a call of {recorded!r}"
                raise IdTakenError(promise_id, found, f"a call of {name!r}")
            return Handle(promise_id, shape)

        return Question((request,), answer, self._notes(promise_id))

    def _find(self, function: Callable[..., Any] | str) -> Function | None:
        if isinstance(function, str):
            return registry.find(function, self.version)
        described = describe(function)
        if self.version is None or self.version == described.version:
            return described
        return registry.get(described.name, self.version)

    def _notes(self, promise_id: str) -> dict[str, Annotation] | None:
        if self.started_by is None:
            return None
        starter = self.started_by
        if not isinstance(starter, str):
            starter = f"user:{starter.pk}"
        return {promise_id: Annotation(started_by=starter)}


_plain = Starter()
options = _plain.options
start = _plain.start
astart = _plain.astart
call = _plain.call
acall = _plain.acall
