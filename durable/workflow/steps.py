"""Runs functions: attempts, pauses between them, and the one write with which a step ends."""

import asyncio
import logging
import math
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, NamedTuple

from durable.protocol.records import PromiseRecord, Value
from durable.protocol.requests import PromiseSettle
from durable.protocol.states import PromiseState
from durable.workflow import calls, codec, failures, ids, transactions
from durable.workflow.calls import Call, Kind, Place
from durable.workflow.commands import LocalCall, Operation
from durable.workflow.config import Config, OnRunning, Running
from durable.workflow.context import Context
from durable.workflow.driver import Abandoned, InThread, drive, run_in_thread
from durable.workflow.errors import (
    DecodingError,
    EncodingError,
    MisplacedCommandError,
    PromiseTimeoutError,
    Suspended,
)
from durable.workflow.frame import Frame
from durable.workflow.functions import Style
from durable.workflow.instants import to_text
from durable.workflow.journal import Action, Journal, Program
from durable.workflow.outcome import Halt
from durable.workflow.performer import Performer
from durable.workflow.retry import RetryPolicy
from durable.workflow.slots import Floor, Slot

logger = logging.getLogger(__name__)

_OURS = (Suspended, Abandoned, Halt, GeneratorExit, KeyboardInterrupt)


class Verdict(NamedTuple):
    """What a function's promise is to be settled to."""

    state: PromiseState
    value: Value


class Steps:
    """Runs the functions of one pass."""

    def __init__(
        self,
        journal: Journal,
        floor: Floor,
        performer: Performer,
        config: Config,
        *,
        perform: Callable[[Frame, Operation], Coroutine[Any, Any, Any]],
        in_thread: InThread,
        slots: asyncio.Semaphore,
        on_running: OnRunning,
    ) -> None:
        """``slots`` bounds the steps that run at once; a function that waits holds none."""
        self._journal = journal
        self._floor = floor
        self._performer = performer
        self._config = config
        self._perform = perform
        self._in_thread = in_thread
        self._slots = slots
        self._on_running = on_running

    async def run_step(
        self, frame: Frame, call: LocalCall, slot: Slot, policy: RetryPolicy
    ) -> None:
        """Run a local call. Its result is durable before anybody sees it."""
        settled = await self._run_to_end(frame, call, policy)
        if isinstance(settled, Verdict):
            program = self._ending(frame, settled)
            replies = await self._journal.submit(*program.requests, notes=program.notes)
            settled = program.read(replies)[-1]
        self._floor.settle(slot, settled)

    async def decide(self, frame: Frame, call: LocalCall, policy: RetryPolicy) -> Verdict:
        """Run the function behind a task, up to what its promise is to be settled to."""
        settled = await self._run_to_end(frame, call, policy)
        assert isinstance(settled, Verdict)  # noqa: S101 - no task is a transaction
        return settled

    async def _run_to_end(
        self, frame: Frame, call: LocalCall, policy: RetryPolicy
    ) -> Verdict | PromiseRecord:
        """Run a function, again if the policy says so, until it is clear what became of it."""
        await self._resume_attempts(frame)
        while True:
            stop = await self._start(frame)
            try:
                settled = await self._attempt(frame, call, stop)
            except _OURS:
                raise
            except BaseException as error:  # noqa: BLE001 - whatever the function raises
                _raise_if_cancelled(error)
                pause = self._pause_after(frame, policy, error)
                if pause is not None:
                    await self._hold(frame, pause, error)
                    frame.attempt += 1
                    continue
                settled = Verdict(PromiseState.REJECTED, failures.encode_error(error))
            self._journal.check_exhausted(frame)
            return settled

    async def _attempt(
        self, frame: Frame, call: LocalCall, stop: Callable[[], None]
    ) -> Verdict | PromiseRecord:
        try:
            if call.is_transactional:
                return await self._run_in_transaction(frame, call)
            value = await self._run(frame, call)
        finally:
            stop()
        what = f"the result of {frame.function.name!r} ({frame.id})"
        return Verdict(PromiseState.RESOLVED, codec.encode(value, what))

    async def _start(self, frame: Frame) -> Callable[[], None]:
        """Take a slot and show that the function runs, until it ends or first waits."""
        is_step = frame.parent is not None
        if is_step:
            await self._take_slot()
        frame.unperformed.clear()
        now = self._config.clock()
        frame.started_at = frame.started_at or now
        running = Running(self._journal.task.id, frame.id, frame.function.name, frame.attempt, now)
        self._on_running(running, True)
        is_running = True

        def stop() -> None:
            nonlocal is_running
            if is_running:
                is_running = False
                self._on_running(running, False)
                if is_step:
                    self._slots.release()

        frame.on_first_call[:] = [stop]
        return stop

    async def _take_slot(self) -> None:
        self._floor.check()
        if not self._slots.locked():
            await self._slots.acquire()
            return
        taking = asyncio.ensure_future(self._slots.acquire())
        try:
            await self._floor.pause(taking)
        except BaseException:
            if taking.done() and not taking.cancelled():
                self._slots.release()
            raise

    async def _run(self, frame: Frame, call: LocalCall) -> Any:
        value, failed = None, None
        try:
            driven = drive(
                call.function.call,
                call.function.traits.style,
                _args(frame, call),
                call.kwargs,
                perform=partial(self._perform, frame),
                in_thread=self._in_thread,
            )
            value = await (self._limit(frame, driven) if _is_limited(frame) else driven)
        except _OURS:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever the function raises
            _raise_if_cancelled(error)
            failed = error
        if not frame.is_leaf:
            late = await self._performer.join_rest(frame)
            failed = failed or late
        if failed is not None:
            raise failed
        self._report_unperformed(frame)
        return value

    async def _limit(self, frame: Frame, driven: Coroutine[Any, Any, Any]) -> Any:
        """Hold a step on the event loop to its own deadline."""
        left = max(0, frame.timeout_at - self._config.clock()) / 1000
        try:
            async with asyncio.timeout(left) as limit:
                # once it waits for others, its deadline is the engine's affair
                frame.on_first_call.append(partial(limit.reschedule, None))
                return await driven
        except TimeoutError:
            if not limit.expired():
                raise
            raise PromiseTimeoutError(frame.id, to_text(frame.timeout_at)) from None

    async def _run_in_transaction(self, frame: Frame, call: LocalCall) -> PromiseRecord:
        def write(value: object) -> Program:
            what = f"the result of {frame.function.name!r} ({frame.id})"
            verdict = Verdict(PromiseState.RESOLVED, codec.encode(value, what))
            return self._ending(frame, verdict)

        work = partial(
            transactions.run_atomically,
            partial(call.function.call, *_args(frame, call), **call.kwargs),
            write,
            self._journal.sender,
        )
        return await run_in_thread(self._in_thread, work)

    def _pause_after(self, frame: Frame, policy: RetryPolicy, error: BaseException) -> float | None:
        """Return how long to wait before the next attempt; None when there is none."""
        frame.last_error = f"{type(error).__name__}: {failures.message_of(error)}"
        logger.warning(
            "a durable function failed",
            exc_info=error,
            extra={
                "action": "function_failed",
                "promise_id": frame.id,
                "function": frame.function.name,
                "attempt": frame.attempt,
            },
        )
        is_final = isinstance(error, EncodingError | MisplacedCommandError) or (
            isinstance(error, PromiseTimeoutError) and error.promise_id == frame.id
        )
        if is_final or not frame.is_leaf:
            return None
        pause = policy.delay_after(frame.attempt, error)
        if pause is None or self._config.clock() + pause * 1000 >= frame.timeout_at:
            return None
        return pause

    async def _hold(self, frame: Frame, pause: float, error: BaseException) -> None:
        """Wait before the next attempt: under the lease while that is short, else parked."""
        if pause <= self._config.patience:
            sleep = self._config.sleep or asyncio.sleep
            await self._floor.pause(sleep(pause))
            return
        timer_id = ids.retry_id(frame.id, frame.attempt)
        until = self._config.clock() + math.ceil(pause * 1000)
        tried = {"attempt": frame.attempt, "error": failures.error_object(error)}
        place = Place(timer_id, frame.id, frame.place.task, frame.origin)
        create = calls.create_timer(place, until, {}, codec.encode(tried, "the failed attempt"))
        slot = Slot(timer_id, Call(Kind.TIMER), None)
        [record] = await self._journal.write(frame, create, notes={frame.id: frame.note()})
        self._floor.settle(slot, record)
        await self._floor.wait([slot])

    async def _resume_attempts(self, frame: Frame) -> None:
        """Go on counting where an earlier pass parked."""
        last = self._journal.last_attempt(frame.id)
        record = self._journal.recorded(ids.retry_id(frame.id, last))
        if record is None:
            return
        own = self._journal.recorded(frame.id) or record
        frame.started_at = own.created_at
        frame.attempt = last + 1
        frame.last_error = _error_in(record)
        await self._floor.wait([Slot(record.id, Call(Kind.TIMER), record)])

    def _ending(self, frame: Frame, verdict: Verdict) -> Program:
        """Return the writes with which a step ends: one that is not there is created settled.

        A workflow that is there already keeps what was noted when it began.
        """
        settle = PromiseSettle(frame.id, verdict.state, verdict.value)
        actions: list[Action] = [settle] if frame.create is None else [frame.create, settle]
        is_noted = frame.create is not None or frame.is_leaf
        notes = {frame.id: frame.note()} if is_noted else None
        return self._journal.program(frame.parent, actions, notes)

    def _report_unperformed(self, frame: Frame) -> None:
        for command in frame.unperformed:
            logger.warning(
                "%s, built at %s, was never awaited or yielded, so it did nothing "
                "(function %r of %r, pass %d)",
                command,
                command.site,
                frame.function.name,
                frame.id,
                self._journal.task.version,
                extra={"action": "command_unperformed", "promise_id": frame.id},
            )
        frame.unperformed.clear()


def _is_limited(frame: Frame) -> bool:
    """Whether a step has a deadline before its caller's; a thread cannot be stopped at one."""
    parent = frame.parent
    return (
        parent is not None
        and frame.timeout_at < parent.timeout_at
        and frame.function.traits.style is not Style.PLAIN
    )


def _args(frame: Frame, call: LocalCall) -> tuple[Any, ...]:
    return (Context(frame), *call.args) if call.function.traits.takes_context else call.args


def _error_in(timer: PromiseRecord) -> str | None:
    try:
        tried = codec.decode(timer.param, "the failed attempt")
        return f"{tried['error']['name']}: {tried['error']['message']}"
    except (DecodingError, KeyError, TypeError):
        return None


def _raise_if_cancelled(error: BaseException) -> None:
    """Tell a pass that is being cancelled from a function that let such an error out."""
    task = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
        raise error
