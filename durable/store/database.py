"""The store on Django's connections. Every write to a promise, task or schedule goes through it."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager

from django.db import (
    DatabaseError,
    InterfaceError,
    OperationalError,
    connections,
    transaction,
)
from django.db.backends.base.base import BaseDatabaseWrapper

from durable import clock as system_clock
from durable.machine.footprint import Footprint
from durable.machine.internal import InternalStep
from durable.machine.state import Config
from durable.protocol.annotations import Annotation
from durable.protocol.requests import Reply, Request
from durable.store import specialised
from durable.store.base import (
    MAX_LOCKED_IDS,
    CommitUnknownError,
    ConnectionLostError,
    Program,
    StoreConflictError,
)
from durable.store.committer import Committer
from durable.store.dialects import Awaiters
from durable.store.futures import LoopFuture, complete
from durable.store.transaction import Transaction, is_held

_INLINE_TRIES = 20

_logger = logging.getLogger(__name__)


class DatabaseStore:
    """Runs programs and internal steps; one per process and database."""

    def __init__(
        self, alias: str, config: Config, *, clock: Callable[[], int] | None = None
    ) -> None:
        """``clock`` (epoch ms) stands in for the database's, for tests and the debug surface."""
        self.alias = alias
        self.config = config
        self._clock = clock
        self._newest = 0
        self._committer = Committer(alias, self._commit)
        self._lock = threading.Lock()

    @property
    def connection(self) -> BaseDatabaseWrapper:
        """The calling thread's connection."""
        return connections[self.alias]

    def run(
        self,
        *requests: Request,
        now: int = 0,
        annotations: Mapping[str, Annotation] | None = None,
        preload: bool = False,
    ) -> list[Reply]:
        """Run a program in one transaction and return a reply a request.

        ``now`` (epoch ms) is a lower bound. Inside ``transaction.atomic()`` the program runs on the
        caller's connection and ends with the caller's transaction; outside it shares a commit with
        whatever else is waiting. Raises what the database raises; refusals are replies.
        """
        future: Future[list[Reply]] = Future()
        program = Program(requests, annotations or {}, now, preload, future)
        if self.connection.in_atomic_block:
            return self._run_inline(program)
        self._committer.submit(program)
        return future.result()

    def submit(
        self,
        *requests: Request,
        annotations: Mapping[str, Annotation] | None = None,
        preload: bool = False,
    ) -> Future[list[Reply]]:
        """Run a program in a transaction that is never the caller's; does not block."""
        future: Future[list[Reply]] = Future()
        program = Program(requests, annotations or {}, preload=preload, future=future)
        self._committer.submit(program)
        return future

    def ask(
        self,
        *requests: Request,
        annotations: Mapping[str, Annotation] | None = None,
        preload: bool = False,
    ) -> asyncio.Future[list[Reply]]:
        """Do as ``submit`` does, for the running event loop."""
        future = LoopFuture()
        self._committer.submit(Program(requests, annotations or {}, preload=preload, future=future))
        return future.awaitable

    def fire(self, *steps: InternalStep, now: int = 0, patience: float | None = None) -> int | None:
        """Fire internal steps that may be due, in one transaction; return how many were.

        Steps whose ids another transaction holds are left for the next time. With ``patience``
        (seconds) nothing is fired, and None returned, when the database let this one wait longer.
        """
        started = time.monotonic()
        with self._own_transaction():
            work = self._begin(now)
            free = work.admit_steps(steps)
            if patience is not None and time.monotonic() - started > patience:
                return None
            fired = sum(work.fire(step) for step in free)
            work.drain(spare_leases=False)
            work.flush()
        self.advance(work.now)
        return fired

    def close(self) -> None:
        """Commit what is queued and end the committer's thread."""
        self._committer.close()

    def now(self) -> int:
        """Return the newest time that this process has used, in epoch ms."""
        return self._newest

    def _begin(self, now: int) -> Transaction:
        return Transaction(
            self.connection, self.config, floor=max(now, self._newest), clock=self._clock
        )

    def clock_now(self) -> int:
        """Return the time for a statement outside a program: the host's clock, never going back.

        On PostgreSQL statements that decide by time read the server's clock themselves.
        """
        read = self._clock or system_clock.now_ms
        return max(read(), self._newest)

    def statement_clock(self) -> tuple[int | None, int]:
        """Return what a statement's ``{clock}`` stands for: the time, or the least it may be.

        On PostgreSQL the statement then reads the server's own clock; SQLite has none.
        """
        if self._clock is None and self.connection.vendor == "postgresql":
            return None, self._newest
        return self.clock_now(), 0

    def advance(self, now: int) -> None:
        """Remember that ``now`` was used: this process's time never goes back behind it."""
        with self._lock:
            self._newest = max(self._newest, now)

    def rewind(self) -> None:
        """Forget what time it was: the clock given to this store was set back."""
        with self._lock:
            self._newest = 0

    def _run_inline(self, program: Program) -> list[Reply]:
        if program.is_reading:
            [replies] = self._read([program])
            return replies
        for attempt in range(1, _INLINE_TRIES + 1):
            try:
                with transaction.atomic(using=self.alias):
                    work = self._begin(program.now)
                    self._admit(work, [program], wait=True)
                    replies = self._finish(work, [program], spare_leases=True)[0]
            except StoreConflictError:
                if attempt == _INLINE_TRIES:
                    raise
            else:
                self.advance(work.now)
                return replies
        raise AssertionError

    def _commit(self, batch: list[Program]) -> list[Program]:
        """Run programs in one transaction; return those whose ids another one holds.

        What only reads is answered first, from what is committed, and waits for nobody.
        """
        reading = [program for program in batch if program.is_reading]
        if reading:
            self._answer(reading, self._read_alone(reading))
        writing = [program for program in batch if not program.is_reading]
        if writing and self.connection.vendor == "postgresql":
            writing = self._write_specialised(writing)
        if not writing:
            return []
        with self._own_transaction():
            work = self._begin(max(program.now for program in writing))
            held = self._admit(work, writing, wait=False)
            free, aside = _part(writing, held)
            replies = self._finish(work, free, spare_leases=False)
        self.advance(work.now)
        self._answer(free, replies)
        return aside

    def _write_specialised(self, programs: list[Program]) -> list[Program]:
        """Run the programs that have a statement of their own; return those left to do.

        They may be run again when it is unknown how that ended: the first write of each wins.
        """
        fixed, floor = self.statement_clock()
        clock = fixed, max(floor, *(program.now for program in programs))
        self.connection.ensure_connection()
        try:
            answered, newest = specialised.run(self.connection, programs, self.config, clock)
        except DatabaseError as error:
            if self.connection.is_usable():
                return programs  # the general way finds out which of them it is
            raise ConnectionLostError(*error.args) from error
        self.advance(newest)
        self._answer(list(answered), list(answered.values()))
        return [program for program in programs if program not in answered]

    def _read(self, programs: list[Program]) -> list[list[Reply]]:
        self.connection.ensure_connection()
        work = self._begin(max(program.now for program in programs))
        work.look(_union(programs))
        self.advance(work.now)
        return [work.run(program) for program in programs]

    def _read_alone(self, programs: list[Program]) -> list[list[Reply]]:
        try:
            return self._read(programs)
        except (OperationalError, InterfaceError) as error:
            if self.connection.is_usable():
                raise
            raise ConnectionLostError(*error.args) from error

    def _admit(self, work: Transaction, programs: list[Program], *, wait: bool) -> frozenset[str]:
        footprint = _union(programs)
        awaiters = None
        if any(program.may_settle for program in programs):
            room = max(MAX_LOCKED_IDS - len(footprint.promises), 0)
            awaiters = Awaiters(spare_acquired=wait, limit=room)
        return work.admit(footprint, wait=wait, awaiters=awaiters)

    def _answer(self, programs: list[Program], replies: list[list[Reply]]) -> None:
        complete(
            (program.future, answers) for program, answers in zip(programs, replies, strict=True)
        )

    @contextmanager
    def _own_transaction(self) -> Iterator[None]:
        """Open a transaction; say when it is unknown how it ended, or known that it did nothing.

        What receivers of signals do after the commit cannot undo it, so it fails nothing here.
        """
        raw: object = None
        is_written = False
        committed: list[bool] = []
        try:
            self.connection.ensure_connection()
            raw = self.connection.connection
            with transaction.atomic(using=self.alias):
                transaction.on_commit(lambda: committed.append(True), using=self.alias)
                yield
                is_written = True
        except Exception as error:
            if committed:
                _logger.exception("failed after the commit", extra={"action": "on_commit"})
                return
            if not isinstance(error, (OperationalError, InterfaceError)):
                raise
            if raw is not None and self.connection.connection is raw:
                raise  # the server refused, and is still there
            if is_written:
                raise CommitUnknownError from error
            raise ConnectionLostError(*error.args) from error

    def _finish(
        self, work: Transaction, programs: list[Program], *, spare_leases: bool
    ) -> list[list[Reply]]:
        replies = [work.run(program) for program in programs]
        work.drain(spare_leases=spare_leases)
        work.flush()
        return [
            work.preload(program, answers) if program.preload else answers
            for program, answers in zip(programs, replies, strict=True)
        ]


def _part(programs: list[Program], held: frozenset[str]) -> tuple[list[Program], list[Program]]:
    """Part the programs that can run from those to set aside; a heartbeat may be in both."""
    free, aside = [], []
    for program in programs:
        if is_held(program.footprint, held):
            free.append(program)
        elif parts := program.split(held):
            free.append(parts[0])
            aside.append(parts[1])
        else:
            aside.append(program)
    return free, aside


def _union(batch: Collection[Program]) -> Footprint:
    promises = dict.fromkeys(one for program in batch for one in program.footprint.promises)
    schedules = dict.fromkeys(one for program in batch for one in program.footprint.schedules)
    return Footprint(tuple(promises), tuple(schedules))
