"""Promises by id: ``durable.promises``. Values are encoded here; whoever comes first, settles.

Each function has an async twin with the prefix ``a``. The plain one takes part in the caller's
``transaction.atomic()``; the twin runs in a transaction of its own.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from durable import clock
from durable.protocol import tags as names
from durable.protocol.records import PromiseRecord, Value
from durable.protocol.requests import PromiseCreate, PromiseGet, PromiseSettle, Reply
from durable.protocol.states import PromiseState
from durable.protocol.validation import MAX_INSTANT
from durable.workflow import codec, failures, instants
from durable.workflow.connection import Question, ask, ask_async, promise_in
from durable.workflow.instants import When

type Failure = str | BaseException


class Settlement(NamedTuple):
    """A settled promise; ``applied`` is true only for the call that settled it."""

    promise: PromiseRecord
    applied: bool


def create(
    promise_id: str,
    /,
    *,
    data: Any = None,
    timeout: When | None = None,
    tags: Mapping[str, str] | None = None,
) -> PromiseRecord:
    """Create a promise that the outside settles; one that exists is returned as it is."""
    return ask(_create(promise_id, data, timeout, tags))


async def acreate(
    promise_id: str,
    /,
    *,
    data: Any = None,
    timeout: When | None = None,  # noqa: ASYNC109 - the promise's, not the call's
    tags: Mapping[str, str] | None = None,
) -> PromiseRecord:
    """Async twin of ``create``."""
    return await ask_async(_create(promise_id, data, timeout, tags))


def get(promise_id: str, /) -> PromiseRecord:
    """Return a promise. Raises ``PromiseNotFoundError``."""
    return ask(read(promise_id))


async def aget(promise_id: str, /) -> PromiseRecord:
    """Async twin of ``get``."""
    return await ask_async(read(promise_id))


def resolve(promise_id: str, value: Any = None, /) -> Settlement:
    """Settle a promise with a value. Raises ``PromiseNotFoundError``."""
    return ask(_resolve(promise_id, value))


async def aresolve(promise_id: str, value: Any = None, /) -> Settlement:
    """Async twin of ``resolve``."""
    return await ask_async(_resolve(promise_id, value))


def reject(
    promise_id: str, error: Failure = "", /, extra: Mapping[str, Any] | None = None
) -> Settlement:
    """Settle a promise with an error: a message or an exception; ``extra`` keys go beside it."""
    return ask(_reject(promise_id, error, extra))


async def areject(
    promise_id: str, error: Failure = "", /, extra: Mapping[str, Any] | None = None
) -> Settlement:
    """Async twin of ``reject``."""
    return await ask_async(_reject(promise_id, error, extra))


def cancel(promise_id: str, reason: str = "", /) -> Settlement:
    """Cancel one promise alone; ``durable.cancel`` cancels what is below it as well."""
    return ask(settle(promise_id, PromiseState.REJECTED_CANCELED, cancellation(reason)))


async def acancel(promise_id: str, reason: str = "", /) -> Settlement:
    """Async twin of ``cancel``."""
    return await ask_async(settle(promise_id, PromiseState.REJECTED_CANCELED, cancellation(reason)))


def _create(
    promise_id: str, data: Any, timeout: When | None, tags: Mapping[str, str] | None
) -> Question[PromiseRecord]:
    timeout_at = MAX_INSTANT if timeout is None else instants.to_instant(timeout, clock.now_ms())
    own = {
        names.SCOPE: names.SCOPE_GLOBAL,
        names.EXTERNAL: names.TRUE,
        names.BRANCH: promise_id,
        names.PARENT: promise_id,
        names.ORIGIN: promise_id,
    }
    request = PromiseCreate(
        id=promise_id,
        timeout_at=timeout_at,
        param=codec.encode(data, f"the data of {promise_id!r}"),
        tags={**own, **(tags or {})},
    )
    return Question((request,), lambda replies: promise_in(replies[0], request, promise_id))


def read(promise_id: str) -> Question[PromiseRecord]:
    """Return the question for one promise."""
    request = PromiseGet(promise_id)
    return Question((request,), lambda replies: promise_in(replies[0], request, promise_id))


def settle(promise_id: str, state: PromiseState, value: Value) -> Question[Settlement]:
    """Return the question that settles a promise."""
    request = PromiseSettle(promise_id, state, value)

    def answer(replies: list[Reply]) -> Settlement:
        [reply] = replies
        return Settlement(promise_in(reply, request, promise_id), reply.applied)

    return Question((request,), answer)


def _resolve(promise_id: str, value: Any) -> Question[Settlement]:
    encoded = codec.encode(value, f"the value for {promise_id!r}")
    return settle(promise_id, PromiseState.RESOLVED, encoded)


def _reject(
    promise_id: str, error: Failure, extra: Mapping[str, Any] | None
) -> Question[Settlement]:
    document = (
        failures.error_object(error)
        if isinstance(error, BaseException)
        else {"__type": "error", "name": "Error", "message": error}
    )
    kept = {key: part for key, part in (extra or {}).items() if key not in failures.RESERVED}
    encoded = codec.encode({**document, **kept}, f"the error for {promise_id!r}")
    return settle(promise_id, PromiseState.REJECTED, encoded)


def cancellation(reason: str) -> Value:
    """Return the error object that a cancelled promise holds."""
    document = {
        "__type": "error",
        "name": "PromiseCanceledError",
        "message": reason or "Promise canceled",
        "reason": reason,
    }
    return failures.encode_object(document)
