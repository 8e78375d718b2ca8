"""An engine for these tests: the machine in memory behind the sender's port, and a manual clock."""

import asyncio
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import time_machine
from msgspec.structs import asdict, replace

from durable.client.base import Annotations, Claim
from durable.exceptions import PromiseNotFoundError
from durable.machine.memory import MemoryStore
from durable.protocol import tags
from durable.protocol.addresses import group_of
from durable.protocol.annotations import Annotation
from durable.protocol.records import PromiseRecord
from durable.protocol.requests import (
    PromiseGet,
    Reply,
    Request,
    TaskAcquire,
    TaskFence,
    TaskHeartbeat,
    TaskRef,
)
from durable.protocol.states import PromiseState, TaskState
from durable.protocol.validation import MAX_INSTANT
from durable.workflow import codec, promises
from durable.workflow.config import Config, Running
from durable.workflow.connection import using
from durable.workflow.execution import Execution
from durable.workflow.outcome import Outcome
from durable.workflow.registry import Registry
from durable.workflow.starting import Starter

EPOCH = 1_800_000_000_000
LEASE = 15_000


class CrashError(Exception):
    """The process is gone."""


class Clock:
    """Epoch ms that only tests move."""

    def __init__(self, now: int = EPOCH) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += round(seconds * 1000)


class MemorySender:
    """A ``Sender`` over the oracle. ``crash_at`` ends the process around its n-th program."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.store = MemoryStore()
        self.programs: list[tuple[Request, ...]] = []
        self.notes: dict[str, Annotation] = {}
        self.crash_at: tuple[int, str] | None = None
        self.is_crashed = False
        self.is_outside = False
        self.refuse: Callable[[Request], Reply | None] | None = None
        self._owners: dict[str, str] = {}
        self._changed = threading.Condition(threading.RLock())

    def send(self, *requests: Request, annotations: Annotations | None = None) -> list[Reply]:
        with self._changed:
            if self.is_outside:
                return self._run(*requests)
            if self.is_crashed:
                raise CrashError
            if not all(isinstance(request, PromiseGet) for request in requests):
                self.programs.append(requests)
                if self.crash_at == (len(self.programs), "before"):
                    self.is_crashed = True
                    raise CrashError
            replies = self._run(*requests)
            for promise_id, note in (annotations or {}).items():
                given = {k: v for k, v in asdict(note).items() if v is not None}
                self.notes[promise_id] = replace(self.notes.get(promise_id, Annotation()), **given)
            if self.crash_at == (len(self.programs), "after"):
                self.is_crashed = True
                raise CrashError
            return replies

    def _run(self, *requests: Request) -> list[Reply]:
        replies = []
        for request in requests:
            refused = self.refuse(request) if self.refuse else None
            if refused is not None:
                replies.append(refused)
                continue
            before = set(self.store.state.promises)
            replies += self.store.run(request, now=self.clock.now)
            if isinstance(request, TaskFence):
                for promise_id in set(self.store.state.promises) - before:
                    self._owners[promise_id] = request.id
        self.store.tick(self.clock.now)
        self._changed.notify_all()
        return replies

    def ask(
        self, *requests: Request, annotations: Annotations | None = None
    ) -> asyncio.Future[list[Reply]]:
        future: asyncio.Future[list[Reply]] = asyncio.get_running_loop().create_future()
        try:
            future.set_result(self.send(*requests, annotations=annotations))
        except CrashError as error:
            future.set_exception(error)
        return future

    def claim(self, groups: Collection[str], *, pid: str, ttl: int, limit: int) -> list[Claim]:
        with self._changed:
            self.store.tick(self.clock.now)
            due = [
                task
                for task in self.store.state.tasks.values()
                if task.state is TaskState.PENDING
                and group_of(self.store.state.promises[task.id].tags[tags.TARGET]) in groups
                and self.store.state.promises[task.id].is_alive(self.clock.now)
            ]
            claims = []
            for task in due[:limit]:
                acquire = TaskAcquire(task.id, task.version, pid, ttl)
                [reply] = self.store.run(acquire, now=self.clock.now)
                history = tuple(
                    self.record(promise_id)
                    for promise_id, owner in self._owners.items()
                    if owner == task.id
                )
                claims.append(Claim(reply.task, reply.promise, history))
            return claims

    def heartbeat(self, pid: str, held: Mapping[str, int]) -> set[str]:
        beat = TaskHeartbeat(pid, tuple(TaskRef(*ref) for ref in held.items()))
        self.store.run(beat, now=self.clock.now)
        return {
            task_id
            for task_id, version in held.items()
            if self.store.state.tasks[task_id].state is not TaskState.ACQUIRED
            or self.store.state.tasks[task_id].version != version
        }

    def descendants(self, promise_id: str) -> list[PromiseRecord]:
        children = defaultdict(list)
        for promise in self.store.state.promises.values():
            parent = promise.tags.get(tags.PARENT)
            if parent != promise.id:
                children[parent].append(promise.id)
        below, pending = [], [promise_id]
        while pending:
            found = children.pop(pending.pop(), [])
            below += found
            pending += found
        return [self.record(one) for one in below]

    def wait(self, promise_id: str, timeout: float | None = None) -> PromiseRecord | None:
        with self._changed:
            if promise_id not in self.store.state.promises:
                raise PromiseNotFoundError(promise_id)
            self._changed.wait_for(lambda: not self.record(promise_id).is_pending, timeout)
            record = self.record(promise_id)
        return None if record.is_pending else record

    def record(self, promise_id: str) -> PromiseRecord:
        return self.store.state.promises[promise_id].record(self.clock.now)


class Line(NamedTuple):
    """One promise as it must be in both spellings, and after any crash."""

    id: str
    state: str
    tags: Mapping[str, str]
    param: Any
    value: Any


class World:
    """One engine, one group of workers that run one pass after the other, and a script of answers.

    ``answers`` maps ids of latent promises to calls that settle them, once nothing else can move.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        answers: Mapping[str, Callable[[str], object]] | None = None,
        patience: float = 30.0,
        in_thread: Callable[..., Any] | None = None,
        steps: int = 8,
    ) -> None:
        self.registry = registry
        self.clock = Clock()
        self.sender = MemorySender(self.clock)
        self.answers = dict(answers or {})
        self.answer_all: Callable[[str], object] | None = None
        self.outcomes: list[tuple[str, Outcome]] = []
        self.runs: list[Running] = []
        self.ends: list[Running] = []
        self.at_once = 0
        self.pauses: list[float] = []
        self._held: dict[str, int] = {}
        self.replays: list[float] = []
        self._steps = steps
        self._in_thread = in_thread or run_inline
        self._config = Config(clock=self.clock, sleep=self._sleep, patience=patience, grace=0.5)

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        end = self.clock.now + round(seconds * 1000)
        while self.clock.now < end:
            self.clock.now = min(end, self.clock.now + LEASE // 3)
            self.sender.heartbeat("w", self._held)

    def _on_running(self, running: Running, is_running: bool) -> None:
        if not is_running:
            self.ends.append(running)
            return
        self.runs.append(running)
        self.at_once = max(self.at_once, len(self.runs) - len(self.ends))
        promise = self.sender.store.promise(running.id)
        assert promise is None or promise.is_pending, f"{running.id} is recorded and runs again"

    def start(
        self,
        promise_id: str,
        function: str,
        *args: Any,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        """Start by name, as somebody who does not know the function."""
        moment = self.clock.now / 1000
        with using(self.sender), time_machine.travel(moment, tick=False):
            Starter(**options).start(promise_id, function, *args, **(kwargs or {}))

    def execution(self, claim: Claim) -> Execution:
        return Execution(
            self.sender,
            self.registry,
            claim,
            in_thread=self._in_thread,
            slots=asyncio.Semaphore(self._steps),
            on_replayed=self.replays.append,
            config=self._config,
            on_running=self._on_running,
        )

    def claim(self) -> Claim | None:
        claims = self.sender.claim(["default", "other"], pid="w", ttl=LEASE, limit=1)
        return claims[0] if claims else None

    async def step(self) -> Outcome | None:
        """Run one pass of whatever is due."""
        claim = self.claim()
        if claim is None:
            return None
        self._held[claim.task.id] = claim.task.version
        outcome = await self.execution(claim).run()
        self._held.pop(claim.task.id, None)
        self.outcomes.append((claim.task.id, outcome))
        return outcome

    async def drain(self) -> None:
        """Run passes, give answers and move the clock, until nothing is left to do."""
        for _ in range(500):
            if self.sender.is_crashed:
                return
            outcome = await self.step()
            if outcome is not None:
                if outcome.stuck:
                    return
                continue
            if not self._answer() and not self._advance():
                return
        raise AssertionError("no end of it")

    def _answer(self) -> bool:
        if self.answer_all is not None:
            for promise in self.sender.store.state.promises.values():
                if promise.tags.get(tags.EXTERNAL) == tags.TRUE:
                    self.answers[promise.id] = self.answer_all
        for promise_id, settle in list(self.answers.items()):
            promise = self.sender.store.promise(promise_id)
            if promise is not None and promise.is_pending:
                del self.answers[promise_id]
                self.sender.is_outside = True
                with using(self.sender):
                    settle(promise_id)
                self.sender.is_outside = False
                return True
        return False

    def _advance(self) -> bool:
        """Move the clock to the next deadline of anything external, or end of a lease."""
        state = self.sender.store.state
        profile = state.config.profile
        instants = [
            promise.timeout_at
            for promise in state.promises.values()
            if promise.is_pending and promise.is_external(profile)
        ]
        instants += [task.expires_at for task in state.tasks.values() if task.expires_at]
        coming = [instant for instant in instants if self.clock.now < instant < MAX_INSTANT]
        if not coming:
            return False
        self.clock.now = min(coming)
        return True

    def restart(self) -> None:
        """A new process after a crash."""
        self.sender.is_crashed = False
        self.sender.crash_at = None

    def line(self, promise_id: str) -> Line:
        record = self.sender.record(promise_id)
        return Line(
            record.id,
            record.state.value,
            dict(record.tags),
            codec.decode(record.param, "param"),
            codec.decode(record.value, "value"),
        )

    def trace(self) -> list[Line]:
        return [self.line(promise_id) for promise_id in sorted(self.sender.store.state.promises)]

    def state(self, promise_id: str) -> PromiseState:
        return self.sender.record(promise_id).state

    def value(self, promise_id: str) -> Any:
        """The value of a resolved promise, or the error object of a rejected one."""
        return self.line(promise_id).value


async def run_inline(call: Callable[[], Any]) -> Any:
    """As a thread would, without one."""
    return call()


def resolve(value: Any) -> Callable[[str], object]:
    return lambda promise_id: promises.resolve(promise_id, value)


def reject(error: Any, **extra: Any) -> Callable[[str], object]:
    return lambda promise_id: promises.reject(promise_id, error, extra)
