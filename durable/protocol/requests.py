"""One struct per request kind (protocol.md 3.1), and the reply they all share."""

from typing import ClassVar

from msgspec import Struct, field

from durable.protocol.records import EMPTY, PromiseRecord, ScheduleRecord, TaskRecord, Value
from durable.protocol.states import PromiseState


class Request(Struct, frozen=True, rename="camel"):
    """Base of all requests; ``kind`` is the name on the wire."""

    kind: ClassVar[str]


class PromiseGet(Request, frozen=True):
    """Read one promise."""

    kind: ClassVar[str] = "promise.get"
    id: str


class PromiseCreate(Request, frozen=True):
    """Create a promise unless its id is taken; ``timeout_at`` is epoch ms."""

    kind: ClassVar[str] = "promise.create"
    id: str
    timeout_at: int
    param: Value = EMPTY
    tags: dict[str, str] = field(default_factory=dict)


class PromiseSettle(Request, frozen=True):
    """Settle a promise that is still pending."""

    kind: ClassVar[str] = "promise.settle"
    id: str
    state: PromiseState
    value: Value = EMPTY


class PromiseRegisterCallback(Request, frozen=True):
    """Resume the task of ``awaiter`` when ``awaited`` settles."""

    kind: ClassVar[str] = "promise.register_callback"
    awaited: str
    awaiter: str


class PromiseRegisterListener(Request, frozen=True):
    """Send an unblock message to ``address`` when ``awaited`` settles."""

    kind: ClassVar[str] = "promise.register_listener"
    awaited: str
    address: str


class TaskGet(Request, frozen=True):
    """Read one task."""

    kind: ClassVar[str] = "task.get"
    id: str


class TaskCreate(Request, frozen=True):
    """Create a targeted promise and acquire its task at once; ``ttl`` is a lease in ms."""

    kind: ClassVar[str] = "task.create"
    pid: str
    ttl: int
    action: PromiseCreate


class TaskAcquire(Request, frozen=True):
    """Take a pending task; ``version`` is the one its execute message carried."""

    kind: ClassVar[str] = "task.acquire"
    id: str
    version: int
    pid: str
    ttl: int


class TaskFence(Request, frozen=True):
    """Create or settle another promise under the lease of this task."""

    kind: ClassVar[str] = "task.fence"
    id: str
    version: int
    action: PromiseCreate | PromiseSettle


class TaskRef(Struct, frozen=True):
    """A task and the version its holder was granted."""

    id: str
    version: int


class TaskHeartbeat(Request, frozen=True):
    """Extend the leases of a process."""

    kind: ClassVar[str] = "task.heartbeat"
    pid: str
    tasks: tuple[TaskRef, ...]


class TaskSuspend(Request, frozen=True):
    """Park a task until one of the awaited promises settles."""

    kind: ClassVar[str] = "task.suspend"
    id: str
    version: int
    actions: tuple[PromiseRegisterCallback, ...]


class TaskFulfill(Request, frozen=True):
    """Settle the task's own promise and end the task."""

    kind: ClassVar[str] = "task.fulfill"
    id: str
    version: int
    action: PromiseSettle


class TaskRelease(Request, frozen=True):
    """Give a task back; it is dispatched again at once."""

    kind: ClassVar[str] = "task.release"
    id: str
    version: int


class TaskHalt(Request, frozen=True):
    """Stop a task from being dispatched until it is continued."""

    kind: ClassVar[str] = "task.halt"
    id: str


class TaskContinue(Request, frozen=True):
    """Let a halted task be dispatched again."""

    kind: ClassVar[str] = "task.continue"
    id: str


class ScheduleGet(Request, frozen=True):
    """Read one schedule."""

    kind: ClassVar[str] = "schedule.get"
    id: str


class ScheduleCreate(Request, frozen=True):
    """Create a promise at every instant of a cron expression; ``promise_timeout`` is in ms."""

    kind: ClassVar[str] = "schedule.create"
    id: str
    cron: str
    promise_id: str
    promise_timeout: int
    promise_param: Value = EMPTY
    promise_tags: dict[str, str] = field(default_factory=dict)


class ScheduleDelete(Request, frozen=True):
    """Delete a schedule; what it fired stays."""

    kind: ClassVar[str] = "schedule.delete"
    id: str


REQUESTS: dict[str, type[Request]] = {
    request.kind: request
    for request in (
        PromiseGet,
        PromiseCreate,
        PromiseSettle,
        PromiseRegisterCallback,
        PromiseRegisterListener,
        TaskGet,
        TaskCreate,
        TaskAcquire,
        TaskFence,
        TaskHeartbeat,
        TaskSuspend,
        TaskFulfill,
        TaskRelease,
        TaskHalt,
        TaskContinue,
        ScheduleGet,
        ScheduleCreate,
        ScheduleDelete,
    )
}


class InnerReply(Struct, frozen=True):
    """What the request inside a fence answered."""

    kind: str
    reply: "Reply"


class Reply(Struct, frozen=True):
    """Answer to one request: an HTTP-like status with records, or with the text of an error.

    ``applied`` and ``preload`` are no part of the machine's answer on the wire: ``applied`` is true
    only for the step that settled a promise, ``preload`` is filled in by the store.
    """

    status: int
    error: str = ""
    promise: PromiseRecord | None = None
    task: TaskRecord | None = None
    schedule: ScheduleRecord | None = None
    action: InnerReply | None = None
    preload: tuple[PromiseRecord, ...] = ()
    applied: bool = False

    @property
    def is_ok(self) -> bool:
        """True for 200; a 300 of task.suspend is not."""
        return self.status == OK


OK = 200
ALREADY_SETTLED = 300
INVALID = 400
NOT_FOUND = 404
CONFLICT = 409
UNSUITABLE = 422
