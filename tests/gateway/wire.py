"""A gateway that looks like the machine's test store: the same tests run against both.

Requests and ticks go over HTTP at the debug surface's times; states are read from the tables.
"""

from typing import Any

import msgspec
from msgspec import json

from durable.machine.internal import InternalStep
from durable.machine.memory import MemoryStore
from durable.machine.properties import check_state
from durable.machine.state import Promise, Schedule, ServerState, Task
from durable.protocol.records import PromiseRecord, ScheduleRecord, TaskRecord
from durable.protocol.requests import (
    InnerReply,
    PromiseSettle,
    Reply,
    Request,
    TaskCreate,
    TaskFence,
    TaskFulfill,
    TaskSuspend,
)
from tests.gateway.clients import Client
from tests.store.support import snapshot


def encode_data(request: Request) -> dict[str, Any]:
    """Return the ``data`` of a request as a client sends it."""
    match request:
        case TaskCreate():
            return {"pid": request.pid, "ttl": request.ttl, "action": _nested(request.action)}
        case TaskFence() | TaskFulfill():
            action = _nested(request.action)
            return {"id": request.id, "version": request.version, "action": action}
        case TaskSuspend():
            actions = [_nested(action) for action in request.actions]
            return {"id": request.id, "version": request.version, "actions": actions}
        case _:
            data: dict[str, Any] = msgspec.to_builtins(request)
            return data


def _nested(request: Request) -> dict[str, Any]:
    return {"kind": request.kind, "head": {}, "data": msgspec.to_builtins(request)}


def decode_reply(status: int, data: Any) -> Reply:
    """Return what an answer says, as the machine says it."""
    if status not in {200, 300}:
        return Reply(status, data)
    inner = data.get("action")
    return Reply(
        status,
        promise=_record(data, "promise", PromiseRecord),
        task=_record(data, "task", TaskRecord),
        schedule=_record(data, "schedule", ScheduleRecord),
        action=inner
        and InnerReply(inner["kind"], decode_reply(inner["head"]["status"], inner["data"])),
    )


def _record(data: dict[str, Any], name: str, kind: type[Any]) -> Any:
    return msgspec.convert(data[name], kind) if name in data else None


class WireStore:
    """Asks a gateway, and holds every state against the catalogue of properties."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.profile = client.store.config.profile

    def ask(self, request: Request, now: int) -> Reply:
        """Send one request."""
        before = self.state if is_settling(request) else None
        status, data = self.client.call(request.kind, encode_data(request), at=now)
        reply = decode_reply(status, data)
        state = self.state
        self._check(state, now)
        if before is not None and _has_settled(before, state, request):
            return msgspec.structs.replace(reply, applied=True)
        return reply

    def tick(self, now: int) -> None:
        """Move time."""
        assert self.client.call("debug.tick", {"time": now}).status == 200
        state = self.state
        self._check(state, now)
        assert self.due(now) == [] or not _is_any_effective(state, self.due(now), now)

    @property
    def state(self) -> ServerState:
        """Everything, as stored."""
        found = snapshot(self.client.store)
        return ServerState(
            found.config,
            dict(sorted(found.promises.items())),
            dict(sorted(found.tasks.items())),
            dict(sorted(found.schedules.items())),
            dict(sorted(found.outbox.items())),
        )

    def promise(self, promise_id: str) -> Promise | None:
        return self.state.promises.get(promise_id)

    def task(self, task_id: str) -> Task | None:
        return self.state.tasks.get(task_id)

    def schedule(self, schedule_id: str) -> Schedule | None:
        return self.state.schedules.get(schedule_id)

    def due(self, now: int) -> list[InternalStep]:
        """What may fire."""
        memory = MemoryStore(self.client.store.config)
        memory.state = self.state
        return memory.due(now)

    def _check(self, state: ServerState, now: int) -> None:
        found = check_state(state, now)
        assert not found, "\n".join(map(str, found))


def is_settling(request: Request) -> bool:
    """Whether the request may settle a promise."""
    action = request.action if isinstance(request, TaskFence | TaskFulfill) else request
    return isinstance(action, PromiseSettle)


def _has_settled(before: ServerState, after: ServerState, request: Any) -> bool:
    action = getattr(request, "action", request)
    was, now = before.promises.get(action.id), after.promises.get(action.id)
    return (
        was is not None
        and now is not None
        and was.is_pending
        and not now.is_pending
        and now.state is action.state
    )


def _is_any_effective(state: ServerState, steps: list[InternalStep], now: int) -> bool:
    memory = MemoryStore(state.config)
    memory.state = state
    return any(memory._changes(step, now) for step in steps)


def encode_envelope(request: Request, corr_id: str = "c-1", **head: Any) -> bytes:
    """Return a request as bytes."""
    return json.encode(
        {
            "kind": request.kind,
            "head": {"corrId": corr_id, "version": "2026-04-01"} | head,
            "data": encode_data(request),
        }
    )
