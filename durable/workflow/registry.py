"""Which function a name and version stand for."""

from collections.abc import Callable, Iterator
from typing import Any, overload

from durable.protocol.addresses import target_of
from durable.workflow.errors import (
    DuplicateFunctionError,
    InvalidFunctionError,
    UnknownFunctionError,
)
from durable.workflow.functions import CONTEXT_NAME, MARK, Function, path_of, traits_of
from durable.workflow.instants import When
from durable.workflow.retry import RetryPolicy


class Registry:
    """Functions by name and version. A process has one, ``registry``; tests make their own."""

    def __init__(self) -> None:
        """Start empty."""
        self._functions: dict[str, dict[int, Function]] = {}

    def add(self, function: Function) -> None:
        """Register; the same definition may come again (a reload), another of that name may not."""
        versions = self._functions.setdefault(function.name, {})
        known = versions.get(function.version)
        if known is not None and known.path != function.path:
            raise DuplicateFunctionError(function.name, function.version, known.path, function.path)
        versions[function.version] = function

    def get(self, name: str, version: int | None = None) -> Function:
        """Return a function; the newest version when none is asked for."""
        versions = self._functions.get(name, {})
        wanted = max(versions, default=None) if version is None else version
        if wanted not in versions:
            raise UnknownFunctionError(name, version, versions, self._functions)
        return versions[wanted]

    def find(self, name: str, version: int | None = None) -> Function | None:
        """Return a function as ``get`` does; None for one that is served elsewhere."""
        versions = self._functions.get(name, {})
        return versions.get(max(versions, default=0) if version is None else version)

    def __iter__(self) -> Iterator[Function]:
        """All functions, by name and version."""
        for name in sorted(self._functions):
            for version in sorted(self._functions[name]):
                yield self._functions[name][version]

    @overload
    def function[F: Callable[..., Any]](self, call: F, /) -> F: ...

    @overload
    def function[F: Callable[..., Any]](
        self,
        *,
        name: str | None = None,
        version: int = 1,
        retry: RetryPolicy | None = None,
        timeout: When | None = None,
        target: str | None = None,
    ) -> Callable[[F], F]: ...

    def function[F: Callable[..., Any]](
        self,
        call: F | None = None,
        *,
        name: str | None = None,
        version: int = 1,
        retry: RetryPolicy | None = None,
        timeout: When | None = None,
        target: str | None = None,
    ) -> F | Callable[[F], F]:
        """Register a function, as a decorator with or without arguments; it stays what it is.

        name: what it is called by, in any language; its own name unless given.
        version: a call stays with the version it was made with.
        retry: policy of a step that fails, see ``durable.Exponential``.
        timeout: seconds, timedelta or aware datetime; a call takes no longer.
        target: worker group (or address) that serves it, for calls that name none.
        """

        def register(call: F) -> F:
            return self._register(
                call,
                Function(
                    call=call,
                    name=name or str(getattr(call, "__name__", "")),
                    traits=traits_of(call),
                    version=version,
                    retry=retry,
                    timeout=timeout,
                    target=None if target is None else target_of(target),
                ),
            )

        return register if call is None else register(call)

    def _register[F: Callable[..., Any]](self, call: F, function: Function) -> F:
        _check(function)
        self.add(function)
        try:
            setattr(call, MARK, function)
        except AttributeError:
            problem = "it takes no attributes; wrap it in a function of your own"
            raise InvalidFunctionError(function.path, problem) from None
        return call


def _check(function: Function) -> None:
    if not function.name or not function.name.isprintable():
        raise InvalidFunctionError(path_of(function.call), "it has no name; give it one with name=")
    if function.version < 1:
        raise InvalidFunctionError(function.path, f"version {function.version} is not 1 or more")
    signature = function.traits.signature
    first = None if signature is None else next(iter(signature.parameters.values()), None)
    if first is not None and first.name != CONTEXT_NAME and _is_context(first.annotation):
        problem = f"its context is named {first.name!r}; name that parameter {CONTEXT_NAME!r}"
        raise InvalidFunctionError(function.path, problem)


def _is_context(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return annotation in {"Context", "durable.Context"}
    path = f"{getattr(annotation, '__module__', '')}.{getattr(annotation, '__name__', '')}"
    return path == "durable.workflow.context.Context"


registry = Registry()
"""The functions of this process."""

function = registry.function
