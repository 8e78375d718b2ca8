"""Values as JSON in base64 (protocol.md 10.3), and back into the types that functions declare."""

import base64
import binascii
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
from msgspec import json

from durable.protocol.records import EMPTY, Value
from durable.workflow.errors import DecodingError, EncodingError

_REMEMBERED = 1024


class _Named(msgspec.Struct):
    func: str


_named = json.Decoder(_Named)


class Invocation(NamedTuple):
    """Which function a param calls, and with what; ``args`` is not always a list, see below."""

    name: str
    version: int | None
    args: Any
    kwargs: dict[str, Any]


def encode(value: object, what: str) -> Value:
    """Return a value as it is stored; ``what`` names one without a JSON form in its error."""
    return EMPTY if value is None else Value(data=encode_text(value, what))


def encode_text(value: object, what: str) -> str:
    """Return base64 of a value's JSON."""
    try:
        text = json.encode(value, enc_hook=_to_json)
    except (TypeError, ValueError, RecursionError) as error:
        path, problem = next(_problems(value, "$", ()), ("$", str(error)))
        raise EncodingError(what, path, problem) from None
    # msgspec writes a float that JSON cannot hold as null: a different value, without a word
    if b"null" in text and (found := next(_problems(value, "$", ()), None)):
        raise EncodingError(what, *found)
    return base64.b64encode(text).decode("ascii")


def decode(value: Value, what: str, shape: Any = Any) -> Any:
    """Return a stored value, as ``shape`` where its JSON fits that type, else as plain JSON.

    Raises ``DecodingError`` for what is not base64 of JSON.
    """
    if not value.data:
        return reshape(None, shape)
    try:
        text = base64.b64decode(value.data, validate=True)
    except binascii.Error:
        raise DecodingError(what, "its data is not base64") from None
    if decoder := _decoder(shape):
        try:
            return decoder.decode(text)
        except (msgspec.ValidationError, msgspec.DecodeError, NotImplementedError, TypeError):
            pass
    try:
        return json.decode(text)
    except (msgspec.DecodeError, ValueError):
        raise DecodingError(what, "its data is base64, but not of JSON") from None


def reshape(value: Any, shape: Any) -> Any:
    """Return plain JSON as ``shape`` where it fits that type, else as it is."""
    if _decoder(shape) is None:
        return value
    try:
        return msgspec.convert(value, shape, str_keys=True, dec_hook=_from_json)
    except (msgspec.ValidationError, NotImplementedError, TypeError):
        return value


def encode_invocation(
    name: str, version: int, args: Sequence[object], kwargs: Mapping[str, object]
) -> Value:
    """Return the param of a call by name."""
    what = f"the arguments of {name!r}"
    document = {"func": name, "args": list(args), "kwargs": dict(kwargs), "version": version}
    return Value(data=encode_text(document, what))


@lru_cache(_REMEMBERED)
def encode_name(name: str, version: int) -> Value:
    """Return the param of a call in this process: its arguments stay in memory."""
    return Value(data=encode_text({"func": name, "version": version}, "a name"))


def decode_invocation(param: Value, what: str) -> Invocation:
    """Return the call that a param asks for, in the form of any SDK.

    ``args`` is a list from most of them, the one argument itself from some, and an object from Go;
    ``kwargs`` and ``version`` may be missing, and a version of 0 stands for none.
    """
    document = decode(param, what)
    if not isinstance(document, dict) or not isinstance(document.get("func"), str):
        raise DecodingError(what, "it names no function under the key 'func'")
    version = document.get("version")
    kwargs = document.get("kwargs")
    return Invocation(
        name=document["func"],
        version=int(version) if isinstance(version, int | float) and version >= 1 else None,
        args=document.get("args", []),
        kwargs=kwargs if isinstance(kwargs, dict) else {},
    )


def function_in(param: Value) -> str | None:
    """Return the name of the function that a param calls; None when it calls none."""
    if not param.data:
        return None
    try:
        return _named.decode(base64.b64decode(param.data, validate=True)).func
    except (binascii.Error, msgspec.DecodeError, ValueError):
        return None


def _to_json(value: object) -> object:
    if hasattr(value, "model_dump"):  # pydantic
        return value.model_dump(mode="json")
    message = f"{_name(type(value))} has no JSON form"
    raise TypeError(message)


def _from_json(shape: type, value: object) -> object:
    if hasattr(shape, "model_validate"):  # pydantic
        return shape.model_validate(value)
    raise NotImplementedError


@lru_cache(maxsize=512)
def _cached_decoder(shape: Any) -> "json.Decoder[Any] | None":
    try:
        return json.Decoder(shape, dec_hook=_from_json)
    except (TypeError, RuntimeError, NameError):
        return None


def _decoder(shape: Any) -> "json.Decoder[Any] | None":
    if shape is Any:
        return None
    try:
        return _cached_decoder(shape)
    except TypeError:  # a type that cannot be hashed
        return None


def _problems(value: object, path: str, above: tuple[int, ...]) -> Iterator[tuple[str, str]]:
    """Find what in a value has no JSON form: pairs of path and problem."""
    if isinstance(value, float) and not math.isfinite(value):
        yield path, f"{value}, which JSON cannot hold"
    elif value is None or isinstance(value, str | int | float):
        return
    elif id(value) in above:
        yield path, "a reference to a value that contains it"
    elif isinstance(value, dict) and (key := _find_bad_key(value)) is not None:
        yield path, f"a key that is a {_name(type(key))}; keys are texts or numbers"
    elif (parts := _parts(value, path)) is not None:
        for inner, part in parts:
            yield from _problems(part, inner, (*above, id(value)))
    else:
        try:
            json.encode(value, enc_hook=_to_json)
        except TypeError:
            yield path, f"a {_name(type(value))}, which has no JSON form"


def _find_bad_key(value: dict[object, object]) -> object | None:
    for key in value:
        if not isinstance(key, str | int):
            try:
                json.encode({key: None})
            except TypeError:
                return key
    return None


def _parts(value: object, path: str) -> Iterator[tuple[str, object]] | None:
    if isinstance(value, dict):
        return ((f"{path}.{key}", part) for key, part in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return ((f"{path}[{index}]", part) for index, part in enumerate(value))
    if isinstance(value, msgspec.Struct):
        return ((f"{path}.{name}", getattr(value, name)) for name in value.__struct_fields__)
    if is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in fields(value)]
        return ((f"{path}.{name}", getattr(value, name, None)) for name in names)
    return None


def _name(kind: type) -> str:
    return (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )
