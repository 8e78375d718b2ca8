"""Those who act in the story: a worker, and people, each from a place of their own."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import durable
from dashboard import comments
from dashboard.answering import Actor, Answer
from dashboard.decisions import decide
from dashboard.models import Comment, HumanTask, SignIn
from dashboard.permissions import is_open
from durable.background.runner import BackgroundRunner
from durable.clock import now_ms
from durable.models import Promise, Task
from durable.protocol.addresses import group_of
from durable.protocol.states import PromiseState, TaskState
from durable.store import get_store
from durable.worker import Worker
from examples.people import find_person

GROUP = "default"
_PATIENCE_S = 20
_PHONE = "Mozilla/5.0 (Linux; Android 16; Mobile; rv:145.0) Gecko/145.0 Firefox/145.0"
_DESK = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
_PLACES = {
    "mia": ("192.0.2.14", _DESK),
    "jon": ("192.0.2.31", _DESK),
    "olga": ("192.0.2.8", _DESK),
    "finn": ("198.51.100.77", _PHONE),
    "ida": ("192.0.2.5", _DESK),
}


@contextmanager
def quiet() -> Iterator[None]:
    """Keep to oneself what is meant to fail."""
    logger = logging.getLogger("durable")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def working() -> Iterator[None]:
    """Run a worker and the loop that fires timers."""
    runner, worker = BackgroundRunner(get_store()), Worker([GROUP], concurrency=8)
    runner.start()
    worker.start()
    try:
        yield
    finally:
        worker.stop()
        runner.stop()


def rest() -> None:
    """Wait until timers have fired and the worker has nothing to do.

    With the clock moved on it would lose its leases.
    """
    overdue = Promise.objects.filter(state=PromiseState.PENDING)
    _wait(lambda: not overdue.filter(timeout_at__lte=now_ms()).exists(), "a timer")
    _wait(lambda: not _is_busy(), "the worker")


def _is_busy() -> bool:
    targets = Task.objects.filter(state__in=[TaskState.PENDING, TaskState.ACQUIRED]).values_list(
        "promise__tags__resonate:target", flat=True
    )
    return any(group_of(target) == GROUP for target in targets)


def _wait(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + _PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            message = f"the demo's story stopped: it still waits for {what}"
            raise TimeoutError(message)
        time.sleep(0.02)


def actor(username: str) -> Actor:
    address, browser = _PLACES[username]
    return Actor(find_person(username), SignIn.SESSION, ip=address, user_agent=browser)


def _questions(execution: str) -> Any:
    return HumanTask.objects.filter(is_open(now_ms()), origin=execution)


def question(execution: str) -> str:
    """Return the id of the question that an execution asks by now."""
    _wait(_questions(execution).exists, f"a question of {execution}")
    return str(_questions(execution).get().pk)


def answer(username: str, execution: str, name: str, comment: str = "", **values: Any) -> None:
    decide(question(execution), actor(username), Answer(name, comment, values=values))


def say(username: str, execution: str, text: str, kind: Comment.Kind) -> None:
    comments.write(question(execution), actor(username), text, kind)


def by(username: str, timeout: timedelta | None = None) -> durable.Starter:
    return durable.options(started_by=find_person(username), timeout=timeout)
