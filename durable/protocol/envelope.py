"""The envelope around requests and replies (protocol.md 1.2 to 1.5), and what is inside by kind.

Decoding is in two steps: the envelope first, so that every error can echo kind and corrId, then
``data`` by kind.
"""

import json as stdlib_json
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw, Struct, field, json

from durable.protocol.requests import (
    ALREADY_SETTLED,
    OK,
    REQUESTS,
    PromiseCreate,
    PromiseRegisterCallback,
    PromiseSettle,
    Reply,
    Request,
    TaskAcquire,
    TaskCreate,
    TaskFence,
    TaskFulfill,
    TaskSuspend,
)
from durable.protocol.searches import SEARCHES, Search

if TYPE_CHECKING:
    from collections.abc import Callable

VERSION = "2026-04-01"
UNKNOWN_KIND = "unknown"
UNKNOWN_CORR_ID = "0"


class EnvelopeError(ValueError):
    """The envelope is malformed (400); echoes what could be read of it."""

    def __init__(self, text: str, kind: str, corr_id: str) -> None:
        """``text`` is the protocol's error text."""
        super().__init__(text)
        self.kind = kind
        self.corr_id = corr_id


class DataError(ValueError):
    """``data`` does not have the shape of its kind (400)."""


class FenceKindError(DataError):
    """A fence can run two kinds."""

    def __init__(self) -> None:
        """The text is the reference server's."""
        super().__init__("Invalid fence action kind")


class ActionDataError(DataError):
    """The ``data`` inside a fence's action does not have the shape of its kind."""

    def __init__(self, error: Exception) -> None:
        """``error`` is the parser's."""
        super().__init__(f"Invalid action data: {error}")


class ActionKindError(DataError):
    """A nested request is not of the only kind that fits."""

    def __init__(self, kind: str) -> None:
        """``kind`` is the one that fits."""
        super().__init__(f"Action kind must be {kind}")


class Head(Struct, frozen=True):
    """The fields of a request's head that mean something to a server; others are ignored.

    The last two can be anything: what they may be matters only to a server that looks at them.
    """

    corr_id: str = field(name="corrId")
    version: str
    auth: Any = None
    debug_time: Any = field(default=None, name="resonate:debug_time")


class Envelope(Struct, frozen=True):
    """A request envelope; ``data`` is still JSON."""

    kind: str
    head: Head
    data: Raw


_envelope = json.Decoder(Envelope)
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_OBJECT = ord("{")
_NO_KIND = "`kind` must not be empty"
_NO_OBJECT = "Expected `object` - at `$.data`"
_LONGEST_VERSION = 40


def decode_envelope(body: bytes) -> Envelope:
    """Decode a request's envelope; raises ``EnvelopeError``."""
    try:
        envelope = _envelope.decode(body)
    except _UNREADABLE as error:
        raise _error(str(error), body) from error
    if not envelope.kind:
        raise _error(_NO_KIND, body)
    if memoryview(envelope.data)[0] != _OBJECT:
        raise _error(_NO_OBJECT, body)
    if envelope.head.version != VERSION:
        version = envelope.head.version[:_LONGEST_VERSION]
        text = f"Unsupported version: {version}. Supported: {VERSION}"
        raise EnvelopeError(text, envelope.kind, envelope.head.corr_id)
    return envelope


def _error(text: str, body: bytes) -> EnvelopeError:
    kind, corr_id = UNKNOWN_KIND, UNKNOWN_CORR_ID
    found = _read_leniently(body)
    if isinstance(found, dict):
        if found.get("kind") and _is_text(found["kind"]):
            kind = found["kind"]
        head = found.get("head")
        if isinstance(head, dict) and _is_text(head.get("corrId")):
            corr_id = head["corrId"]
    return EnvelopeError(f"Invalid request envelope: {text}", kind, corr_id)


def _read_leniently(body: bytes) -> Any:
    """Read what is JSON by its grammar alone: half a surrogate pair somewhere hides no kind."""
    try:
        return stdlib_json.loads(body)
    except (ValueError, RecursionError):
        return None


def _is_text(value: object) -> bool:
    """Whether a value can be echoed."""
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False


class _Action(Struct, frozen=True):
    """A nested request; its head is opaque (protocol.md 1.2)."""

    kind: str
    data: Raw


class _TaskCreate(Struct, frozen=True):
    pid: str
    ttl: int
    action: _Action


class _TaskAction(Struct, frozen=True):
    """The data of task.fence and task.fulfill."""

    id: str
    version: int
    action: _Action


class _TaskSuspend(Struct, frozen=True):
    id: str
    version: int
    actions: tuple[_Action, ...]


_plain = {
    kind: json.Decoder(request)
    for kind, request in REQUESTS.items()
    if request not in {TaskCreate, TaskFence, TaskFulfill, TaskSuspend}
}
_task_create = json.Decoder(_TaskCreate)
_task_action = json.Decoder(_TaskAction)
_task_suspend = json.Decoder(_TaskSuspend)


_searches = {kind: json.Decoder(search) for kind, search in SEARCHES.items()}

KINDS = frozenset({*REQUESTS, *SEARCHES})
"""The 21 kinds of protocol.md 3.1."""


def decode_data(kind: str, data: Raw) -> Request | Search:
    """Decode ``data`` of a known kind; raises ``DataError`` with the parser's text."""
    try:
        if kind in _searches:
            return _searches[kind].decode(data)
        return _decode(kind, data)
    except _UNREADABLE as error:
        raise DataError(str(error)) from error


def _decode(kind: str, data: Raw) -> Request:
    match kind:
        case TaskCreate.kind:
            create = _task_create.decode(data)
            return TaskCreate(create.pid, create.ttl, _inner_create(create.action))
        case TaskFence.kind:
            fence = _task_action.decode(data)
            return TaskFence(fence.id, fence.version, _inner_fenced(fence.action))
        case TaskFulfill.kind:
            fulfill = _task_action.decode(data)
            return TaskFulfill(fulfill.id, fulfill.version, _inner_settle(fulfill.action))
        case TaskSuspend.kind:
            suspend = _task_suspend.decode(data)
            actions = tuple(_inner_callback(action) for action in suspend.actions)
            return TaskSuspend(suspend.id, suspend.version, actions)
        case _:
            return _plain[kind].decode(data)


def _inner_create(action: _Action) -> PromiseCreate:
    _expect(action, PromiseCreate.kind)
    return json.decode(action.data, type=PromiseCreate)


def _inner_settle(action: _Action) -> PromiseSettle:
    _expect(action, PromiseSettle.kind)
    return json.decode(action.data, type=PromiseSettle)


def _inner_callback(action: _Action) -> PromiseRegisterCallback:
    _expect(action, PromiseRegisterCallback.kind)
    return json.decode(action.data, type=PromiseRegisterCallback)


def _inner_fenced(action: _Action) -> PromiseCreate | PromiseSettle:
    decode: Callable[[_Action], PromiseCreate | PromiseSettle]
    match action.kind:
        case PromiseCreate.kind:
            decode = _inner_create
        case PromiseSettle.kind:
            decode = _inner_settle
        case _:
            raise FenceKindError
    try:
        return decode(action)
    except _UNREADABLE as error:
        raise ActionDataError(error) from error


def _expect(action: _Action, kind: str) -> None:
    if action.kind != kind:
        raise ActionKindError(kind)


def encode_reply(kind: str, corr_id: str, status: int, data: Any) -> bytes:
    """Encode a response envelope; ``data`` is a text for errors, else what the kind answers."""
    return json.encode(_response(kind, corr_id, status, data))


def _response(kind: str, corr_id: str, status: int, data: Any) -> dict[str, Any]:
    head = {"corrId": corr_id, "status": status, "version": VERSION}
    return {"kind": kind, "head": head, "data": data}


_WITH_PRELOAD = frozenset({TaskCreate.kind, TaskAcquire.kind, TaskFence.kind})


def data_of(kind: str, corr_id: str, reply: Reply) -> Any:
    """Return the ``data`` of a reply (protocol.md 3.1): its records, or the text of its error."""
    if reply.status not in {OK, ALREADY_SETTLED}:
        return reply.error
    data: dict[str, Any] = {}
    if reply.task is not None:
        data["task"] = reply.task
    if reply.promise is not None:
        data["promise"] = reply.promise
    if reply.schedule is not None:
        data["schedule"] = reply.schedule
    if reply.action is not None:
        inner = reply.action.reply
        data["action"] = _response(
            reply.action.kind,
            corr_id,
            inner.status,
            data_of(reply.action.kind, corr_id, inner),
        )
    if kind in _WITH_PRELOAD or reply.status == ALREADY_SETTLED:
        data["preload"] = reply.preload
    return data
