"""Adapter for the peers' harness: its ``Peer``, with the workflows of ``bench.workflows``.

    PYTHONPATH=PEERS .venv/bin/python bench/ours_bench.py --metrics lat,thr --tuned 1

``--tuned 1`` has short leases, as the peers' fastest settings have; nothing else differs. With
``--mode inside`` the worker is in the starting process.
"""

import asyncio
import os
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)  # not this folder, whose modules have common names

import common  # type: ignore[import-not-found]  # noqa: E402 - of the peers' folder
import harness  # type: ignore[import-not-found]  # noqa: E402

from bench.processes import FAST, environment, manage  # noqa: E402

INSIDE = "inside"
_DATABASE = "peer_ours"
_FUNCTIONS = {
    "wf1": "bench.one",
    "wf10": "bench.ten",
    "fan": "bench.parallel",
    "fanwf": "bench.children",
    "sig": "bench.signal",
    "rec": "bench.interrupted",
}
_TAKES_NUMBER = {"fan", "fanwf"}


class Peer:
    """Ours, as the harness drives it: a client process that starts and settles."""

    fan_kinds = ("fan", "fanwf")
    rec_note = "lease 15 s default, 2 s tuned; the other worker takes over"

    def __init__(self, options: Namespace, tuned: int) -> None:
        """``options`` are the harness's."""
        self._options = options
        self._tuned = tuned
        self._is_inside = options.mode == INSIDE
        self._parts: list[Any] = []
        self.name = "ours-inside" if self._is_inside else "ours"
        self.version = "signoff"
        self.dsn = ""

    def setup(self) -> None:
        """Make a fresh database, and point this process at it."""
        self.dsn = common.fresh_db(self._options.dsn, _DATABASE)
        settings = environment(self.dsn, Path(self._options.dir))
        os.environ |= {**settings, **(FAST if self._tuned else {})}
        manage(self.dsn, "migrate", "--verbosity", "0", var=Path(self._options.dir))
        import django  # noqa: PLC0415 - the environment is ready now

        django.setup()

    def worker_args(self, _tuned: int, concurrency: int) -> list[str]:
        """Return the command of a worker process."""
        if self._is_inside:
            return ["sleep", "36000"]
        manage_py = str(ROOT / "manage.py")
        return [sys.executable, manage_py, "worker", "--concurrency", str(concurrency)]

    async def open(self) -> None:
        """Start the worker inside this process, where that is asked for."""
        if self._is_inside:
            await asyncio.to_thread(self._start_worker)

    def _start_worker(self) -> None:
        from durable.background.runner import BackgroundRunner  # noqa: PLC0415 - needs Django
        from durable.store import get_store  # noqa: PLC0415
        from durable.worker import Worker  # noqa: PLC0415

        worker = Worker(["default"], concurrency=self._options.conc)
        self._parts = [worker, BackgroundRunner(get_store())]
        for part in self._parts:
            part.start()

    async def start(self, kind: str, key: str, number: int = 0) -> Any:
        """Start a workflow; returns its handle."""
        import durable  # noqa: PLC0415 - needs Django

        arguments = [number] if kind in _TAKES_NUMBER else []
        return await durable.astart(key, _FUNCTIONS[kind], *arguments)

    async def result(self, handle: Any) -> Any:
        """Wait for the result."""
        return await handle.aresult()

    async def settle(self, key: str) -> None:
        """Settle what a ``sig`` workflow waits for."""
        import durable  # noqa: PLC0415 - needs Django
        from bench.workflows import question_of  # noqa: PLC0415

        await durable.promises.aresolve(question_of(key), {"ok": 1})

    def clone(self, times: int) -> None:
        """Multiply the parked rows in SQL."""
        from bench.multiply import multiply  # noqa: PLC0415 - needs Django

        multiply("p", times)

    async def close(self) -> None:
        """End the threads and connections of this process."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        from django.db import connections  # noqa: PLC0415 - needs Django

        from durable.store import close_store  # noqa: PLC0415

        for part in self._parts:
            part.stop()
        close_store()
        connections.close_all()


if __name__ == "__main__":
    asyncio.run(harness.bench(Peer, harness.parser().parse_args()))
