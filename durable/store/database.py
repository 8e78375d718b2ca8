"""The store on Django's connections. Every write to a promise, task or schedule goes through it."""

import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future

from django.db import InterfaceError, OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from durable import clock as system_clock
from durable.machine.footprint import Footprint
from durable.machine.internal import InternalStep
from durable.machine.state import Config
from durable.protocol.annotations import Annotation
from durable.protocol.requests import Reply, Request
from durable.store.base import CommitUnknownError, Program, StoreConflictError
from durable.store.committer import Committer, is_transient
from durable.store.transaction import Transaction, is_held

_INLINE_TRIES = 20


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
        program = Program(requests, annotations or {}, now, preload)
        if self.connection.in_atomic_block:
            return self._run_inline(program)
        self._committer.submit(program)
        return program.future.result()

    def submit(
        self,
        *requests: Request,
        annotations: Mapping[str, Annotation] | None = None,
        preload: bool = False,
    ) -> Future[list[Reply]]:
        """Run a program in a transaction that is never the caller's; does not block."""
        program = Program(requests, annotations or {}, preload=preload)
        self._committer.submit(program)
        return program.future

    def fire(self, *steps: InternalStep, now: int = 0, patience: float | None = None) -> int | None:
        """Fire internal steps that may be due, in one transaction; return how many were.

        Steps whose ids another transaction holds are left for the next time. With ``patience``
        (seconds) nothing is fired, and None returned, when the database let this one wait longer.
        """
        started = time.monotonic()
        with transaction.atomic(using=self.alias):
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

    def advance(self, now: int) -> None:
        """Remember that ``now`` was used: this process's time never goes back behind it."""
        with self._lock:
            self._newest = max(self._newest, now)

    def _run_inline(self, program: Program) -> list[Reply]:
        for attempt in range(1, _INLINE_TRIES + 1):
            try:
                with transaction.atomic(using=self.alias):
                    work = self._begin(program.now)
                    work.admit(program.footprint, wait=True)
                    replies = self._finish(work, [program], spare_leases=True)[0]
            except StoreConflictError:
                if attempt == _INLINE_TRIES:
                    raise
            else:
                return replies
        raise AssertionError

    def _commit(self, batch: list[Program]) -> list[Program]:
        """Run programs in one transaction; return those whose ids another one holds."""
        is_written = False
        try:
            with transaction.atomic(using=self.alias):
                work = self._begin(max(program.now for program in batch))
                held = work.admit(_union(batch), wait=False)
                free = [program for program in batch if is_held(program.footprint, held)]
                aside = [program for program in batch if not is_held(program.footprint, held)]
                replies = self._finish(work, free, spare_leases=False)
                is_written = True
        except (OperationalError, InterfaceError) as error:
            if is_written and not is_transient(error):
                raise CommitUnknownError from error
            raise
        self.advance(work.now)
        for program, answers in zip(free, replies, strict=True):
            program.future.set_result(answers)
        return aside

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


def _union(batch: Collection[Program]) -> Footprint:
    promises = {one for program in batch for one in program.footprint.promises}
    schedules = {one for program in batch for one in program.footprint.schedules}
    return Footprint(tuple(promises), tuple(schedules))
