"""The claiming thread: how much it asks for, when it looks again, and what an error does to it."""

import queue
from collections.abc import Iterator
from typing import Any

import pytest

from durable.protocol.claims import Claim
from durable.protocol.records import EMPTY, PromiseRecord, TaskRecord
from durable.protocol.states import PromiseState, TaskState
from durable.worker import claimer as module
from durable.worker.claimer import Claimed, Claimer
from durable.worker.worker import Worker

TIMEOUT = 10.0
NOTHING: Claimed = ([], 0)


def claim(name: str) -> Claim:
    promise = PromiseRecord(name, PromiseState.PENDING, EMPTY, EMPTY, {}, 2, 1)
    return Claim(TaskRecord(name, TaskState.ACQUIRED, version=1, resumes=0), promise, ())


class Table:
    """What there is to claim; answers one look at a time."""

    def __init__(self, slots: int) -> None:
        self.limits: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.answers: queue.SimpleQueue[Claimed | Exception] = queue.SimpleQueue()
        self.delivered: queue.SimpleQueue[list[Claim]] = queue.SimpleQueue()
        self.claimer = Claimer(
            slots,
            claim=self.look,
            deliver=self.delivered.put,
            rest_seconds=lambda: TIMEOUT,
        )

    def look(self, limit: int) -> Claimed:
        self.limits.put(limit)
        answer = self.answers.get(timeout=TIMEOUT)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def limit(self) -> int:
        return self.limits.get(timeout=TIMEOUT)


@pytest.fixture
def table(transactional_db: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Table]:
    monkeypatch.setattr(module, "_PAUSE_AFTER_ERROR", 0.0)
    table = Table(slots=2)
    table.claimer.start()
    yield table
    table.claimer.request_stop()
    table.answers.put(NOTHING)
    table.claimer.join()


def test_it_claims_for_the_free_slots_until_there_are_none(table: Table) -> None:
    assert table.limit() == 2
    table.answers.put(([claim("a")], 0))
    assert [one.task.id for one in table.delivered.get(timeout=TIMEOUT)] == ["a"]
    table.claimer.wake()
    assert table.limit() == 1
    table.answers.put(([claim("b")], 0))
    assert [one.task.id for one in table.delivered.get(timeout=TIMEOUT)] == ["b"]
    table.claimer.wake()  # it is full: it does not look
    table.claimer.free()
    assert table.limit() == 1
    table.answers.put(NOTHING)
    assert table.limits.empty()


def test_it_looks_again_at_once_when_there_may_be_more(table: Table) -> None:
    assert table.limit() == 2
    table.answers.put(([claim("a")], 1))
    assert table.limit() == 1  # what is handed on holds no slot
    table.answers.put(NOTHING)


def test_an_announcement_during_a_look_is_not_lost(table: Table) -> None:
    table.limit()
    table.claimer.wake()
    table.answers.put(NOTHING)
    table.limit()
    table.answers.put(NOTHING)


def test_an_error_does_not_end_it(table: Table, caplog: pytest.LogCaptureFixture) -> None:
    table.limit()
    table.answers.put(RuntimeError("the table is gone"))
    assert table.limit() == 2
    table.answers.put(NOTHING)
    assert "cannot claim" in caplog.text


def test_a_worker_that_is_stopped_before_it_begins_ends(transactional_db: Any) -> None:
    worker = Worker(["default"], concurrency=1)
    worker.request_stop()
    worker.start()
    worker.stop()
    assert not worker.is_alive()
