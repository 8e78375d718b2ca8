"""Performs commands: gives ids, begins what is new, reads what is known, waits for the rest."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, assert_never

from durable.protocol.addresses import target_of
from durable.protocol.records import Value
from durable.protocol.requests import PromiseCreate
from durable.protocol.validation import MAX_INSTANT
from durable.workflow import calls, codec, decisions, instants, results
from durable.workflow.calls import Call, Kind, Place
from durable.workflow.commands import (
    Approval,
    BaseCommand,
    Batch,
    BeginCommand,
    Future,
    Latent,
    LocalCall,
    Operation,
    Options,
    RemoteCall,
    Timer,
)
from durable.workflow.driver import Abandoned
from durable.workflow.errors import (
    DeadlineError,
    DecodingError,
    MisplacedCommandError,
    PerformedTwiceError,
    Suspended,
)
from durable.workflow.frame import Begun, Frame
from durable.workflow.instants import When
from durable.workflow.journal import Journal
from durable.workflow.outcome import Halt, stuck
from durable.workflow.results import Result
from durable.workflow.retry import DEFAULT, RetryPolicy
from durable.workflow.slots import Floor, Slot

_MAX_REFUSALS = 20
_NO_TAGS: Mapping[str, str] = {}


class Runner(Protocol):
    """Runs what performing a command begins."""

    def run_step(self, child: Frame, call: LocalCall, slot: Slot, policy: RetryPolicy) -> None:
        """Run a local call beside the function that makes it, and settle its slot."""

    def write_creates(
        self, frame: Frame, creates: list[tuple[Slot, PromiseCreate]]
    ) -> Awaitable[None]:
        """Create promises in one program; goes on also when who asked for it does not wait."""


class _Plan:
    """What one command, or several performed together, begin: decided first, then done at once."""

    def __init__(self) -> None:
        self.slots: dict[str, Slot] = {}
        self.creates: list[tuple[Slot, PromiseCreate]] = []
        self.runs: list[Callable[[], None]] = []
        self.children: list[Begun] = []


class Performer:
    """Performs the commands of one pass."""

    def __init__(
        self, journal: Journal, floor: Floor, runner: Runner, clock: Callable[[], int]
    ) -> None:
        """``runner`` is the pass; ``clock`` gives epoch ms."""
        self._journal = journal
        self._floor = floor
        self._runner = runner
        self._clock = clock

    async def perform(self, frame: Frame, operation: Operation) -> Any:
        """Perform a command or wait for a future, and return what the function gets."""
        self._admit(frame, operation)
        match operation:
            case Future():
                return await self._join(frame, _of_future(operation))
            case BeginCommand():
                begun = await self._begin(frame, operation)
                return Future(frame, begun.slots[0], begun.read)
            case BaseCommand():
                return await self._join(frame, await self._begin(frame, operation))
            case _:
                message = f"{operation!r} is neither a command nor a future"
                raise TypeError(message)

    def _admit(self, frame: Frame, operation: Operation) -> None:
        if self._floor.is_closed:
            frame.refusals += 1
            raise Abandoned if frame.refusals > _MAX_REFUSALS else Suspended
        if not operation.belongs_to(frame):
            operation.forget()
            raise MisplacedCommandError(str(operation))
        frame.leave_leaf()

    async def _begin(self, frame: Frame, command: BaseCommand) -> Begun:
        plan = _Plan()
        begun = self._plan(frame, command, plan)
        self._journal.slots.update(plan.slots)
        for child in plan.children:
            frame.begun[child.slots[0]] = child
        for run in plan.runs:
            run()
        if plan.creates:
            await self._runner.write_creates(frame, plan.creates)
        return begun

    async def _join(self, frame: Frame, begun: Begun) -> Any:
        await self._floor.wait(begun.slots)
        for slot in begun.slots:
            slot.is_joined = True
            frame.begun.pop(slot, None)
        return _read(begun).get()

    async def join_rest(self, frame: Frame) -> Exception | None:
        """Wait for the calls that a function began and did not wait for.

        Returns the first error among them, in the order they were begun.
        """
        rest = [begun for slot, begun in frame.begun.items() if not slot.is_joined]
        await self._floor.wait([slot for begun in rest for slot in begun.slots])
        frame.begun.clear()
        return next((error for begun in rest if (error := _read(begun).error)), None)

    def _plan(self, frame: Frame, command: BaseCommand, plan: _Plan) -> Begun:
        command.forget()
        if command.is_performed:
            raise PerformedTwiceError(str(command))
        command.is_performed = True
        request, options = command.request, command.given
        match request:
            case Batch(items):
                return _together([self._plan_item(frame, item, plan) for item in items])
            case LocalCall():
                return self._plan_step(frame, request, options, plan)
            case RemoteCall():
                return self._plan_remote(frame, request, options, plan)
            case Timer(until):
                return self._plan_timer(frame, until, options, plan)
            case Latent() | Approval():
                return self._plan_latent(frame, request, options, plan)
            case _:
                assert_never(request)

    def _plan_item(self, frame: Frame, item: Operation, plan: _Plan) -> Begun:
        if isinstance(item, Future):
            return _of_future(item)
        if not isinstance(item, BaseCommand):
            message = f"ctx.all takes commands and futures, not {item!r}"
            raise TypeError(message)
        return self._plan(frame, item, plan)

    def _plan_step(self, frame: Frame, call: LocalCall, options: Options, plan: _Plan) -> Begun:
        if call.is_by_name and options.version is not None:
            function = frame.scope.registry.get(call.function.name, options.version)
            call = replace(call, function=function)
        place = frame.next_place(options.id)
        slot = self._find(place, Call(Kind.STEP, call.function.name), plan)
        begun = Begun((slot,), partial(_value, slot, call.function.result))
        plan.children.append(begun)
        if not slot.is_settled and not slot.is_begun:
            child = self._child(frame, place, call, slot, options)
            policy = options.retry or call.function.retry or DEFAULT
            plan.runs.append(partial(self._runner.run_step, child, call, slot, policy))
        slot.is_begun = True
        return begun

    def _child(
        self, frame: Frame, place: Place, call: LocalCall, slot: Slot, options: Options
    ) -> Frame:
        function, record = call.function, slot.record
        version = options.version or function.version
        extra = options.tags or _NO_TAGS
        create = None
        if record is None:
            timeout_at = self._deadline(frame, options.timeout or function.timeout)
            create = calls.create_step(place, function.name, version, timeout_at, extra)
        recorded = record or create
        assert recorded is not None  # noqa: S101 - one of the two is there
        return Frame(
            scope=frame.scope,
            place=place,
            function=function,
            timeout_at=recorded.timeout_at,
            version=version,
            tags=recorded.tags,
            parent=frame,
            create=create,
            group=frame.group,
        )

    def _plan_remote(self, frame: Frame, call: RemoteCall, options: Options, plan: _Plan) -> Begun:
        place = frame.next_place(options.id, is_detached=call.is_detached)
        slot = self._find(place, Call(Kind.REMOTE, call.name), plan)
        shape = Any if call.function is None else call.function.result
        begun = Begun((slot,), partial(_value, slot, shape))
        if slot.record is None and not slot.is_begun:
            plan.creates.append((slot, self._remote(frame, place, call, options)))
        slot.is_begun = True
        if call.is_detached:
            return Begun((), partial(Result, place.id))
        plan.children.append(begun)
        return begun

    def _remote(
        self, frame: Frame, place: Place, call: RemoteCall, options: Options
    ) -> PromiseCreate:
        function = call.function
        version = options.version or (1 if function is None else function.version)
        target = options.target or (None if function is None else function.target)
        timeout = options.timeout or (None if function is None else function.timeout)
        timeout_at = (
            self._own_deadline(timeout) if call.is_detached else self._deadline(frame, timeout)
        )
        return calls.create_remote(
            place,
            codec.encode_invocation(call.name, version, call.args, call.kwargs),
            target_of(target or frame.group),
            timeout_at,
            options.tags or _NO_TAGS,
        )

    def _plan_timer(self, frame: Frame, until: When, options: Options, plan: _Plan) -> Begun:
        place = frame.next_place(options.id)
        slot = self._find(place, Call(Kind.TIMER), plan)
        if slot.record is None and not slot.is_begun:
            instant = instants.to_instant(until, self._clock())
            self._check_deadline(frame, instant, "a sleep")
            create = calls.create_timer(place, instant, options.tags or _NO_TAGS)
            plan.creates.append((slot, create))
        slot.is_begun = True
        return Begun((slot,), partial(_value, slot, Any))

    def _plan_latent(
        self, frame: Frame, request: Latent | Approval, options: Options, plan: _Plan
    ) -> Begun:
        place = frame.next_place(options.id)
        slot = self._find(place, Call(Kind.LATENT), plan)
        if slot.record is None and not slot.is_begun:
            if options.timeout is None:
                timeout_at = frame.timeout_at
            else:
                timeout_at = self._own_deadline(options.timeout)
                self._check_deadline(frame, timeout_at, f"ctx.{request}")
            param = self._param(request, place)
            create = calls.create_latent(place, param, timeout_at, options.tags or _NO_TAGS)
            plan.creates.append((slot, create))
        slot.is_begun = True
        reads = _decision if isinstance(request, Approval) else partial(_value, shape=Any)
        return Begun((slot,), partial(reads, slot))

    def _param(self, request: Latent | Approval, place: Place) -> Value:
        what = f"the data of {place.id!r}"
        if isinstance(request, Latent):
            return codec.encode(request.data, what)
        due = None if request.due is None else instants.to_instant(request.due, self._clock())
        return codec.encode(decisions.to_param(request.description, due), what)

    def _find(self, place: Place, call: Call, plan: _Plan) -> Slot:
        slot = plan.slots.get(place.id) or self._journal.find(place.id, call)
        if slot is None:
            slot = Slot(place.id, call, None)
        plan.slots[place.id] = slot
        return slot

    def _deadline(self, frame: Frame, timeout: When | None) -> int:
        return min(frame.timeout_at, self._own_deadline(timeout))

    def _own_deadline(self, timeout: When | None) -> int:
        return MAX_INSTANT if timeout is None else instants.to_instant(timeout, self._clock())

    def _check_deadline(self, frame: Frame, instant: int, what: str) -> None:
        if instant > frame.timeout_at:
            raise DeadlineError(
                what, instants.to_text(instant), frame.id, instants.to_text(frame.timeout_at)
            )


def _of_future(future: Future[Any]) -> Begun:
    return Begun((future.slot,), future.read)


def _together(parts: list[Begun]) -> Begun:
    def read() -> Result:
        found = [part.read() for part in parts]
        error = next((one.error for one in found if one.error is not None), None)
        return Result(error=error) if error else Result([one.value for one in found])

    return Begun(tuple(slot for part in parts for slot in part.slots), read)


def _value(slot: Slot, shape: Any) -> Result:
    assert slot.record is not None  # noqa: S101 - it is read once it is settled
    return results.read(slot.record, shape)


def _decision(slot: Slot) -> Result:
    assert slot.record is not None  # noqa: S101 - it is read once it is settled
    return decisions.read(slot.record)


def _read(begun: Begun) -> Result:
    try:
        return begun.read()
    except DecodingError as error:
        raise Halt(stuck(str(error))) from error
