"""Exceptions as error objects (protocol.md 10.4), and back. Nothing is pickled or unpickled."""

import math
import sys
from collections.abc import Mapping
from typing import Any

from msgspec import json

from durable.protocol.records import Value
from durable.workflow import codec
from durable.workflow.errors import ApplicationError

PICKLE = "__py_pickle"
"""What the Python SDK adds: never looked into, never written."""
RESERVED = frozenset({"__type", PICKLE})
"""Keys of an error object that only the engine writes, or nobody."""

_SCALARS = str | int | float | bool | None


def encode_error(error: BaseException) -> Value:
    """Return an exception as it is stored: its class by name, its message, and plain attributes."""
    return encode_object(error_object(error))


def error_object(error: BaseException) -> dict[str, Any]:
    """Return an exception as JSON. ``args`` and ``attributes`` are there where they say more."""
    if type(error) is ApplicationError:
        return _foreign_object(error)
    kind = type(error)
    document: dict[str, Any] = {
        "__type": "error",
        "name": kind.__name__,
        "message": message_of(error),
        "type": f"{kind.__module__}.{kind.__qualname__}",
    }
    if error.args != (document["message"],) and _are_plain(error.args):
        document["args"] = list(error.args)
    if attributes := {k: v for k, v in vars(error).items() if _are_plain((v,))}:
        document["attributes"] = attributes
    return document


def _foreign_object(error: ApplicationError) -> dict[str, Any]:
    if isinstance(error.data, dict) and error.data.get("message") == error.message:
        return {"__type": "error", **error.data}
    return {"__type": "error", "name": error.name, "message": error.message}


def encode_object(document: Mapping[str, Any]) -> Value:
    """Return an error object as it is stored."""
    return Value(data=codec.encode_text(document, "the error"))


def message_of(error: BaseException) -> str:
    """Return an exception's message, also of one that fails to say it."""
    try:
        return str(error).encode("utf-8", "backslashreplace").decode()
    except Exception:  # noqa: BLE001 - user code
        return f"{type(error).__name__} without a readable message"


def decode_error(value: Value, what: str) -> Exception:
    """Return the exception of a rejection that any SDK, a page or a script wrote.

    Raises ``DecodingError`` for what is not base64 of JSON.
    """
    document = codec.decode(value, what)
    if not isinstance(document, dict):
        return ApplicationError("Error", _unknown(document), document)
    document = {key: part for key, part in document.items() if key != PICKLE}
    message = document.get("message")
    if not isinstance(message, str):
        message = _unknown(document)
    name = document.get("name")
    return _rebuild(document, message) or ApplicationError(
        name if isinstance(name, str) else "Error", message, document
    )


def _unknown(document: object) -> str:
    return f"unknown error: {json.encode(document).decode()}"


def _rebuild(document: Mapping[str, Any], message: str) -> Exception | None:
    """Return an instance of the class, when it is known here and still says the same message."""
    kind = _find_class(document.get("type"))
    if kind is None:
        return None
    args = document.get("args")
    attributes = document.get("attributes")
    candidates = [tuple(args)] if isinstance(args, list) else []
    for candidate in (*candidates, (message,)):
        try:
            error = kind.__new__(kind)
            error.args = candidate
            if isinstance(attributes, dict):
                vars(error).update(attributes)
            if str(error) == message:
                return error
        except Exception:  # noqa: BLE001, S112 - a class that cannot be made without its constructor
            continue
    return None


def _find_class(path: object) -> type[Exception] | None:
    """Find a class by its dotted path among the modules that are already imported."""
    if not isinstance(path, str):
        return None
    names = path.split(".")
    for end in range(len(names) - 1, 0, -1):
        module = sys.modules.get(".".join(names[:end]))
        if module is not None:
            found: Any = module
            for name in names[end:]:
                found = vars(found).get(name) if hasattr(found, "__dict__") else None
            is_error = isinstance(found, type) and issubclass(found, Exception)
            return found if is_error else None
    return None


def _are_plain(values: tuple[object, ...]) -> bool:
    return all(
        isinstance(value, _SCALARS) and not (isinstance(value, float) and not math.isfinite(value))
        for value in values
    )
