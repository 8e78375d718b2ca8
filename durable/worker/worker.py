"""A worker: claims due tasks of its groups, runs their functions, gives back what it cannot end."""

import asyncio
import logging
import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from durable import conf
from durable.client.base import Claim, Sender
from durable.client.local import get_sender
from durable.notify import EVERYTHING, get_notifier, ready
from durable.notify.base import Topics
from durable.observability import metrics
from durable.protocol.claims import Wanted
from durable.protocol.requests import TaskRelease
from durable.worker.claimer import POLL_SECONDS, Claimed, Claimer
from durable.worker.heartbeat import Heartbeat
from durable.worker.passes import Pass, log_outcome
from durable.worker.strays import Strays, names_of
from durable.worker.threads import FunctionThreads
from durable.worker.versions import HAND_OVER_MS, ForeignVersions
from durable.workflow.execution import Execution
from durable.workflow.registry import registry

_SPARE_THREADS = 8
_MS = 1000

_logger = logging.getLogger(__name__)


class Worker:
    """Runs in a thread of its own, with one event loop; ``start`` and ``stop`` from any thread."""

    def __init__(
        self,
        groups: Sequence[str],
        *,
        concurrency: int = 64,
        grace: float = 5.0,
        sender: Sender | None = None,
    ) -> None:
        """``grace`` is how long (seconds) a stopping worker lets running steps go on."""
        self.groups = tuple(dict.fromkeys(groups))
        self.pid = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._concurrency = concurrency
        self._grace = grace
        self._sender = sender or get_sender()
        self._topics = frozenset({EVERYTHING, *map(ready, self.groups)})
        self._registry = registry
        self._strays = Strays()
        self._versions = ForeignVersions(registry)
        self._passes: dict[str, Pass] = {}
        self._threads = FunctionThreads(concurrency + _SPARE_THREADS)
        self._claimer = Claimer(
            concurrency,
            claim=self._claim,
            deliver=self._deliver,
            rest_seconds=self._rest_seconds,
        )
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run_loop, name="durable-worker", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._slots = asyncio.Semaphore(concurrency)
        self._heartbeat = Heartbeat(
            self._sender,
            self.pid,
            self.groups,
            concurrency=concurrency,
            functions=names_of(registry),
            held=self.held,
            running=self._running,
            lose=self._lose,
        )

    def start(self) -> None:
        """Start; returns when the worker listens and its row is there."""
        self._heartbeat.start()
        self._thread.start()
        self._started.wait()

    def is_alive(self) -> bool:
        """Whether the worker still runs."""
        return self._thread.is_alive()

    def request_stop(self, **_kwargs: object) -> None:
        """Take no more work; returns at once. Also a receiver of ``signals.stopping``."""
        self._heartbeat.drain()
        self._claimer.request_stop()
        if self._loop is None:  # it has not begun, and will end at once
            self._stop.set()
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop.set)

    def stop(self) -> None:
        """Take no more work, end or give back what is held, and return then."""
        self.request_stop()
        self._thread.join()
        self._heartbeat.stop()

    def _run_loop(self) -> None:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(self._main())
        self._threads.close()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        unsubscribe = get_notifier(conf.database_alias()).subscribe(self._hear)
        self._claimer.start()
        self._started.set()
        try:
            await self._stop.wait()
        finally:
            unsubscribe()
            self._claimer.request_stop()
            await asyncio.to_thread(self._claimer.join)
            await self._drain()

    def _claim(self, limit: int) -> Claimed:
        names = self._versions.names_to_claim(self.groups)
        claims = self._claim_wanted(self.groups, Wanted(names, is_listed=True), limit)
        if not claims and (strays := self._strays.look(self.groups, names_of(self._registry))):
            claims = self._claim_wanted(strays.groups, strays.wanted, 1)
        mine, others = self._versions.split(claims)
        if others:
            self._hand_on(others)
        return mine, len(others)

    def _hand_on(self, claims: Sequence[Claim]) -> None:
        """Give back before the next look, which is to find them free."""
        try:
            self._sender.send(*(TaskRelease(one.task.id, one.task.version) for one in claims))
        except Exception:  # their leases run out; the other claims are to be run
            _logger.warning("cannot release", extra={"action": "release"}, exc_info=True)

    def _claim_wanted(self, groups: Sequence[str], wanted: Wanted, limit: int) -> list[Claim]:
        return self._sender.claim(
            groups, pid=self.pid, ttl=conf.lease_ms(), limit=limit, wanted=wanted
        )

    def _deliver(self, claims: list[Claim]) -> None:
        assert self._loop is not None  # noqa: S101 - the claimer is started on it
        self._loop.call_soon_threadsafe(self._start_passes, claims)

    def _start_passes(self, claims: list[Claim]) -> None:
        for claim in claims:
            self._start_pass(claim)

    def _rest_seconds(self) -> float:
        return HAND_OVER_MS / _MS if self._versions.is_holding else POLL_SECONDS

    def _start_pass(self, claim: Claim) -> None:
        one = Pass(claim)
        one.execution = Execution(
            self._sender,
            self._registry,
            claim,
            in_thread=self._threads.run,
            slots=self._slots,
            on_running=one.note,
            on_replayed=metrics.observe_replay,
        )
        self._passes[claim.task.id] = one
        one.task = asyncio.create_task(self._run_pass(one, one.execution))

    async def _run_pass(self, one: Pass, execution: Execution) -> None:
        task_id = one.claim.task.id
        try:
            outcome = await execution.run()
            log_outcome(task_id, outcome)
        except Exception:  # a defect of the engine must not take the worker down
            _logger.exception("pass failed", extra={"action": "pass", "task": task_id})
            await self._release([one.claim])
        finally:
            if self._passes.get(task_id) is one:
                del self._passes[task_id]
            self._claimer.free()

    async def _drain(self) -> None:
        """Let running steps end within the grace period, then give back what is left."""
        for one in self._passes.values():
            if one.execution is not None:
                one.execution.stop("the worker stops")
        tasks = {one.task: one for one in self._passes.values() if one.task is not None}
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=self._grace)
        for task in late:
            task.cancel()
        await self._release([tasks[task].claim for task in late])

    async def _release(self, claims: Sequence[Claim]) -> None:
        futures = [self._sender.ask(TaskRelease(one.task.id, one.task.version)) for one in claims]
        for failed in await asyncio.gather(*futures, return_exceptions=True):
            if isinstance(failed, BaseException):
                _logger.warning("cannot release", extra={"action": "release"}, exc_info=failed)

    def _hear(self, topics: Topics) -> None:
        if not topics.isdisjoint(self._topics):
            self._claimer.wake()

    def held(self) -> dict[str, int]:
        """Return the tasks this worker holds, with the versions it was granted."""
        return {one.claim.task.id: one.claim.task.version for one in list(self._passes.values())}

    def _running(self) -> list[dict[str, Any]]:
        return [entry for one in list(self._passes.values()) for entry in one.running()]

    def _lose(self, lost: Iterable[str]) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._drop, set(lost))

    def _drop(self, lost: set[str]) -> None:
        for task_id in lost:
            one = self._passes.get(task_id)
            if one is not None and one.execution is not None:
                _logger.warning("lease lost", extra={"action": "lost", "task": task_id})
                one.execution.lose()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes the faster event loop, where it is installed."""
    try:
        import uvloop  # noqa: PLC0415 - there is none for Windows
    except ImportError:
        return None
    return uvloop.new_event_loop
