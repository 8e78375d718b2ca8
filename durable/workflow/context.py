"""What a durable function gets as ``ctx``: it builds commands, and tells where the function is."""

import logging
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, MutableMapping
from datetime import datetime
from typing import Any, NamedTuple, overload

from durable.workflow import decisions
from durable.workflow.commands import (
    Approval,
    Batch,
    BeginCommand,
    Command,
    Future,
    Latent,
    LocalCall,
    Options,
    RemoteCall,
    Timer,
)
from durable.workflow.decisions import Decision
from durable.workflow.errors import InvalidFunctionError
from durable.workflow.frame import Frame
from durable.workflow.functions import Style, describe
from durable.workflow.instants import When, to_datetime
from durable.workflow.retry import RetryPolicy

type Joinable[T] = Command[T] | BeginCommand[T] | Future[T]
"""What ``ctx.all`` takes."""

logger = logging.getLogger("durable.function")


class Info(NamedTuple):
    """Where a function is.

    id, origin, parent: ids of its own promise, of the root of its execution, of its caller.
    function, version: what was called.
    attempt: which try this is, from 1 on.
    started_at: when this pass first called it.
    deadline: when its promise times out; None when practically never.
    tags: the tags of the call.
    is_replaying: whether an earlier pass came further than this one has so far.
    """

    id: str
    origin: str
    parent: str
    function: str
    version: int
    attempt: int
    started_at: datetime | None
    deadline: datetime | None
    tags: Mapping[str, str]
    is_replaying: bool


class Context:
    """The durable calls of one running function.

    Each call builds a command; nothing happens until it is awaited (or yielded, in a generator)::

        total = await ctx.run(add_up, cart)
        charge = await ctx.begin_rpc("charge", total)
        await ctx.sleep(timedelta(hours=1))
        receipt = await charge
    """

    __slots__ = ("_frame", "_options")

    def __init__(self, frame: Frame, options: Options | None = None) -> None:
        """Made by the engine, one for each running function."""
        self._frame = frame
        self._options = options or Options()

    @overload
    def run[T](
        self, function: Callable[..., Awaitable[T]], /, *args: Any, **kwargs: Any
    ) -> Command[T]: ...

    @overload
    def run[T](
        self, function: Callable[..., Generator[Any, Any, T]], /, *args: Any, **kwargs: Any
    ) -> Command[T]: ...

    @overload
    def run[T](self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> Command[T]: ...

    @overload
    def run(self, function: str, /, *args: Any, **kwargs: Any) -> Command[Any]: ...

    def run(self, function: Callable[..., Any] | str, /, *args: Any, **kwargs: Any) -> Command[Any]:
        """Run a function here and give its value; what was recorded is not run again."""
        return Command(self._frame, self._local(function, args, kwargs), self._options)

    @overload
    def begin_run[T](
        self, function: Callable[..., Awaitable[T]], /, *args: Any, **kwargs: Any
    ) -> BeginCommand[T]: ...

    @overload
    def begin_run[T](
        self, function: Callable[..., Generator[Any, Any, T]], /, *args: Any, **kwargs: Any
    ) -> BeginCommand[T]: ...

    @overload
    def begin_run[T](
        self, function: Callable[..., T], /, *args: Any, **kwargs: Any
    ) -> BeginCommand[T]: ...

    @overload
    def begin_run(self, function: str, /, *args: Any, **kwargs: Any) -> BeginCommand[Any]: ...

    def begin_run(
        self, function: Callable[..., Any] | str, /, *args: Any, **kwargs: Any
    ) -> BeginCommand[Any]:
        """Run a function here, beside this one, and give its future."""
        return BeginCommand(self._frame, self._local(function, args, kwargs), self._options)

    @overload
    def rpc[T](
        self, function: Callable[..., Awaitable[T]], /, *args: Any, **kwargs: Any
    ) -> Command[T]: ...

    @overload
    def rpc[T](
        self, function: Callable[..., Generator[Any, Any, T]], /, *args: Any, **kwargs: Any
    ) -> Command[T]: ...

    @overload
    def rpc[T](self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> Command[T]: ...

    @overload
    def rpc(self, function: str, /, *args: Any, **kwargs: Any) -> Command[Any]: ...

    def rpc(self, function: Callable[..., Any] | str, /, *args: Any, **kwargs: Any) -> Command[Any]:
        """Call a function on whichever worker serves it, in any language, and give its value."""
        return Command(self._frame, self._remote(function, args, kwargs), self._options)

    @overload
    def begin_rpc[T](
        self, function: Callable[..., Awaitable[T]], /, *args: Any, **kwargs: Any
    ) -> BeginCommand[T]: ...

    @overload
    def begin_rpc[T](
        self, function: Callable[..., Generator[Any, Any, T]], /, *args: Any, **kwargs: Any
    ) -> BeginCommand[T]: ...

    @overload
    def begin_rpc[T](
        self, function: Callable[..., T], /, *args: Any, **kwargs: Any
    ) -> BeginCommand[T]: ...

    @overload
    def begin_rpc(self, function: str, /, *args: Any, **kwargs: Any) -> BeginCommand[Any]: ...

    def begin_rpc(
        self, function: Callable[..., Any] | str, /, *args: Any, **kwargs: Any
    ) -> BeginCommand[Any]:
        """Call a function elsewhere and give its future."""
        return BeginCommand(self._frame, self._remote(function, args, kwargs), self._options)

    lfc = run
    lfi = begin_run
    rfc = rpc
    rfi = begin_rpc

    def detached(
        self, function: Callable[..., Any] | str, /, *args: Any, **kwargs: Any
    ) -> Command[str]:
        """Call a function elsewhere that outlives this one and is not waited for; give its id."""
        request = self._remote(function, args, kwargs, is_detached=True)
        return Command(self._frame, request, self._options)

    def transaction[T](
        self, function: Callable[..., T], /, *args: Any, **kwargs: Any
    ) -> Command[T]:
        """Run a function inside a transaction of the database that its result is recorded in.

        What it writes there is committed exactly once: together with its result, or not at all.
        """
        described = describe(function)
        if described.traits.style is not Style.PLAIN:
            problem = "ctx.transaction runs plain functions, on a thread with the database"
            raise InvalidFunctionError(described.path, problem)
        described.check(args, kwargs)
        request = LocalCall(described, args, kwargs, is_transactional=True)
        return Command(self._frame, request, self._options)

    def _local(
        self, function: Callable[..., Any] | str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> LocalCall:
        is_by_name = isinstance(function, str)
        described = (
            self._frame.scope.registry.get(function, self._options.version)
            if isinstance(function, str)
            else describe(function)
        )
        described.check(args, kwargs)
        return LocalCall(described, args, kwargs, is_by_name=is_by_name)

    def _remote(
        self,
        function: Callable[..., Any] | str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        is_detached: bool = False,
    ) -> RemoteCall:
        if isinstance(function, str):
            known = self._frame.scope.registry.find(function, self._options.version)
            return RemoteCall(function, known, args, kwargs, is_detached)
        described = describe(function)
        described.check(args, kwargs)
        return RemoteCall(described.name, described, args, kwargs, is_detached)

    def sleep(self, until: When, /) -> Command[None]:
        """Wait for seconds, a timedelta, or until an aware datetime; across crashes, at no cost."""
        return Command(self._frame, Timer(until), self._options)

    def promise(
        self,
        *,
        data: Any = None,
        timeout: When | None = None,
        id: str | None = None,  # noqa: A002 - the protocol's word
        tags: Mapping[str, str] | None = None,
    ) -> BeginCommand[Any]:
        """Create a promise that the outside settles, and give its future.

        Whoever is to settle it needs the future's ``id``::

            reply = await ctx.promise(timeout=timedelta(days=1))
            await ctx.run(send_mail, reply.id)
            answer = await reply
        """
        options = self._options.updated(timeout=timeout, id=id, tags=tags)
        return BeginCommand(self._frame, Latent(data), options)

    def approval(
        self,
        title: str,
        *,
        question: str | None = None,
        users: Iterable[Any] = (),
        groups: Iterable[Any] = (),
        facts: Any = None,
        due: When | None = None,
        timeout: When | None = None,
        consequence: str | None = None,
        **rest: Any,
    ) -> Command[Decision]:
        """Ask people, and give their decision, be it yes or no.

        title, question: what is asked.
        users, groups: who may answer; objects or names.
        facts: what they should know.
        due: when an answer is expected; nothing happens then.
        timeout: when it is too late; ``PromiseTimeoutError`` is raised then.
        consequence: text that says what happens then.
        rest: further keys of the description, kept as they are.
        """
        description = decisions.describe(
            title,
            question=question,
            users=users,
            groups=groups,
            facts=facts,
            consequence=consequence,
            rest=rest,
        )
        request = Approval(description, due)
        return Command(self._frame, request, self._options.updated(timeout=timeout))

    def begin_approval(
        self,
        title: str,
        *,
        question: str | None = None,
        users: Iterable[Any] = (),
        groups: Iterable[Any] = (),
        facts: Any = None,
        due: When | None = None,
        timeout: When | None = None,
        consequence: str | None = None,
        **rest: Any,
    ) -> BeginCommand[Decision]:
        """Ask people as ``approval`` does, and give the future of their decision."""
        description = decisions.describe(
            title,
            question=question,
            users=users,
            groups=groups,
            facts=facts,
            consequence=consequence,
            rest=rest,
        )
        request = Approval(description, due)
        return BeginCommand(self._frame, request, self._options.updated(timeout=timeout))

    @overload
    def all[T](self, items: Iterable[Joinable[T]], /) -> Command[list[T]]: ...

    @overload
    def all[T](self, /, *items: Joinable[T]) -> Command[list[T]]: ...

    def all(self, /, *items: Any) -> Command[list[Any]]:
        """Perform commands together, wait for every one of them and of the futures, give the list.

        Remote calls are created in one write. When all is done, the first error in the order of
        the arguments is raised, if there is one.
        """
        if len(items) == 1 and not isinstance(items[0], Command | BeginCommand | Future):
            items = tuple(items[0])
        return Command(self._frame, Batch(items), Options())

    def options(
        self,
        *,
        id: str | None = None,  # noqa: A002 - the protocol's word
        target: str | None = None,
        timeout: When | None = None,
        retry: RetryPolicy | None = None,
        version: int | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> "Context":
        """Return a view of this context whose calls carry these options."""
        given = self._options.updated(
            id=id, target=target, timeout=timeout, retry=retry, version=version, tags=tags
        )
        return Context(self._frame, given)

    @property
    def id(self) -> str:
        """Id of this call's promise: the same on every try, so a good key for other systems."""
        return self._frame.id

    @property
    def info(self) -> Info:
        """Where the function is."""
        frame = self._frame
        return Info(
            id=frame.id,
            origin=frame.origin,
            parent=frame.place.parent,
            function=frame.function.name,
            version=frame.version,
            attempt=frame.attempt,
            started_at=to_datetime(frame.started_at) if frame.started_at else None,
            deadline=to_datetime(frame.timeout_at),
            tags=dict(frame.tags),
            is_replaying=frame.is_replaying,
        )

    @property
    def logger(self) -> "logging.LoggerAdapter[logging.Logger]":
        """A logger that knows this call and is silent where an earlier pass has logged already."""
        return _Logger(self._frame)


class _Logger(logging.LoggerAdapter[logging.Logger]):
    def __init__(self, frame: Frame) -> None:
        super().__init__(logger, {"promise_id": frame.id, "function": frame.function.name})
        self._frame = frame

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - logging's name
        return not self._frame.is_replaying and super().isEnabledFor(level)

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        kwargs["extra"] = {**(self.extra or {}), **kwargs.get("extra", {})}
        return msg, kwargs
