"""What a notifier is, and the topics it carries."""

import logging
import threading
from collections.abc import Callable, Iterable
from typing import Protocol

import msgspec
from django.db import connections
from msgspec import json

EVERYTHING = "*"
"""Anything may have happened: the other process could not say what."""
SETTLED = "settled"
"""A root or a promise made by the outside was settled: somebody may wait for its result."""
LATENT = "latent"
"""A latent promise was created or settled: pages about people's work changed."""
DUE = "due"
"""A deadline earlier than all others may have been written."""
OUTBOX = "outbox"
"""Messages entered the outbox."""
STREAMS = "streams"
"""A process began or ceased to hold event streams of workers."""
CHANNEL = "durable"
"""Of PostgreSQL's notifications."""
_MAX_PAYLOAD = 7000
_READY = "ready:"

type Topics = frozenset[str]
type Subscriber = Callable[[Topics], None]

_topics = json.Decoder(frozenset[str])


def ready(queue: str) -> str:
    """Topic of tasks that a worker of this group may claim."""
    return _READY + queue


def payload_of(topics: Iterable[str]) -> str:
    """Return how topics travel: never data, and "everything" when they are too many."""
    payload = json.encode(sorted(topics)).decode()
    return EVERYTHING if len(payload.encode()) > _MAX_PAYLOAD else payload


def parse_payload(payload: str | bytes) -> Topics:
    """Return the topics that ``payload_of`` wrote; for anything else, everything."""
    try:
        return _topics.decode(payload)
    except msgspec.DecodeError:  # "*" too
        return frozenset({EVERYTHING})


def queue_of(topic: str) -> str | None:
    """Return the group of a ``ready`` topic; None for others."""
    return topic.removeprefix(_READY) if topic.startswith(_READY) else None


_logger = logging.getLogger(__name__)


class Notifier(Protocol):
    """Carries topics to every subscriber in every process of one database."""

    def publish(self, topics: Iterable[str]) -> None:
        """Announce topics when the current transaction of the calling thread commits."""

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call ``subscriber`` with each set of topics, on the notifier's own thread.

        It must be quick, and what it raises is only logged. Returns a function that ends the
        subscription. The first subscription starts listening.
        """

    def close(self) -> None:
        """Stop listening."""


class Subscribers:
    """The subscribers of one process, shared by all notifiers."""

    def __init__(self) -> None:
        """Start with none."""
        self._lock = threading.Lock()
        self._subscribers: tuple[Subscriber, ...] = ()

    def __bool__(self) -> bool:
        return bool(self._subscribers)

    def add(self, subscriber: Subscriber) -> Callable[[], None]:
        """Add one; returns its removal."""
        with self._lock:
            self._subscribers = (*self._subscribers, subscriber)
        return lambda: self._remove(subscriber)

    def _remove(self, subscriber: Subscriber) -> None:
        with self._lock:
            self._subscribers = tuple(one for one in self._subscribers if one is not subscriber)

    def tell(self, topics: Topics) -> None:
        """Hand topics to all; none keeps them from the next, or fails who announces them."""
        for subscriber in self._subscribers:
            try:
                subscriber(topics)
            except Exception:
                _logger.exception("subscriber failed", extra={"action": "notify"})


_notifiers: dict[str, Notifier] = {}


def get_notifier(alias: str) -> Notifier:
    """Return this process's notifier for a database alias."""
    if notifier := _notifiers.get(alias):
        return notifier
    return _notifiers.setdefault(alias, _make_notifier(alias))


def close_notifiers() -> None:
    """Stop listening."""
    for notifier in list(_notifiers.values()):
        notifier.close()


def forget_notifiers() -> None:
    """Make new notifiers at the next use."""
    _notifiers.clear()


def _make_notifier(alias: str) -> Notifier:
    if connections[alias].vendor == "postgresql":
        from durable.notify.postgres import PostgresNotifier  # noqa: PLC0415 - psycopg is optional

        return PostgresNotifier(alias)
    from durable.notify.sqlite import SQLiteNotifier  # noqa: PLC0415 - one of the two

    return SQLiteNotifier(alias)
