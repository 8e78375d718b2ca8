"""Takes pickles out of error payloads: Python workers of the SDK unpickle what is in them."""

import base64
import binascii
import json
from typing import Any

import msgspec
from msgspec.structs import replace

from durable.protocol.records import Value
from durable.protocol.requests import PromiseSettle, Request, TaskFence, TaskFulfill

KEY = "__py_pickle"
_MARKS = (KEY.encode(), b"\\u")


class TooDeepError(ValueError):
    """A payload is nested too deeply to be looked through."""


def without_pickles(request: Request) -> Request:
    """Return the request with no pickle in the value that it settles to."""
    match request:
        case PromiseSettle():
            value = clean(request.value)
            return request if value is request.value else replace(request, value=value)
        case TaskFence() | TaskFulfill():
            action = without_pickles(request.action)
            return request if action is request.action else replace(request, action=action)
        case _:
            return request


def clean(value: Value) -> Value:
    """Return the value without pickles, at any depth; the very same when there are none."""
    if not value.data:
        return value
    try:
        text = base64.b64decode(value.data)
    except (binascii.Error, ValueError):
        return value  # nobody else can read it either
    if not any(mark in text for mark in _MARKS):
        return value
    try:
        payload = _parse(text)
        stripped = _strip(payload)
        is_clean = stripped == payload
    except RecursionError as error:
        raise TooDeepError from error
    if is_clean:
        return value
    return replace(value, data=base64.b64encode(_render(stripped)).decode())


def _parse(text: bytes) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, ValueError):
        pass
    try:  # takes more than the SDK does
        return json.loads(text, strict=False)
    except ValueError:
        return None


def _render(payload: Any) -> bytes:
    try:
        return msgspec.json.encode(payload)
    except UnicodeEncodeError:  # half a surrogate pair, which only an escape can spell
        return json.dumps(payload, separators=(",", ":")).encode()


def _strip(payload: Any) -> Any:
    if isinstance(payload, dict):
        return {key: _strip(one) for key, one in payload.items() if key != KEY}
    if isinstance(payload, list):
        return [_strip(one) for one in payload]
    return payload
