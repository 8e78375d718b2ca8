"""What the machine remembers: promises, tasks, schedules and the outbox, as frozen values."""

from dataclasses import dataclass, field
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from durable.protocol import tags
from durable.protocol.profiles import COMPAT, Profile
from durable.protocol.records import EMPTY, PromiseRecord, ScheduleRecord, TaskRecord, Value
from durable.protocol.states import PromiseState, TaskState


@dataclass(frozen=True, slots=True)
class Config:
    """Profile of the machine, and the time in ms between two dispatches of a task nobody took."""

    profile: Profile = COMPAT
    retry_timeout: int = 5000

    def __post_init__(self) -> None:
        if self.retry_timeout <= 0:  # well_formed_config_retry_positive
            message = f"retry_timeout must be positive, not {self.retry_timeout}"
            raise ValueError(message)


class Promise(Struct, frozen=True):
    """A promise as stored. ``callbacks`` are ids of awaiters, ``listeners`` addresses."""

    id: str
    state: PromiseState
    param: Value
    value: Value
    tags: dict[str, str]
    timeout_at: int
    created_at: int
    settled_at: int | None = None
    callbacks: tuple[str, ...] = ()
    listeners: tuple[str, ...] = ()

    @property
    def is_pending(self) -> bool:
        """Whether the stored state is pending; mind the deadline: see ``projected``."""
        return self.state is PromiseState.PENDING

    @property
    def is_timer(self) -> bool:
        """Whether the deadline resolves it."""
        return tags.is_timer(self.tags)

    @property
    def is_targeted(self) -> bool:
        """Whether it has a task."""
        return tags.is_targeted(self.tags)

    def is_external(self, profile: Profile) -> bool:
        """Whether something outside the awaiting task settles it (protocol.md 3.0, ``ext``)."""
        return is_external(self.tags, profile)

    def is_alive(self, now: int) -> bool:
        """Whether it is pending for an observer at ``now``: the deadline is inclusive."""
        return self.state is PromiseState.PENDING and self.timeout_at > now

    def projected(self, now: int) -> "Promise":
        """Return what an observer at ``now`` sees: from its deadline on, a promise is settled."""
        if self.state is not PromiseState.PENDING or self.timeout_at > now:
            return self
        return replace(
            self, state=deadline_verdict(self.tags), settled_at=self.timeout_at, value=EMPTY
        )

    def record(self, now: int) -> PromiseRecord:
        """Return the projected record that a reply carries."""
        seen = self.projected(now)
        return PromiseRecord(
            id=seen.id,
            state=seen.state,
            param=seen.param,
            value=seen.value,
            tags=seen.tags,
            timeout_at=seen.timeout_at,
            created_at=seen.created_at,
            settled_at=seen.settled_at,
        )


class Task(Struct, frozen=True):
    """A task as stored. ``expires_at`` exists while acquired, ``retry_at`` while pending."""

    id: str
    state: TaskState
    version: int
    resumes: tuple[str, ...] = ()
    pid: str | None = None
    ttl: int | None = None
    expires_at: int | None = None
    retry_at: int | None = None

    def record(self, promise: Promise | None, now: int) -> TaskRecord:
        """Return the projected record: fulfilled once the promise is settled for observers."""
        seen = self.viewed(promise, now)
        return TaskRecord(
            id=seen.id,
            state=seen.state,
            version=seen.version,
            resumes=len(seen.resumes),
            ttl=seen.ttl,
            pid=seen.pid,
        )

    def viewed(self, promise: Promise | None, now: int) -> "Task":
        """Return the task as an observer at ``now`` sees it."""
        if promise is not None and not promise.is_alive(now):
            return self.fulfilled()
        return self

    def acquired(self, *, pid: str, ttl: int, now: int) -> "Task":
        """Hand the task to a worker; the new version is its fencing token."""
        return Task(
            id=self.id,
            state=TaskState.ACQUIRED,
            version=self.version + 1,
            pid=pid,
            ttl=ttl,
            expires_at=now + ttl,
        )

    def pending(self, now: int) -> "Task":
        """Make the task ready for dispatch at once; version and resumes stay."""
        return Task(
            id=self.id,
            state=TaskState.PENDING,
            version=self.version,
            resumes=self.resumes,
            retry_at=now,
        )

    def suspended(self) -> "Task":
        """Park the task."""
        return Task(id=self.id, state=TaskState.SUSPENDED, version=self.version)

    def halted(self) -> "Task":
        """Stop the task; resumes stay."""
        return Task(id=self.id, state=TaskState.HALTED, version=self.version, resumes=self.resumes)

    def fulfilled(self) -> "Task":
        """End the task."""
        return Task(id=self.id, state=TaskState.FULFILLED, version=self.version)

    def resumed_by(self, awaited: str) -> "Task":
        """Remember one more awaited promise that settled."""
        if awaited in self.resumes:
            return self
        return replace(self, resumes=(*self.resumes, awaited))


class Schedule(Struct, frozen=True):
    """A schedule as stored."""

    id: str
    cron: str
    promise_id: str
    promise_timeout: int
    promise_param: Value
    promise_tags: dict[str, str]
    created_at: int
    next_run_at: int
    last_run_at: int | None = None

    def record(self) -> ScheduleRecord:
        """Return the record that a reply carries."""
        return ScheduleRecord(
            id=self.id,
            cron=self.cron,
            promise_id=self.promise_id,
            promise_timeout=self.promise_timeout,
            promise_param=self.promise_param,
            promise_tags=self.promise_tags,
            created_at=self.created_at,
            next_run_at=self.next_run_at,
            last_run_at=self.last_run_at,
        )


class ExecuteKey(NamedTuple):
    """Outbox key of an execute message: one per task, the newest wins."""

    task_id: str


class UnblockKey(NamedTuple):
    """Outbox key of an unblock message."""

    promise_id: str
    address: str


type OutboxKey = ExecuteKey | UnblockKey


class Execute(Struct, frozen=True):
    """A message that asks a worker to take a task at this version."""

    task_id: str
    version: int
    address: str

    @property
    def key(self) -> OutboxKey:
        """Where the message stands in the outbox."""
        return ExecuteKey(self.task_id)


class Unblock(Struct, frozen=True):
    """A message that tells a listener how a promise ended."""

    promise: PromiseRecord
    address: str

    @property
    def key(self) -> OutboxKey:
        """Where the message stands in the outbox."""
        return UnblockKey(self.promise.id, self.address)


type Message = Execute | Unblock


@dataclass(slots=True)
class ServerState:
    """All of it. Only the memory store and the properties hold a whole state."""

    config: Config = field(default_factory=Config)
    promises: dict[str, Promise] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)
    schedules: dict[str, Schedule] = field(default_factory=dict)
    outbox: dict[OutboxKey, Message] = field(default_factory=dict)


def deadline_verdict(promise_tags: tags.Tags) -> PromiseState:
    """Return what the deadline settles a promise to."""
    if tags.is_timer(promise_tags):
        return PromiseState.RESOLVED
    return PromiseState.REJECTED_TIMEDOUT


def is_external(promise_tags: tags.Tags, profile: Profile) -> bool:
    """Whether a promise with these tags is settled from outside (protocol.md 3.0, C1)."""
    return (
        promise_tags.get(tags.EXTERNAL) == tags.TRUE
        or tags.TARGET in promise_tags
        or tags.is_timer(promise_tags)
        or (profile.scope_global_is_external and promise_tags.get(tags.SCOPE) == tags.SCOPE_GLOBAL)
    )
