"""A subscriber that remembers, and lets a test wait for a topic."""

import threading
from collections.abc import Callable

from durable.notify.base import Topics
from tests.store.threads import TIMEOUT


class Heard:
    """What a notifier told."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._told: list[Topics] = []

    def __call__(self, topics: Topics) -> None:
        with self._condition:
            self._told.append(topics)
            self._condition.notify_all()

    @property
    def topics(self) -> set[str]:
        with self._condition:
            return set().union(*self._told)

    @property
    def told(self) -> list[Topics]:
        with self._condition:
            return list(self._told)

    def wait_for(self, *topics: str) -> None:
        """Wait until all of them were told."""
        with self._condition:
            is_so: Callable[[], bool] = lambda: set(topics) <= set().union(*self._told)  # noqa: E731
            assert self._condition.wait_for(is_so, TIMEOUT), (topics, self._told)

    def forget(self) -> None:
        with self._condition:
            self._told.clear()
