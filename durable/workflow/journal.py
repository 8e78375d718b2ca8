"""The promises of one pass: what is recorded, and what is written, under the lease of its task."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from durable.client.base import Claim, Sender
from durable.protocol.annotations import Annotation
from durable.protocol.records import PromiseRecord
from durable.protocol.requests import (
    CONFLICT,
    NOT_FOUND,
    OK,
    PromiseCreate,
    PromiseGet,
    PromiseSettle,
    Reply,
    Request,
    TaskFence,
)
from durable.workflow import ids
from durable.workflow.calls import Call, call_of
from durable.workflow.errors import NonDeterminismError
from durable.workflow.frame import Frame
from durable.workflow.outcome import LOST, Halt, stuck
from durable.workflow.slots import Slot

type Action = PromiseCreate | PromiseSettle
type Notes = dict[str, Annotation]

_READ_AT_ONCE = 500


class Program(NamedTuple):
    """Writes under the lease, and the functions whose promises are created first among them."""

    requests: list[TaskFence]
    owners: list[Frame]
    notes: Notes

    def check(self, replies: Sequence[Reply]) -> list[PromiseRecord]:
        """Return what the writes found or made, without the owners' promises; halt on a refusal."""
        pairs = zip(self.requests, replies, strict=True)
        return [_inner(request.action, reply) for request, reply in pairs][len(self.owners) :]

    def read(self, replies: Sequence[Reply]) -> list[PromiseRecord]:
        """As ``check``, for writes that are durable."""
        records = self.check(replies)
        self.mark_written()
        return records

    def mark_written(self) -> None:
        """The owners' promises are there."""
        for owner in self.owners:
            owner.create = None


class Journal:
    """Reads the history of a claim, and writes what a pass adds to it."""

    def __init__(self, sender: Sender, claim: Claim, on_replayed: Callable[[float], None]) -> None:
        """The claim's version is the fence of every write.

        on_replayed: told how long (seconds) a pass replayed before it did something new.
        """
        self._on_replayed = on_replayed
        self.sender = sender
        self.task = claim.task
        self.slots: dict[str, Slot] = {}
        self._history = {record.id: record for record in claim.history}
        self._last_numbers: dict[str, int] = {}
        self._last_attempts: dict[str, int] = {}
        self._replays_since = time.monotonic() if claim.history else None
        for promise_id in self._history:
            self._note_number(promise_id)

    def _note_number(self, promise_id: str) -> None:
        cut = max(promise_id.rfind("."), promise_id.rfind(ids.SEPARATOR))
        parent = promise_id[: max(cut, 0)]
        if number := ids.number_below(parent, promise_id):
            self._last_numbers[parent] = max(number, self._last_numbers.get(parent, 0))
        elif attempt := ids.attempt_below(parent, promise_id):
            self._last_attempts[parent] = max(attempt, self._last_attempts.get(parent, 0))

    def last_number(self, promise_id: str) -> int:
        """Return the highest number that an earlier pass gave to a call below a promise."""
        return self._last_numbers.get(promise_id, 0)

    def last_attempt(self, step: str) -> int:
        """Return the last failed attempt of a step that an earlier pass wrote down; 0 for none."""
        return self._last_attempts.get(step, 0)

    def recorded(self, promise_id: str) -> PromiseRecord | None:
        """Return what the history holds of a promise."""
        return self._history.get(promise_id)

    def find(self, promise_id: str, call: Call) -> Slot | None:
        """Return a promise that this pass or an earlier one knows, if it is of this call."""
        slot = self.slots.get(promise_id)
        if slot is not None:
            check_call(promise_id, slot.call, call)
            return slot
        record = self._history.get(promise_id)
        if record is None:
            return None
        check_call(promise_id, call_of(record), call)
        return Slot(promise_id, call, record)

    def check_exhausted(self, frame: Frame) -> None:
        """Halt when a function is through, and an earlier pass of it had come further."""
        if frame.counter < self.last_number(frame.id):
            missed = ids.child_id(frame.id, frame.counter + 1)
            record = self._history.get(missed)
            recorded = "a later call" if record is None else str(call_of(record))
            asked = f"nothing: {frame.function.name!r} ends before it"
            raise Halt(stuck(str(NonDeterminismError(missed, recorded, asked))))

    async def write(
        self, frame: Frame | None, *actions: Action, notes: Notes | None = None
    ) -> list[PromiseRecord]:
        """Create and settle below a function, in one program, and return what is there now.

        The promises of the functions around it that are still to be written come first.
        """
        program = self.program(frame, actions, notes)
        return program.read(await self.submit(*program.requests, notes=program.notes))

    def program(
        self, frame: Frame | None, actions: Sequence[Action], notes: Notes | None = None
    ) -> "Program":
        """Return a write as it is sent."""
        owners = [] if frame is None else frame.unwritten()
        creates = [owner.create for owner in owners if owner.create is not None]
        task = self.task
        fences = [TaskFence(task.id, task.version, action) for action in (*creates, *actions)]
        return Program(fences, owners, {owner.id: owner.note() for owner in owners} | (notes or {}))

    async def submit(self, *requests: Request, notes: Notes | None = None) -> list[Reply]:
        """Run a program. An engine that fails ends the pass, never the function."""
        if self._replays_since is not None:
            self._on_replayed(time.monotonic() - self._replays_since)
            self._replays_since = None
        try:
            return await self.sender.ask(*requests, annotations=notes)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise Halt(stuck("the engine dropped a write")) from None
        except Exception as error:
            raise Halt(stuck(f"the engine failed: {type(error).__name__}: {error}")) from error

    async def fetch(self, promise_ids: Sequence[str]) -> list[PromiseRecord]:
        """Return what promises are now."""
        records: list[PromiseRecord] = []
        for start in range(0, len(promise_ids), _READ_AT_ONCE):
            some = promise_ids[start : start + _READ_AT_ONCE]
            replies = await self.submit(*(PromiseGet(promise_id) for promise_id in some))
            records += [reply.promise for reply in replies if reply.promise is not None]
        return records


def check_call(promise_id: str, recorded: Call, asked: Call) -> None:
    """Halt when the code asks for something else than what is there."""
    if not asked.fits(recorded):
        error = NonDeterminismError(promise_id, str(recorded), str(asked))
        raise Halt(stuck(str(error)))


def check_reply(reply: Reply, what: str) -> None:
    """Halt when a request about the task itself was refused."""
    if reply.status in {NOT_FOUND, CONFLICT}:
        raise Halt(LOST)
    if reply.status != OK:
        raise Halt(stuck(f"{what} was refused ({reply.status}): {reply.error}"))


def _inner(action: Action, reply: Reply) -> PromiseRecord:
    check_reply(reply, f"{action.kind} of {action.id!r}")
    inner = reply.action.reply if reply.action is not None else reply
    if inner.promise is None:
        raise Halt(
            stuck(f"{action.kind} of {action.id!r} was refused ({inner.status}): {inner.error}")
        )
    found = inner.promise
    if isinstance(action, PromiseCreate) and (found.tags, found.param) != (
        action.tags,
        action.param,
    ):
        check_call(action.id, call_of(found), call_of(action))
    return found
