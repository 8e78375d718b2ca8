"""What a caller may do (protocol.md 7.2), as far as a request says what it touches."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from durable import clock
from durable.protocol import requests, tags
from durable.protocol.requests import Request
from durable.protocol.validation import expand_template

ADMIN = "admin"
WORKER = "worker"

_LINEAGE = (tags.ORIGIN, tags.BRANCH, tags.PARENT)
_ID_KEYS = frozenset({"id", "awaited", "awaiter"})
_NESTED_KEYS = frozenset({"action", "actions", "data", "tasks"})


class Grant(NamedTuple):
    """Rights of one token. ``prefix`` is what ids must begin with; None grants nothing.

    name: who the token belongs to, or empty.
    groups: worker groups it may poll beside those that begin with the prefix.
    expires_at: epoch ms, or None.
    """

    prefix: str | None = None
    role: str = ""
    name: str = ""
    groups: frozenset[str] = frozenset()
    expires_at: int | None = None

    @property
    def is_unrestricted(self) -> bool:
        """Whether everything is allowed."""
        return self.role == ADMIN or self.prefix == ""

    @property
    def is_empty(self) -> bool:
        """Whether nothing is."""
        return self.prefix is None and self.role != ADMIN

    @property
    def is_worker(self) -> bool:
        """Whether it was given to a process that runs functions."""
        return self.role == WORKER

    @property
    def search_prefix(self) -> str:
        """What the ids that it may see begin with."""
        return "" if self.is_unrestricted else self.prefix or ""

    def is_expired(self) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and self.expires_at <= clock.now_ms()

    def allows_id(self, resource_id: str) -> bool:
        """Whether it may touch a promise, task or schedule."""
        if self.is_unrestricted:
            return True
        return self.prefix is not None and resource_id.startswith(self.prefix)

    def allows_group(self, group: str) -> bool:
        """Whether it may take the messages of a worker group."""
        return group in self.groups or self.allows_id(group)

    def allows(self, request: Request) -> bool:
        """Whether it may send a request: all that the request touches is within the prefix."""
        return self.is_unrestricted or all(map(self.allows_id, touched_ids(request)))

    def allows_data(self, data: Any) -> bool:
        """Whether every id in data of any shape is allowed: for requests that are no requests."""
        return self.is_unrestricted or all(map(self.allows_id, _named_ids(data)))


OPEN = Grant(prefix="")
"""What everybody may do while there is no authentication."""


def touched_ids(request: Request) -> Iterator[str]:
    """Yield every id that a request reads, writes or names as kin."""
    match request:
        case requests.PromiseCreate():
            yield from _created(request)
        case requests.PromiseRegisterCallback():
            yield from (request.awaited, request.awaiter)
        case requests.PromiseRegisterListener():
            yield request.awaited
        case requests.ScheduleCreate():
            yield request.id
            yield from _scheduled(request)
        case _:
            yield from _touched_by_task(request)


def _touched_by_task(request: Request) -> Iterator[str]:
    match request:
        case requests.TaskCreate():
            yield from _created(request.action)
        case requests.TaskFence():
            yield request.id
            yield from touched_ids(request.action)
        case requests.TaskFulfill():
            yield from (request.id, request.action.id)
        case requests.TaskHeartbeat():
            yield from (ref.id for ref in request.tasks)
        case requests.TaskSuspend():
            yield request.id
            for action in request.actions:
                yield from touched_ids(action)
        case _:
            yield request.id  # type: ignore[attr-defined]


def _created(request: requests.PromiseCreate) -> Iterator[str]:
    """Yield its id, and its kin: a promise in another's branch shows up in that one's replay."""
    yield request.id
    yield from (request.tags[tag] for tag in _LINEAGE if tag in request.tags)


def _scheduled(request: requests.ScheduleCreate) -> Iterator[str]:
    """Yield what all ids it will create begin with: the template up to the first timestamp."""
    expanded = expand_template(request.promise_id, request.id, "\0")
    yield expanded.partition("\0")[0]
    yield from (request.promise_tags[tag] for tag in _LINEAGE if tag in request.promise_tags)


def _named_ids(data: Any) -> Iterator[str]:
    if isinstance(data, list):
        for one in data:
            yield from _named_ids(one)
    elif isinstance(data, dict):
        for key, value in data.items():
            if key in _ID_KEYS and isinstance(value, str):
                yield value
            elif key in _NESTED_KEYS:
                yield from _named_ids(value)
