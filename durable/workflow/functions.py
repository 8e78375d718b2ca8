"""What the engine knows of a callable: its name, how it is run, what it takes and returns."""

import inspect
import typing
from collections.abc import Callable, Coroutine, Generator, Mapping
from enum import Enum, auto
from functools import wraps
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from durable.workflow import codec
from durable.workflow.errors import InvalidFunctionError
from durable.workflow.instants import When
from durable.workflow.retry import RetryPolicy

MARK = "__durable_function__"
CONTEXT_NAME = "ctx"
_KEYWORD_KINDS = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class Style(Enum):
    """How a function is run."""

    ASYNC = auto()
    GENERATOR = auto()
    PLAIN = auto()


class Traits(NamedTuple):
    """What a look at the callable tells."""

    style: Style
    takes_context: bool
    signature: inspect.Signature | None
    fitting: set[tuple[int, tuple[str, ...]]]
    """Numbers of arguments, and names of keywords, that are known to fit the signature."""


class Shapes(NamedTuple):
    """The types that a callable declares: of its parameters by name, and of its result."""

    parameters: Mapping[str, Any]
    result: Any


class Function(NamedTuple):
    """A callable as a durable function; the options are defaults for each of its calls."""

    call: Callable[..., Any]
    name: str
    traits: Traits
    version: int = 1
    retry: RetryPolicy | None = None
    timeout: When | None = None
    target: str | None = None

    @property
    def path(self) -> str:
        """Where the callable is defined."""
        return path_of(self.call)

    @property
    def result(self) -> Any:
        """The declared type of the result."""
        return shapes_of(self.call).result

    def check(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Raise the ``TypeError`` of calling it with these arguments, before anything runs."""
        shape = len(args), tuple(kwargs)
        if self.traits.signature is None or shape in self.traits.fitting:
            return
        try:
            self.traits.signature.bind(*self._with_context(args), **kwargs)
        except TypeError as error:
            message = f"{self.name}(): {error}"
            raise TypeError(message) from None
        self.traits.fitting.add(shape)

    def _with_context(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (None, *args) if self.traits.takes_context else args

    def bind(self, sent: Any, kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments of an invocation that came from outside, in their declared types."""
        args: tuple[Any, ...]
        if isinstance(sent, list):
            args = tuple(sent)
        elif isinstance(sent, dict) and self._accepts(sent):
            args, kwargs = (), {**sent, **kwargs}
        else:
            args = () if sent is None else (sent,)
        shapes = shapes_of(self.call).parameters
        if not shapes or self.traits.signature is None:
            return args, dict(kwargs)
        names = list(self.traits.signature.parameters)[1 if self.traits.takes_context else 0 :]
        return (
            tuple(
                codec.reshape(value, shapes.get(name, Any))
                for name, value in zip(_padded(names, len(args)), args, strict=True)
            ),
            {name: codec.reshape(value, shapes.get(name, Any)) for name, value in kwargs.items()},
        )

    def _accepts(self, kwargs: Mapping[str, Any]) -> bool:
        """Whether an object names this function's parameters (else it is the one argument)."""
        if self.traits.signature is None:
            return False
        try:
            self.traits.signature.bind(*self._with_context(()), **kwargs)
        except TypeError:
            return False
        parameters = self.traits.signature.parameters
        return all(
            name in parameters and parameters[name].kind in _KEYWORD_KINDS for name in kwargs
        )


def _padded(names: list[str], count: int) -> list[str]:
    return names[:count] + [""] * (count - len(names))


def path_of(call: Callable[..., Any]) -> str:
    """Return the dotted path of a callable."""
    name = getattr(call, "__qualname__", None) or repr(call)
    return f"{getattr(call, '__module__', None)}.{name}"


def describe(call: Callable[..., Any]) -> Function:
    """Return a callable as it was registered, or as a function of its own name."""
    registered = getattr(call, MARK, None)
    if isinstance(registered, Function) and registered.call is call:
        return registered
    name = getattr(call, "__name__", None)
    if not isinstance(name, str) or not _is_callable(call):
        raise InvalidFunctionError(name or repr(call), _advice(call))
    return Function(call, name, traits_of(call))


def _is_callable(call: object) -> bool:
    return callable(call)


def _advice(call: object) -> str:
    if isinstance(call, Coroutine):
        call.close()
    if isinstance(call, Coroutine | Generator):
        return "it is a call already made; pass the function and its arguments apart"
    return "it has no name; pass a function made by def, or a lambda"


def _once[T](look: Callable[[Callable[..., Any]], T]) -> Callable[[Callable[..., Any]], T]:
    """Remember what was seen, for as long as the callable lives."""
    seen: WeakKeyDictionary[Callable[..., Any], T] = WeakKeyDictionary()

    @wraps(look)
    def look_once(call: Callable[..., Any]) -> T:
        try:
            if (found := seen.get(call)) is None:
                found = seen[call] = look(call)
        except TypeError:  # it cannot be hashed, or not be referred to weakly
            return look(call)
        return found

    return look_once


@_once
def traits_of(call: Callable[..., Any]) -> Traits:
    """Look at a callable."""
    if inspect.isasyncgenfunction(call):
        problem = "it is an async generator; await its durable calls and return a value"
        raise InvalidFunctionError(path_of(call), problem)
    try:
        signature = inspect.signature(call)
    except (TypeError, ValueError):  # some built-ins have none
        return Traits(Style.PLAIN, takes_context=False, signature=None, fitting=set())
    takes_context = next(iter(signature.parameters), None) == CONTEXT_NAME
    return Traits(_style(call), takes_context, signature, fitting=set())


@_once
def shapes_of(call: Callable[..., Any]) -> Shapes:
    """Look at the types that a callable declares; not before it is called, when all are there."""
    hints = _hints(call)
    result = hints.pop("return", Any)
    is_generator = traits_of(call).style is Style.GENERATOR
    return Shapes(hints, _returned(result) if is_generator else result)


def _style(call: Callable[..., Any]) -> Style:
    if inspect.iscoroutinefunction(call):
        return Style.ASYNC
    return Style.GENERATOR if inspect.isgeneratorfunction(call) else Style.PLAIN


def _returned(shape: Any) -> Any:
    """Return R of ``Generator[Y, S, R]``; any other annotation of a generator says nothing."""
    arguments = typing.get_args(shape)
    is_generator = getattr(typing.get_origin(shape), "__name__", "") == "Generator"
    return arguments[2] if is_generator and len(arguments) == 3 else Any


def _hints(call: Callable[..., Any]) -> dict[str, Any]:
    """Return the declared types; those that cannot be resolved here are left out."""
    annotations = getattr(call, "__annotations__", {})
    scope = getattr(inspect.unwrap(call), "__globals__", {})
    hints: dict[str, Any] = {}
    for name, annotation in annotations.items():
        holder = type("Holder", (), {"__annotations__": {name: annotation}})
        try:
            hint = typing.get_type_hints(holder, globalns=scope)[name]
        except Exception:  # noqa: BLE001, S112 - user code: names that exist for type checkers only
            continue
        if not isinstance(hint, typing.TypeVar):
            hints[name] = hint
    return hints
