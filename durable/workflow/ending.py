"""Finding executions, and cancelling them with all that is below."""

from typing import Any

from asgiref.sync import sync_to_async

from durable.client.base import Sender
from durable.protocol import tags
from durable.protocol.records import PromiseRecord, Value
from durable.protocol.requests import PromiseSettle
from durable.protocol.states import PromiseState
from durable.workflow import ids, promises
from durable.workflow.connection import ask, get_sender, using
from durable.workflow.handle import Handle
from durable.workflow.promises import Settlement

_MAX_ROUNDS = 100
_SETTLED_AT_ONCE = 500


def get(promise_id: str, /) -> Handle[Any]:
    """Return the handle of an execution that exists. Raises ``PromiseNotFoundError``."""
    return Handle(promises.get(promise_id).id)


async def aget(promise_id: str, /) -> Handle[Any]:
    """Async twin of ``get``."""
    return Handle((await promises.aget(promise_id)).id)


def cancel(promise_id: str, reason: str = "", /) -> Settlement:
    """Cancel an execution and every pending promise below it; detached calls go on.

    Cancelling again finishes a descent that was cut short. Raises ``PromiseNotFoundError``.
    """
    value = promises.cancellation(reason)
    settlement = ask(promises.settle(promise_id, PromiseState.REJECTED_CANCELED, value))
    if settlement.promise.state is PromiseState.REJECTED_CANCELED:
        _cancel_below(get_sender(), settlement.promise, value)
    return settlement


async def acancel(promise_id: str, reason: str = "", /) -> Settlement:
    """Async twin of ``cancel``."""
    sender = get_sender()

    def cancel_here() -> Settlement:
        with using(sender):
            return cancel(promise_id, reason)

    return await sync_to_async(cancel_here, thread_sensitive=False)()


def _cancel_below(sender: Sender, root: PromiseRecord, value: Value) -> None:
    """Cancel downwards, again while calls that still ran have made new ones."""
    for _ in range(_MAX_ROUNDS):
        pending = [record.id for record in _attached(sender, root) if record.is_pending]
        if not pending:
            return
        for start in range(0, len(pending), _SETTLED_AT_ONCE):
            some = pending[start : start + _SETTLED_AT_ONCE]
            state = PromiseState.REJECTED_CANCELED
            sender.send(*(PromiseSettle(below, state, value) for below in some))


def _attached(sender: Sender, root: PromiseRecord) -> list[PromiseRecord]:
    """Return what is below a promise, without detached calls and what is below them."""
    origin = root.tags.get(tags.ORIGIN) or ids.origin_of(root.id)
    found = {record.id: record for record in sender.descendants(root.id)}
    kept: dict[str, bool] = {root.id: True}

    def is_attached(record: PromiseRecord) -> bool:
        if record.id not in kept:
            parent = found.get(record.tags.get(tags.PARENT, ""))
            kept[record.id] = False  # a lineage that goes in a circle belongs to nobody
            is_below = record.tags.get(tags.PARENT) == root.id or (
                parent is not None and is_attached(parent)
            )
            kept[record.id] = is_below and not ids.is_detached_call(origin, record.id)
        return kept[record.id]

    return [record for record in found.values() if is_attached(record)]
