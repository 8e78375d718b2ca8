"""Where those who start and settle get their sender from, and how they ask it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

from durable.client.base import Annotations, Sender
from durable.exceptions import PromiseNotFoundError, RequestRefusedError
from durable.protocol.records import PromiseRecord
from durable.protocol.requests import NOT_FOUND, Reply, Request

_chosen: ContextVar[Sender | None] = ContextVar("durable_sender", default=None)


def get_sender() -> Sender:
    """Return the sender in use: this process's store, unless ``using`` has chosen another."""
    sender = _chosen.get()
    if sender is not None:
        return sender
    from durable.client import local  # noqa: PLC0415 - it needs Django's apps to be ready

    return local.get_sender()


@contextmanager
def using(sender: Sender) -> Iterator[Sender]:
    """Speak to another engine inside the block, in this thread or task."""
    token = _chosen.set(sender)
    try:
        yield sender
    finally:
        _chosen.reset(token)


class Question[T](NamedTuple):
    """A program, and what its replies mean: asked the same way by sync and async callers."""

    requests: tuple[Request, ...]
    read: Callable[[list[Reply]], T]
    notes: Annotations | None = None


def ask[T](question: Question[T]) -> T:
    """Ask; inside ``transaction.atomic()`` as part of the caller's transaction."""
    return question.read(get_sender().send(*question.requests, annotations=question.notes))


async def ask_async[T](question: Question[T]) -> T:
    """Ask without blocking the event loop, always in a transaction of its own."""
    sender = get_sender()
    return question.read(await sender.ask(*question.requests, annotations=question.notes))


def promise_in(reply: Reply, request: Request, promise_id: str) -> PromiseRecord:
    """Return the promise of a reply, or raise what it says instead."""
    if reply.promise is not None:
        return reply.promise
    if reply.status == NOT_FOUND:
        raise PromiseNotFoundError(promise_id)
    raise RequestRefusedError(request.kind, reply.status, reply.error)
