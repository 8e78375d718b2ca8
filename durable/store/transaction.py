"""One transaction: lock the footprint, load it, step, drain, flush the difference."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from django.db.backends.base.base import BaseDatabaseWrapper

from durable.machine import dispatch, internal
from durable.machine.effects import SetPromise
from durable.machine.env import Env
from durable.machine.footprint import Footprint, footprint_of
from durable.machine.internal import CallbackDrain, InternalStep, ListenerDrain, ScheduleFire
from durable.machine.state import Config, Promise
from durable.protocol.annotations import Annotation
from durable.protocol.requests import Reply
from durable.protocol.states import TaskState
from durable.store import rows, statements, tallies
from durable.store.base import MAX_LOCKED_IDS, Program
from durable.store.dialects import Awaiters, encode_list, get_dialect
from durable.store.flush import flush
from durable.store.overlay import Overlay
from durable.store.preload import fill_preload

_NO_NOTES: Mapping[str, Annotation] = {}


class Transaction:
    """Runs programs and internal steps inside the open transaction of a connection."""

    def __init__(
        self,
        connection: BaseDatabaseWrapper,
        config: Config,
        *,
        floor: int,
        clock: Callable[[], int] | None = None,
    ) -> None:
        """``floor`` is the least that ``now`` may be; ``clock`` stands in for the database's."""
        self.connection = connection
        self.config = config
        self.now = floor
        self.overlay = Overlay()
        self._clock = clock
        self._dialect = get_dialect(connection)

    def admit(
        self, footprint: Footprint, *, wait: bool, awaiters: Awaiters | None = None
    ) -> frozenset[str]:
        """Lock and load a footprint; return the lock names held: all of them when waiting.

        ``awaiters`` of what it names are locked and loaded along, where that needs no waiting and
        spares a round trip.
        """
        names = sorted({*footprint.promises, *map(schedule_lock, footprint.schedules)})
        if footprint.promises:
            lock, loaded = self._dialect.lock_and_fetch(
                self.connection, names, wait=wait, sql=statements.LOAD, awaiters=awaiters
            )
        else:
            lock, loaded = self._dialect.lock(self.connection, names, wait=wait), []
        self._raise_now(lock.now if self._clock is None else self._clock())
        for promise_id in footprint.promises:
            if promise_id in lock.ids:
                self.overlay.add_absent(promise_id)
        for row in loaded:
            if row[0] in lock.ids:
                self._add(row)
        self._load_schedules([one for one in footprint.schedules if schedule_lock(one) in lock.ids])
        return lock.ids

    def look(self, footprint: Footprint) -> None:
        """Load a footprint without locks, as committed, for programs that only read."""
        now, loaded = self._dialect.look(self.connection, footprint.promises, sql=statements.LOAD)
        self._raise_now(now if self._clock is None else self._clock())
        for promise_id in footprint.promises:
            self.overlay.add_absent(promise_id)
        for row in loaded:
            self._add(row)
        self._load_schedules(footprint.schedules)

    def _add(self, row: rows.Row) -> None:
        loaded = rows.to_loaded(row)
        self.overlay.add(loaded)
        promise, task = loaded.promise, loaded.task
        self._raise_now(promise.settled_at or promise.created_at)
        if task is not None and task.expires_at is not None and task.ttl is not None:
            self._raise_now(task.expires_at - task.ttl)

    def _load_schedules(self, ids: Sequence[str]) -> None:
        if not ids:
            return
        for schedule_id in ids:
            self.overlay.add_schedule(schedule_id, None)
        found = self._dialect.fetch(self.connection, statements.LOAD_SCHEDULES, (encode_list(ids),))
        for row in found:
            schedule = rows.to_schedule(row)
            self.overlay.add_schedule(schedule.id, schedule)
            self._raise_now(schedule.created_at)

    def _raise_now(self, instant: int) -> None:
        self.now = max(self.now, instant)

    def run(self, program: Program) -> list[Reply]:
        """Run the requests of an admitted program."""
        return self.overlay.run(program, now=self.now, config=self.config)

    def fire(self, step: InternalStep) -> bool:
        """Fire one admitted internal step; return whether it was due."""
        env = Env(self.overlay, now=self.now, config=self.config)
        dispatch.fire(env, step)
        self.overlay.apply(env.effects, step, now=self.now, annotations=_NO_NOTES)
        if isinstance(step, ScheduleFire):
            born = sum(isinstance(effect, SetPromise) for effect in env.effects)
            tallies.fired[tallies.SCHEDULE_PROMISES] += born
        return bool(env.effects)

    def admit_steps(self, steps: Collection[InternalStep]) -> list[InternalStep]:
        """Lock and load what due steps touch, without waiting; return those that can be fired."""
        footprints = {step: footprint_of(step) for step in steps}
        promises = dict.fromkeys(one for some in footprints.values() for one in some.promises)
        schedules = dict.fromkeys(one for some in footprints.values() for one in some.schedules)
        held = self.admit(Footprint(tuple(promises), tuple(schedules)), wait=False)
        free = [step for step, footprint in footprints.items() if is_held(footprint, held)]
        return [
            step
            for step in free
            if not isinstance(step, ScheduleFire) or self._admit_occurrences(step)
        ]

    def _admit_occurrences(self, step: ScheduleFire) -> bool:
        """Lock and load the promises that a schedule is about to create, if there is room."""
        if len(self.overlay.promises) + internal.MAX_OCCURRENCES > MAX_LOCKED_IDS:
            return False
        schedule = self.overlay.schedule(step.id)
        if schedule is None:
            return False
        ids = tuple(
            dict.fromkeys(
                internal.occurrence_id(schedule, instant)
                for instant in internal.due_instants(schedule, self.now)
            )
        )
        absent = tuple(one for one in ids if one not in self.overlay.promises)
        return not absent or self.admit(Footprint(absent), wait=False).issuperset(absent)

    def drain(self, *, spare_leases: bool) -> None:
        """Tell awaiters and listeners of what settled here, where that needs no waiting.

        ``spare_leases`` leaves acquired awaiters to the background: in a caller's transaction their
        rows would stay locked, and their leases could not be extended.
        """
        while steps := list(self._drains(spare_leases=spare_leases)):
            self._admit_awaiters(steps, spare_leases=spare_leases)
            fired = [
                self.fire(step) for step in steps if self._can_fire(step, spare_leases=spare_leases)
            ]
            if not any(fired):
                return

    def _admit_awaiters(self, steps: Iterable[InternalStep], *, spare_leases: bool) -> None:
        awaiters = {step.awaiter for step in steps if isinstance(step, CallbackDrain)}
        unknown = [one for one in awaiters if one not in self.overlay.promises]
        if unknown and spare_leases:  # not even their locks: they have a worker that goes on
            spared = self._acquired(unknown)
            unknown = [one for one in unknown if one not in spared]
        room = MAX_LOCKED_IDS - len(self.overlay.promises)
        if unknown and room > 0:
            self.admit(Footprint(tuple(unknown[:room])), wait=False)

    def _acquired(self, ids: Sequence[str]) -> set[str]:
        found = self._dialect.fetch(self.connection, statements.ACQUIRED, (encode_list(ids),))
        return {row[0] for row in found}

    def _drains(self, *, spare_leases: bool) -> Iterable[InternalStep]:
        for promise in self._settled():
            for address in promise.listeners:
                yield ListenerDrain(promise.id, address)
            for awaiter in promise.callbacks:
                step = CallbackDrain(promise.id, awaiter)
                if awaiter not in self.overlay.promises or self._can_fire(
                    step, spare_leases=spare_leases
                ):
                    yield step

    def _settled(self) -> list[Promise]:
        return [
            promise
            for promise in self.overlay.promises.values()
            if promise is not None and rows.is_undrained(promise)
        ]

    def _can_fire(self, step: InternalStep, *, spare_leases: bool) -> bool:
        if not isinstance(step, CallbackDrain):
            return True
        if step.awaiter not in self.overlay.promises:
            return False
        task = self.overlay.task(step.awaiter)
        return not (spare_leases and task is not None and task.state is TaskState.ACQUIRED)

    def flush(self) -> frozenset[str]:
        """Write the difference; return the topics that were announced."""
        return flush(self.connection, self.overlay, self.config, now=self.now)

    def preload(self, program: Program, replies: list[Reply]) -> list[Reply]:
        """Fill in what a worker may want to know already (protocol.md 3.19); after the flush."""
        return fill_preload(self.connection, self.overlay, program, replies, now=self.now)


def schedule_lock(schedule_id: str) -> str:
    """Name of the lock of a schedule."""
    return f"schedule {schedule_id}"


def is_held(footprint: Footprint, held: frozenset[str]) -> bool:
    """Whether all locks of a footprint are held."""
    return held.issuperset(footprint.promises) and held.issuperset(
        map(schedule_lock, footprint.schedules)
    )
