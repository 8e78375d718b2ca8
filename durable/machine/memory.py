"""The machine over four dicts: oracle of the tests, and the shape of every other store."""

from collections.abc import Iterator

from durable.machine import dispatch, internal
from durable.machine.effects import (
    DeleteSchedule,
    Effect,
    SendMessage,
    SetPromise,
    SetSchedule,
    SetTask,
)
from durable.machine.env import Env
from durable.machine.state import Config, Promise, Schedule, ServerState, Task
from durable.protocol.requests import Reply, Request
from durable.protocol.states import TaskState


class MemoryStore:
    """Runs steps against a ``ServerState``. Not for production: nothing outlives the process."""

    def __init__(self, config: Config | None = None) -> None:
        """Start empty."""
        self.state = ServerState(config or Config())

    def promise(self, promise_id: str) -> Promise | None:
        """Read one promise as stored."""
        return self.state.promises.get(promise_id)

    def task(self, task_id: str) -> Task | None:
        """Read one task as stored."""
        return self.state.tasks.get(task_id)

    def schedule(self, schedule_id: str) -> Schedule | None:
        """Read one schedule."""
        return self.state.schedules.get(schedule_id)

    def run(self, *requests: Request, now: int) -> list[Reply]:
        """Run a program of requests in order at ``now`` (epoch ms)."""
        replies = []
        for request in requests:
            env = self._env(now)
            replies.append(dispatch.step(env, request))
            self.apply(env.effects)
        return replies

    def fire(self, step: internal.InternalStep, *, now: int) -> None:
        """Fire one internal step at ``now``; one that is not due changes nothing."""
        env = self._env(now)
        dispatch.fire(env, step)
        self.apply(env.effects)

    def _env(self, now: int) -> Env:
        return Env(self, now=now, config=self.state.config)

    def apply(self, effects: list[Effect]) -> None:
        """Apply what a step changes."""
        state = self.state
        for effect in effects:
            match effect:
                case SetPromise(promise):
                    state.promises[promise.id] = promise
                case SetTask(task):
                    state.tasks[task.id] = task
                case SetSchedule(schedule):
                    state.schedules[schedule.id] = schedule
                case DeleteSchedule(schedule_id):
                    del state.schedules[schedule_id]
                case SendMessage(message):
                    state.outbox[message.key] = message

    def due(self, now: int) -> list[internal.InternalStep]:
        """Return the internal steps that may fire at ``now``.

        Timeouts, drains, leases, schedules, retries: the order of protocol.md 1.6 for a tick.
        """
        return [*self._due_promises(now), *self._drains(), *self._due_tasks(now)]

    def _due_promises(self, now: int) -> Iterator[internal.InternalStep]:
        profile = self.state.config.profile
        for promise in self.state.promises.values():
            if promise.is_pending and promise.timeout_at <= now and promise.is_external(profile):
                yield internal.PromiseTimeout(promise.id)

    def _drains(self) -> Iterator[internal.InternalStep]:
        for promise in self.state.promises.values():
            if not promise.is_pending:
                for address in promise.listeners:
                    yield internal.ListenerDrain(promise.id, address)
                for awaiter in promise.callbacks:
                    yield internal.CallbackDrain(promise.id, awaiter)

    def _due_tasks(self, now: int) -> Iterator[internal.InternalStep]:
        tasks = self.state.tasks.values()
        for task in tasks:
            if task.state is TaskState.ACQUIRED and internal.is_due(task.expires_at, now):
                yield internal.LeaseExpiry(task.id)
        for schedule in self.state.schedules.values():
            if schedule.next_run_at <= now:
                yield internal.ScheduleFire(schedule.id)
        for task in tasks:
            if task.state is TaskState.PENDING and internal.is_due(task.retry_at, now):
                yield internal.RetryDispatch(task.id)

    def tick(self, now: int) -> None:
        """Fire whatever is due at ``now`` until nothing is; ends because retries move on."""
        while steps := [step for step in self.due(now) if self._changes(step, now)]:
            for step in steps:
                self.fire(step, now=now)

    def _changes(self, step: internal.InternalStep, now: int) -> bool:
        env = self._env(now)
        dispatch.fire(env, step)
        return bool(env.effects)
