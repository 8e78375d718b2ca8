"""Threads that start together, or one after the other."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.db import connection, connections, transaction

from tests.store.postgres import wait_for_blocked


def at_once(count: int, act: Callable[[int], Any]) -> list[Any]:
    """Run something in threads that start together; each is given its number."""
    barrier = threading.Barrier(count)

    def run(number: int) -> Any:
        barrier.wait()
        try:
            return act(number)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def while_others(work: Callable[[], Any], act: Callable[[], Any]) -> Any:
    """Let ``act`` run into a transaction that has done ``work``; return what it did in the end.

    That commits once ``act`` waits for it; on SQLite it cannot have read anything before.
    """
    done, go = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                work()
                done.set()
                go.wait(30)
        finally:
            done.set()
            connections.close_all()

    def run() -> Any:
        try:
            return act()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        holding = pool.submit(hold)
        try:
            done.wait(30)
            acting = pool.submit(run)
            if connection.vendor == "postgresql":
                wait_for_blocked()
        finally:
            go.set()
        holding.result()
        return acting.result()
