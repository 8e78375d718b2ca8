"""The state that one transaction sees: what it loaded, with what its steps changed on top."""

from collections.abc import Mapping
from typing import NamedTuple

from durable.machine import dispatch
from durable.machine.effects import (
    DeleteSchedule,
    Effect,
    SendMessage,
    SetPromise,
    SetSchedule,
    SetTask,
)
from durable.machine.env import Env
from durable.machine.internal import InternalStep, LeaseExpiry
from durable.machine.replies import invalid
from durable.machine.state import Config, Message, OutboxKey, Promise, Schedule, Task
from durable.models.history import TaskEvent
from durable.protocol import tags
from durable.protocol.annotations import Annotation, Settler
from durable.protocol.requests import Reply, Request, TaskFence
from durable.protocol.states import TaskState
from durable.store.base import Program
from durable.store.rows import Lineage, Loaded, Steering

_MAX_BACKOFF_MS = 60_000
_FREE_RELEASES = 2
STUCK_RELEASES = 5
"""Releases in a row without progress after which a task is shown as stuck, whatever the reason."""
_PLAIN = Annotation()


class Event(NamedTuple):
    """One row of the history."""

    task_id: str
    event: TaskEvent
    at: int
    version: int
    pid: str | None


class Overlay:
    """A ``machine.env.Reader``. Reading an id that was never loaded is an error of the caller."""

    def __init__(self) -> None:
        """Start empty."""
        self.loaded_promises: dict[str, Promise | None] = {}
        self.loaded_tasks: dict[str, Task | None] = {}
        self.loaded_schedules: dict[str, Schedule | None] = {}
        self.promises: dict[str, Promise | None] = {}
        self.tasks: dict[str, Task | None] = {}
        self.schedules: dict[str, Schedule | None] = {}
        self.steering: dict[str, Steering] = {}
        self.lineages: dict[str, Lineage] = {}
        self.annotations: dict[str, Annotation] = {}
        self.settlers: dict[str, Settler] = {}
        self.messages: dict[OutboxKey, Message] = {}
        self.events: list[Event] = []
        self.progressed: set[str] = set()

    def promise(self, promise_id: str) -> Promise | None:
        """Read a promise."""
        return self.promises[promise_id]

    def task(self, task_id: str) -> Task | None:
        """Read a task."""
        return self.tasks[task_id]

    def schedule(self, schedule_id: str) -> Schedule | None:
        """Read a schedule."""
        return self.schedules[schedule_id]

    def add_absent(self, promise_id: str) -> None:
        """Note that there is no such promise, until it is added."""
        self.loaded_promises[promise_id] = self.promises[promise_id] = None
        self.loaded_tasks[promise_id] = self.tasks[promise_id] = None

    def add(self, row: Loaded) -> None:
        """Add what a row of the load statement holds."""
        promise_id = row.promise.id
        self.loaded_promises[promise_id] = self.promises[promise_id] = row.promise
        self.loaded_tasks[promise_id] = self.tasks[promise_id] = row.task
        self.steering[promise_id] = row.steering
        self.lineages[promise_id] = Lineage(row.origin, None)

    def add_schedule(self, schedule_id: str, schedule: Schedule | None) -> None:
        """Add a schedule, or note its absence."""
        self.loaded_schedules[schedule_id] = self.schedules[schedule_id] = schedule

    def run(self, program: Program, *, now: int, config: Config) -> list[Reply]:
        """Step the requests of a program at ``now``, and apply what each changes."""
        replies = []
        for request, error in zip(program.requests, program.errors, strict=True):
            if error:
                replies.append(invalid(error))
                continue
            env = Env(self, now=now, config=config)
            replies.append(dispatch.answer(env, request))
            self.apply(env.effects, request, now=now, annotations=program.annotations)
        return replies

    def apply(
        self,
        effects: list[Effect],
        cause: Request | InternalStep,
        *,
        now: int,
        annotations: Mapping[str, Annotation],
    ) -> None:
        """Apply the effects of one step at ``now``."""
        for effect in effects:
            match effect:
                case SetPromise(promise):
                    self._set_promise(promise, cause, annotations)
                case SetTask(task):
                    self._set_task(task, cause, now, annotations)
                case SetSchedule(schedule):
                    self.schedules[schedule.id] = schedule
                case DeleteSchedule(schedule_id):
                    self.schedules[schedule_id] = None
                case SendMessage(message):
                    self.messages[message.key] = message
        if effects and isinstance(cause, TaskFence):
            self._note_progress(cause.id)

    def _note_progress(self, task_id: str) -> None:
        """A step of the task was recorded: what it was released for before is history."""
        steering = self.steering[task_id]
        if steering.releases:
            self.steering[task_id] = Steering(steering.not_before)
            self.progressed.add(task_id)

    def _set_promise(
        self, promise: Promise, cause: Request | InternalStep, annotations: Mapping[str, Annotation]
    ) -> None:
        note = annotations.get(promise.id)
        if note is not None and note.settler is not None:
            self.settlers[promise.id] = note.settler
        elif note is not None:
            self.annotations[promise.id] = note
        if self.promises[promise.id] is None:
            self.lineages[promise.id] = self._lineage_of(promise, cause)
        self.promises[promise.id] = promise

    def _lineage_of(self, promise: Promise, cause: Request | InternalStep) -> Lineage:
        if isinstance(cause, TaskFence):
            return Lineage(self.lineages[cause.id].origin, cause.id)
        branch = promise.tags.get(tags.BRANCH, promise.id)
        origin = promise.tags.get(tags.ORIGIN, branch)
        return Lineage(origin, None if branch == promise.id else branch)

    def _set_task(
        self,
        task: Task,
        cause: Request | InternalStep,
        now: int,
        annotations: Mapping[str, Annotation],
    ) -> None:
        before = self.tasks[task.id]
        if event := event_of(before, task, cause, now):
            self.events.append(event)
        steering = self.steering.get(task.id, Steering(task.retry_at or 0))
        stuck = annotations.get(task.id, _PLAIN).stuck
        self.steering[task.id] = steer(steering, before, task, now=now, stuck=stuck)
        self.tasks[task.id] = task


def event_of(
    before: Task | None, task: Task, cause: Request | InternalStep, now: int
) -> Event | None:
    """Return what the history says of a change; None when it says nothing."""
    was = TaskState.PENDING if before is None else before.state
    pid = task.pid or (before.pid if before else None)
    match was, task.state:
        case TaskState.PENDING, TaskState.ACQUIRED:
            kind = TaskEvent.ACQUIRED
        case TaskState.ACQUIRED, TaskState.SUSPENDED:
            kind = TaskEvent.SUSPENDED
        case TaskState.SUSPENDED, TaskState.PENDING:
            kind = TaskEvent.RESUMED
        case TaskState.ACQUIRED, TaskState.PENDING:
            expired = isinstance(cause, LeaseExpiry)
            kind = TaskEvent.LEASE_EXPIRED if expired else TaskEvent.RELEASED
        case TaskState.HALTED, TaskState.PENDING:
            kind = TaskEvent.CONTINUED
        case TaskState.HALTED, TaskState.HALTED:  # woken while halted
            return None
        case _, TaskState.HALTED:
            kind = TaskEvent.HALTED
        case _:
            return None
    return Event(task.id, kind, now, task.version, pid)


def steer(
    steering: Steering, before: Task | None, task: Task, *, now: int, stuck: str | None
) -> Steering:
    """Return when workers may take the task: later each time it comes back without progress."""
    was = None if before is None else before.state
    match was, task.state:
        case TaskState.ACQUIRED, TaskState.PENDING:
            releases = steering.releases + 1
            not_before = now + backoff_ms(releases, is_stuck=stuck is not None)
            if stuck is None and releases >= STUCK_RELEASES:
                stuck = f"given back {releases} times in a row without progress"
            return Steering(not_before, releases, stuck)
        case ((TaskState.SUSPENDED | TaskState.HALTED), TaskState.PENDING):
            return Steering(now)
        case _, (TaskState.SUSPENDED | TaskState.FULFILLED):
            return Steering()
    return steering


def backoff_ms(releases: int, *, is_stuck: bool) -> int:
    """Return how long a task rests after so many releases in a row: none, then 1 s doubling."""
    free = 0 if is_stuck else _FREE_RELEASES
    if releases <= free:
        return 0
    return min(1000 << min(releases - free - 1, 10), _MAX_BACKOFF_MS)
