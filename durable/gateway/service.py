"""One request in, one answer out: decode, authorise, submit, encode (protocol.md 1.2 to 1.5).

It knows neither ASGI nor Django's requests. Requests that come in while a transaction is under way
share the next one: that is the store's doing, as long as nobody here waits in between.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

import msgspec
from msgspec import json

from durable import clock, conf
from durable.gateway import debug
from durable.gateway.auth import Access, Caller, Refused, forbidden, get_access
from durable.gateway.debug import DebugSurface
from durable.gateway.executor import executor
from durable.gateway.grants import OPEN, Grant
from durable.gateway.pickles import TooDeepError, without_pickles
from durable.observability.metrics import count_request
from durable.protocol.annotations import Annotation, Settler
from durable.protocol.envelope import (
    KINDS,
    UNKNOWN_CORR_ID,
    UNKNOWN_KIND,
    DataError,
    Envelope,
    EnvelopeError,
    data_of,
    decode_data,
    decode_envelope,
    encode_reply,
)
from durable.protocol.requests import (
    OK,
    PromiseCreate,
    PromiseSettle,
    Reply,
    Request,
    TaskCreate,
    TaskFence,
    TaskFulfill,
    TaskHeartbeat,
    TaskSuspend,
)
from durable.protocol.searches import Search, find_search_error
from durable.store import get_store
from durable.store.base import MAX_LOCKED_IDS
from durable.store.database import DatabaseStore
from durable.store.search import AnyPage, search

MAX_AWAITED = MAX_LOCKED_IDS - 1
"""Promises that one task.suspend may wait for: they are locked together with the task."""

_HEARTBEAT_SIZE = 1000
_TIMEOUT_SECONDS = 30.0
_LONGEST_KIND = 100
_NO_NOTES: Mapping[str, Annotation] = {}
_GATEWAY = "gateway"

_logger = logging.getLogger(__name__)


class Answer(NamedTuple):
    """What goes back: an HTTP status, and an envelope as JSON."""

    status: int
    body: bytes


class Service:
    """Answers requests of one process."""

    def __init__(
        self,
        get_store: Callable[[], DatabaseStore],
        access: Access,
        surface: DebugSurface | None = None,
    ) -> None:
        """``get_store`` gives the store of the day; ``surface`` is None without debug surface."""
        self._get_store = get_store
        self._access = access
        self._surface = surface

    async def handle(self, body: bytes, caller: Caller) -> Answer:
        """Answer one request; raises nothing."""
        started = time.perf_counter()
        kind, corr_id = UNKNOWN_KIND, UNKNOWN_CORR_ID
        try:
            envelope = decode_envelope(body)
            kind, corr_id = envelope.kind, envelope.head.corr_id
            status, data = await self._answer(envelope, caller)
            body = encode_reply(kind, corr_id, status, data)
        except EnvelopeError as error:
            kind, status = error.kind, 400
            body = encode_reply(kind, error.corr_id, status, str(error))
        except Refused as refusal:
            status = refusal.status
            body = encode_reply(kind, corr_id, status, refusal.text)
        except Exception:
            named = kind[:_LONGEST_KIND]
            _logger.exception("request failed", extra={"action": "handle", "kind": named})
            status = 500
            body = encode_reply(kind, corr_id, status, "Internal error")
        count_request(kind, status, time.perf_counter() - started)
        return Answer(status, body)

    async def _answer(self, envelope: Envelope, caller: Caller) -> tuple[int, Any]:
        kind = envelope.kind
        grant = await self._access.authenticate(caller, envelope.head.auth)
        is_known = kind in KINDS
        if not is_known and not grant.is_unrestricted:
            raise forbidden()
        at = None if self._surface is None else debug.read_time(envelope.head.debug_time)
        if kind.startswith(debug.PREFIX):
            if self._surface is None:
                raise Refused(403, debug.DISABLED)
            return OK, await executor.run(self._surface.answer, kind, envelope.data, at=at)
        if not is_known:
            raise Refused(400, f"Unknown operation: {kind[:_LONGEST_KIND]}")
        request = _decode(envelope, grant)
        if isinstance(request, Search):
            return OK, _page_data(kind, await self._search(request, grant, at))
        if not grant.allows(request):
            raise forbidden()
        request = _admit(request, grant)
        reply = await self._run(request, _notes(request, grant, caller), at)
        return reply.status, data_of(kind, envelope.head.corr_id, reply)

    async def _run(
        self, request: Request, notes: Mapping[str, Annotation], at: int | None
    ) -> Reply:
        if self._surface is not None and (at is not None or self._surface.is_started):
            return await executor.run(self._surface.run, request, at=at)
        store = self._get_store()
        replies = [
            await _result_of(store.ask(part, annotations=notes, preload=True))
            for part in _parts(request)
        ]
        return next((reply for reply in replies if not reply.is_ok), replies[-1])

    async def _search(self, request: Search, grant: Grant, at: int | None) -> AnyPage:
        if not self._get_store().config.profile.searches:
            raise Refused(501, "Not implemented")
        if error := find_search_error(request):
            raise Refused(400, error)
        prefix = grant.search_prefix
        if self._surface is not None and (at is not None or self._surface.is_started):
            return await executor.run(self._surface.search, request, prefix=prefix, at=at)
        return await executor.run(search, self._get_store(), request, prefix=prefix)


async def _result_of(future: asyncio.Future[list[Reply]]) -> Reply:
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            [reply] = await future
    except TimeoutError as error:
        raise Refused(503, "Timed out: read before trying again") from error
    return reply


def _decode(envelope: Envelope, grant: Grant) -> Request | Search:
    try:
        return decode_data(envelope.kind, envelope.data)
    except DataError as error:
        if not grant.is_unrestricted and _names_others(envelope, grant):
            raise forbidden() from error
        raise Refused(400, str(error)) from error


def _names_others(envelope: Envelope, grant: Grant) -> bool:
    """Whether data that is no request names what the caller may not touch."""
    try:
        return not grant.allows_data(json.decode(envelope.data))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False


def _admit(request: Request, grant: Grant) -> Request:
    """Return the request as it may be stored; raises ``Refused``."""
    if isinstance(request, TaskSuspend) and len(request.actions) > MAX_AWAITED:
        raise Refused(400, f"Actions must not be more than {MAX_AWAITED}")
    if _may_carry_pickles(request, grant):
        return request
    try:
        return without_pickles(request)
    except TooDeepError as error:
        raise Refused(400, "Value data is nested too deeply") from error


def _may_carry_pickles(request: Request, grant: Grant) -> bool:
    """Whether a worker sends it: by its token, or without tokens by what only workers send."""
    if grant is OPEN:
        return isinstance(request, TaskFence | TaskFulfill)
    return grant.is_worker


def _notes(request: Request, grant: Grant, caller: Caller) -> Mapping[str, Annotation]:
    """Return who starts what this request may create, or settles what it may settle."""
    action = request.action if isinstance(request, TaskCreate | TaskFence) else request
    if isinstance(action, PromiseSettle):
        settler = Settler(f"token:{grant.name}" if grant.name else _GATEWAY, caller.address)
        return {action.id: Annotation(settler=settler)}
    if isinstance(request, TaskFence) or not isinstance(action, PromiseCreate):
        return _NO_NOTES
    if grant.name:
        return {action.id: Annotation(started_by=f"token:{grant.name}")}
    if isinstance(request, TaskCreate):
        return {action.id: Annotation(started_by=f"worker:{request.pid}")}
    return _NO_NOTES


def _parts(request: Request) -> list[Request]:
    """Cut a heartbeat for very many tasks; everything else is one transaction."""
    if not isinstance(request, TaskHeartbeat) or len(request.tasks) <= _HEARTBEAT_SIZE:
        return [request]
    return [
        TaskHeartbeat(request.pid, request.tasks[start : start + _HEARTBEAT_SIZE])
        for start in range(0, len(request.tasks), _HEARTBEAT_SIZE)
    ]


_LISTS = {"promise": "promises", "task": "tasks", "schedule": "schedules"}


def _page_data(kind: str, page: AnyPage) -> dict[str, Any]:
    data: dict[str, Any] = {_LISTS[kind.partition(".")[0]]: page.records}
    if page.cursor is not None:
        data["cursor"] = page.cursor
    return data


@cache
def get_service() -> Service:
    """Return the process's own, made from the settings."""
    surface = None
    if conf.is_debug_surface_on():
        surface = DebugSurface(conf.database_alias(), conf.machine_config(), clock=clock.now_ms)
    return Service(get_store, get_access(), surface)
