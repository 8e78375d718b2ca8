"""One pass over a claimed task: replays its function, and goes on from where that ends."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from durable.client.base import Claim, Sender
from durable.protocol import tags
from durable.protocol.addresses import group_of
from durable.protocol.annotations import Annotation
from durable.protocol.requests import (
    ALREADY_SETTLED,
    PromiseCreate,
    PromiseRegisterCallback,
    PromiseSettle,
    TaskFulfill,
    TaskRelease,
    TaskSuspend,
)
from durable.protocol.states import PromiseState
from durable.workflow import codec, failures, ids
from durable.workflow.calls import Place
from durable.workflow.commands import LocalCall, Operation
from durable.workflow.config import Config, OnRunning, ignore_replay, ignore_running
from durable.workflow.driver import Abandoned, InThread
from durable.workflow.errors import DecodingError, Suspended, UnknownFunctionError
from durable.workflow.frame import Frame
from durable.workflow.functions import Function
from durable.workflow.journal import Journal, check_reply
from durable.workflow.outcome import (
    FULFILLED,
    LOST,
    SUSPENDED,
    Ending,
    Halt,
    Outcome,
    released,
    stuck,
)
from durable.workflow.performer import Performer
from durable.workflow.registry import Registry
from durable.workflow.retry import DEFAULT, NEVER, RetryPolicy
from durable.workflow.slots import Floor, Slot
from durable.workflow.steps import Steps, Verdict

logger = logging.getLogger(__name__)


class Execution:
    """One pass. ``await run()`` once; ``stop`` and ``lose`` end it from any thread."""

    def __init__(
        self,
        sender: Sender,
        registry: Registry,
        claim: Claim,
        *,
        in_thread: InThread,
        slots: asyncio.Semaphore,
        config: Config | None = None,
        on_running: OnRunning = ignore_running,
        on_replayed: Callable[[float], None] = ignore_replay,
    ) -> None:
        """Prepare a pass over a claim; nothing runs before ``run``.

        in_thread: runs plain functions, and generators between two yields.
        slots: bounds how many steps run at once; passes of a process share it.
        on_running: told on the event loop what begins and ends to run.
        on_replayed: told how long (seconds) the pass replayed before it did something new.
        """
        self._claim = claim
        self._config = config or Config()
        self._journal = Journal(sender, claim, on_replayed)
        self._wake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._outcome: Outcome | None = None
        self._tasks: dict[asyncio.Task[Any], Frame | None] = {}
        self.registry = registry
        self.floor = Floor(self._wake.set)
        self._performer = Performer(self._journal, self.floor, self, self._config.clock)
        self._steps = Steps(
            self._journal,
            self.floor,
            self._performer,
            self._config,
            perform=self._perform,
            in_thread=in_thread,
            slots=slots,
            on_running=on_running,
        )

    async def run(self) -> Outcome:
        """Run the pass to its end. When cancelled it leaves the task as it is, still held."""
        self._loop = asyncio.get_running_loop()
        try:
            if self._outcome is None:
                self._spawn(self._run_root())
            while (outcome := self._outcome) is None:
                await self._wake.wait()
                self._wake.clear()
                if self.floor.is_still and not self.floor.is_closed:
                    await self._suspend()
            return await self._finish(outcome)
        finally:
            self.floor.close()
            for task in self._tasks:
                task.cancel()

    def stop(self, reason: str) -> None:
        """End the pass soon: steps that run are finished and recorded, then it is given back."""
        self._end_from_outside(released(reason))

    def lose(self) -> None:
        """End the pass at once and quietly: somebody else holds the task."""
        self._end_from_outside(LOST)

    def _end_from_outside(self, outcome: Outcome) -> None:
        if self._loop is None:
            self._end(outcome)
        else:
            self._loop.call_soon_threadsafe(self._end, outcome)

    def frame_of(self, task: asyncio.Task[Any] | None) -> Frame | None:
        """Return the function that a task of asyncio runs."""
        return None if task is None else self._tasks.get(task)

    def last_recorded(self, promise_id: str) -> int:
        """Return the highest number that an earlier pass gave to a call below a promise."""
        return self._journal.last_number(promise_id)

    def run_step(self, child: Frame, call: LocalCall, slot: Slot, policy: RetryPolicy) -> None:
        """Run a local call beside the function that makes it."""
        self._spawn(self._steps.run_step(child, call, slot, policy), child)

    async def write_creates(self, frame: Frame, creates: list[tuple[Slot, PromiseCreate]]) -> None:
        """Create promises in one program. A caller that stops waiting does not stop the write."""
        await asyncio.shield(self._spawn(self._write_creates(frame, creates)))
        self.floor.check()

    async def _write_creates(self, frame: Frame, creates: list[tuple[Slot, PromiseCreate]]) -> None:
        records = await self._journal.write(frame, *(create for _, create in creates))
        for (slot, _), record in zip(creates, records, strict=True):
            self.floor.settle(slot, record)

    async def _perform(self, frame: Frame, operation: Operation) -> Any:
        try:
            return await self._performer.perform(frame, operation)
        except Halt as halt:
            self._end(halt.outcome)
            raise Suspended from None

    def _spawn(
        self, coroutine: Coroutine[Any, Any, None], frame: Frame | None = None
    ) -> asyncio.Task[None]:
        self.floor.enter()
        task = asyncio.create_task(self._guard(coroutine))
        self._tasks[task] = frame
        task.add_done_callback(self._tasks.pop)
        return task

    async def _guard(self, coroutine: Coroutine[Any, Any, None]) -> None:
        try:
            await coroutine
        except Suspended:
            pass
        except Abandoned:
            logger.error(  # noqa: TRY400 - the traceback would be the engine's
                "a function of %r goes on although its pass is over; it is abandoned: "
                "let Suspended pass, and never catch BaseException",
                self._claim.task.id,
                extra={"action": "function_abandoned", "promise_id": self._claim.task.id},
            )
        except Halt as halt:
            self._end(halt.outcome)
        except Exception as error:
            logger.exception(
                "a pass failed",
                extra={"action": "pass_failed", "promise_id": self._claim.task.id},
            )
            self._end(stuck(f"the engine failed: {type(error).__name__}: {error}"))
        finally:
            self.floor.leave()

    async def _run_root(self) -> None:
        claim = self._claim
        try:
            what = f"the param of {claim.promise.id!r}"
            invocation = codec.decode_invocation(claim.promise.param, what)
            function = self.registry.get(invocation.name, invocation.version)
        except (DecodingError, UnknownFunctionError) as error:
            raise Halt(stuck(str(error))) from error
        frame = self._root(function)
        task = asyncio.current_task()
        if task is not None:
            self._tasks[task] = frame
        args, kwargs = function.bind(invocation.args, invocation.kwargs)
        try:
            function.check(args, kwargs)
        except TypeError as error:
            verdict = Verdict(PromiseState.REJECTED, failures.encode_error(error))
        else:
            call = LocalCall(function, args, kwargs)
            policy = function.retry or (NEVER if function.traits.takes_context else DEFAULT)
            verdict = await self._steps.decide(frame, call, policy)
        await self._fulfill(frame, verdict)

    def _root(self, function: Function) -> Frame:
        promise = self._claim.promise
        origin = promise.tags.get(tags.ORIGIN) or ids.origin_of(promise.id)
        parent = promise.tags.get(tags.PARENT) or promise.id
        return Frame(
            scope=self,
            place=Place(promise.id, parent, promise.id, origin),
            function=function,
            timeout_at=promise.timeout_at,
            version=function.version,
            tags=promise.tags,
            group=group_of(promise.tags.get(tags.TARGET, "")) or "default",
        )

    async def _fulfill(self, frame: Frame, verdict: Verdict) -> None:
        task = self._claim.task
        settle = PromiseSettle(task.id, verdict.state, verdict.value)
        notes = {task.id: frame.note()} if frame.is_leaf else None
        [reply] = await self._journal.submit(
            TaskFulfill(task.id, task.version, settle), notes=notes
        )
        check_reply(reply, "task.fulfill")
        self._end(FULFILLED)

    async def _suspend(self) -> None:
        """Park the task until something it waits for is settled, or go on with what is by now."""
        task = self._claim.task
        awaited = self.floor.awaited()
        if not awaited:
            self._end(stuck("every function of this pass waits for another one of it"))
            return
        actions = tuple(PromiseRegisterCallback(promise_id, task.id) for promise_id in awaited)
        try:
            [reply] = await self._journal.submit(TaskSuspend(task.id, task.version, actions))
            if reply.status == ALREADY_SETTLED:
                await self._take_settled()
                return
            check_reply(reply, "task.suspend")
        except Halt as halt:
            self._end(halt.outcome)
        else:
            self._end(SUSPENDED)

    async def _take_settled(self) -> None:
        parked = self.floor.parked()
        records = await self._journal.fetch(list(parked))
        if not any(not record.is_pending for record in records):
            raise Halt(stuck("the engine says that a promise is settled, and shows none"))
        for record in records:
            self.floor.settle(parked[record.id], record)
        if self.floor.is_still:
            self._wake.set()

    def _end(self, outcome: Outcome) -> None:
        """Settle how the pass ends. The first word counts, but what is durable beats a release."""
        so_far = self._outcome
        if so_far is None or (
            so_far.ending is Ending.RELEASED and outcome.ending is not Ending.RELEASED
        ):
            self._outcome = outcome
            self.floor.close()
            self._wake.set()
            if outcome is LOST:
                for task in self._tasks:
                    task.cancel()

    async def _finish(self, outcome: Outcome) -> Outcome:
        """Unwind the functions. Before a release, steps that run are let finish and be recorded."""
        if outcome.ending is Ending.RELEASED:
            while self._tasks:
                await asyncio.wait(self._tasks)
            outcome = self._outcome or outcome
        if outcome.ending is Ending.RELEASED:
            return await self._release(outcome)
        await asyncio.sleep(0)  # all that most of them need
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=self._config.grace)
            if late:
                logger.error(
                    "functions of %r do not unwind; they are cancelled",
                    self._claim.task.id,
                    extra={"action": "unwinding_cut", "promise_id": self._claim.task.id},
                )
        return outcome

    async def _release(self, outcome: Outcome) -> Outcome:
        task = self._claim.task
        notes = {task.id: Annotation(stuck=outcome.reason if outcome.stuck else None)}
        try:
            [reply] = await self._journal.submit(TaskRelease(task.id, task.version), notes=notes)
            check_reply(reply, "task.release")
        except Halt as halt:
            if halt.outcome is LOST:
                return LOST
            logger.warning(
                "a task could not be released; its lease will run out",
                extra={"action": "release_failed", "promise_id": task.id},
            )
        return outcome
