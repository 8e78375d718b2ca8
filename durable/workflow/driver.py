"""Runs one function of either spelling: hands its commands to ``perform`` and feeds back results.

What a coroutine awaits that is not ours (a plain future of asyncio) passes through to the event
loop. A generator runs on a thread between two yields, because it may use the ORM there.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, Protocol

from durable.workflow.commands import Operation
from durable.workflow.functions import Style


class Abandoned(BaseException):
    """Ends a function that goes on whatever ``Suspended`` tells it."""


type Perform = Callable[[Operation], Coroutine[Any, Any, Any]]


class InThread(Protocol):
    """Runs a call on a thread and gives its result to the event loop."""

    def __call__[T](self, call: Callable[[], T], /) -> Awaitable[T]:
        """Run ``call``; an error it raises comes out of the awaitable."""


class _Yielded(NamedTuple):
    value: Any


class _Returned[T](NamedTuple):
    value: T


class _Raised(NamedTuple):
    error: BaseException


type _Stop = _Yielded | _Returned[Any] | _Raised


async def drive(
    call: Callable[..., Any],
    style: Style,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    perform: Perform,
    in_thread: InThread,
) -> Any:
    """Run a function to its end and return its value; its own errors come out as they are."""
    if style is Style.PLAIN:
        # it may hide what it is: a decorated function, or a lambda around another
        made = await run_in_thread(in_thread, partial(call, *args, **kwargs))
    else:
        made = call(*args, **kwargs)
    if inspect.iscoroutine(made):
        return await _Drive(made, perform)
    if inspect.isgenerator(made):
        return await _drive_generator(made, perform, in_thread)
    return made


async def run_in_thread[T](in_thread: InThread, call: Callable[[], T]) -> T:
    """Run a call on a thread; errors cross as values, because not every one can cross as itself."""
    stop = await in_thread(partial(_call, call))
    if isinstance(stop, _Raised):
        raise stop.error
    return stop.value


def _call[T](call: Callable[[], T]) -> "_Returned[T] | _Raised":
    try:
        return _Returned(call())
    except BaseException as error:  # noqa: BLE001 - it crosses threads as a value
        return _Raised(error)


class _Drive:
    """A coroutine whose commands are performed; for the event loop it is one awaitable."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], perform: Perform) -> None:
        self._coroutine = coroutine
        self._perform = perform

    def __await__(self) -> Generator[Any, Any, Any]:
        coroutine = self._coroutine
        advance: Callable[[], Any] = partial(coroutine.send, None)
        try:
            while True:
                try:
                    yielded = advance()
                except StopIteration as stop:
                    return stop.value
                try:
                    if isinstance(yielded, Operation):
                        result = yield from self._perform(yielded).__await__()
                    else:
                        result = yield yielded
                except (GeneratorExit, Abandoned):
                    raise
                except BaseException as error:  # noqa: BLE001 - the function decides
                    advance = partial(coroutine.throw, error)
                else:
                    advance = partial(coroutine.send, result)
        finally:
            with suppress(RuntimeError):  # it goes on whatever it is told
                coroutine.close()


async def _drive_generator(
    generator: Generator[Any, Any, Any], perform: Perform, in_thread: InThread
) -> Any:
    result: Any = None
    error: BaseException | None = None
    while True:
        stop = await in_thread(partial(_advance, generator, result, error))
        match stop:
            case _Returned(value):
                return value
            case _Raised(raised):
                raise raised
            case _Yielded(operation):
                result, error = None, None
                try:
                    result = await _perform_yielded(operation, perform)
                except (asyncio.CancelledError, Abandoned):
                    raise
                except BaseException as failed:  # noqa: BLE001 - the function decides
                    error = failed


def _advance(
    generator: Generator[Any, Any, Any], result: Any, error: BaseException | None
) -> _Stop:
    try:
        if error is not None:
            return _Yielded(generator.throw(error))
        return _Yielded(generator.send(result))
    except StopIteration as stop:
        return _Returned(stop.value)
    except BaseException as raised:  # noqa: BLE001 - it crosses threads as a value
        return _Raised(raised)


async def _perform_yielded(operation: object, perform: Perform) -> Any:
    if not isinstance(operation, Operation):
        message = f"a durable function may yield commands and futures only, not {operation!r}"
        raise TypeError(message)
    return await perform(operation)
