"""Worker and serve processes killed with -9 at random: every execution ends once."""

import os
import random
import socket
import time
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import pytest
from django.core.management import call_command

import durable
from durable.clock import now_ms
from durable.models import HistoryEvent, Promise, TaskEvent
from tests.crash import journal
from tests.crash.models import Effect
from tests.crash.workflows import errand, expected
from tests.processes import Process, running, wait_until

LEASE = {"DURABLE_LEASE_MS": "3000", "DURABLE_HEARTBEAT_MS": "500"}


@pytest.fixture
def journal_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "journal"
    monkeypatch.setenv("CRASH_JOURNAL", str(path))
    return path


@pytest.fixture
def crash_env(process_env, journal_file: Path) -> dict[str, str]:
    return {**process_env, **LEASE, "CRASH_JOURNAL": str(journal_file)}


class Answerer:
    """Answers every open question once, as people would from another process: some at a time."""

    def __init__(self, at_once: int = 1000) -> None:
        self.answers: dict[str, str] = {}
        self._at_once = at_once

    def answer_open(self) -> None:
        questions = Promise.objects.filter(
            state="pending", is_external=True, task__isnull=True, tags__has_key="resonate:external"
        )
        for question in questions.exclude(id__in=self.answers)[: self._at_once]:
            comment = f"answer to {question.id}"
            value = {
                "approved": True,
                "answer": "approve",
                "values": {},
                "comment": comment,
                "by": "test",
            }
            if durable.promises.resolve(question.id, value).applied:
                self.answers[question.id] = comment


def kill_at_random(
    processes: list[Process], is_over, answerer: Answerer, *, seconds: float, seed: int
) -> list[int]:
    """Kill a process every now and then until all is over; return the instants (epoch ms)."""
    chance = random.Random(seed)
    kills = []
    end = time.monotonic() + seconds
    next_kill = time.monotonic() + 3
    while not is_over():
        assert time.monotonic() < end, "executions did not end in time"
        answerer.answer_open()
        if time.monotonic() >= next_kill:
            victim = chance.choice(processes)
            kills.append(now_ms())
            victim.kill()
            victim.start()
            next_kill = time.monotonic() + chance.uniform(0.7, 2.5)
        time.sleep(0.05)
    return kills


def all_over(ids: list[str]) -> bool:
    return not Promise.objects.filter(id__in=ids, state="pending").exists()


def assert_nothing_ran_twice(kills: list[int]) -> None:
    """A recorded step never runs again; another run needs a kill since the one before."""
    runs: dict[tuple[str, str], list[int]] = defaultdict(list)
    for run in journal.read():
        runs[run.execution, run.step].append(run.at)
    for (execution, step), starts in runs.items():
        for earlier, later in pairwise(starts):
            assert any(earlier <= kill <= later for kill in kills), (
                f"{execution} {step} ran again at {later}, after {earlier}, without a kill between"
            )
    recorded = recorded_steps()
    for (execution, step), starts in runs.items():
        settled_at = recorded[execution, step]
        assert max(starts) <= settled_at, f"{execution} {step} ran after it was recorded"


def recorded_steps() -> dict[tuple[str, str], int]:
    """Return when each step of the journal was recorded, by the order of the workflow."""
    found: dict[tuple[str, str], int] = {}
    names = {"crash.errand": ["first", "left", "right"], "crash.subtask": ["part0", "part1"]}
    steps = Promise.objects.filter(function="crash.step").order_by("origin", "id")
    by_task: dict[str, list[Promise]] = defaultdict(list)
    for step in steps:
        by_task[str(step.replayed_by)].append(step)
    for task_id, children in by_task.items():
        task = Promise.objects.get(id=task_id)
        for name, child in zip(names[task.function], children, strict=True):
            assert child.settled_at is not None
            found[task.origin, name] = child.settled_at
    return found


def run_under_kills(
    env: dict[str, str], tmp_path: Path, *, number: int, seed: int, answers_at_once: int = 1000
) -> list[int]:
    processes = [
        Process(env, tmp_path / f"worker{n}.log", "worker", "--concurrency", "16") for n in (1, 2)
    ]
    processes.append(
        Process(env, tmp_path / "serve.log", "serve", "--port", str(free_port()), "--worker")
    )
    ids = [durable.start(f"errand-{n}", errand, n).id for n in range(number)]
    answerer = Answerer(answers_at_once)
    with running(*processes):
        kills = kill_at_random(
            processes, lambda: all_over(ids), answerer, seconds=60 + number * 2, seed=seed
        )
    for n, execution in enumerate(ids):
        comment = f"answer to {execution}:3"
        assert durable.get(execution).result(timeout=1) == expected(n, comment)
    assert_nothing_ran_twice(kills)
    effects = sorted(Effect.objects.values_list("execution", "name"))
    assert effects == sorted((one, name) for one in ids for name in ("after", "before", "child"))
    call_command("durable_fsck")
    return kills


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.timeout(240)
def test_executions_survive_kills(crash_env, tmp_path) -> None:
    run_under_kills(crash_env, tmp_path, number=40, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", [2, 3])
def test_200_executions_survive_many_kills(crash_env, tmp_path, seed) -> None:
    # slow answers, or all is over before the fifth kill
    kills = run_under_kills(crash_env, tmp_path, number=200, seed=seed, answers_at_once=1)
    assert len(kills) >= 5


@pytest.mark.timeout(90)
def test_a_killed_worker_is_replaced_within_its_lease(crash_env, tmp_path) -> None:
    first = Process(crash_env, tmp_path / "first.log", "worker")
    second = Process(crash_env, tmp_path / "second.log", "worker")
    handle = durable.start("errand-9", errand, 9)
    answerer = Answerer()
    with running(first):
        wait_until(
            lambda: Promise.objects.filter(id="errand-9:3").exists(),
            seconds=40,
            what="the question",
        )
        first.kill()
        with running(second):
            wait_until(
                lambda: (answerer.answer_open(), not handle.record().is_pending)[1],
                seconds=40,
                what="the end",
            )
    assert handle.result(timeout=1) == expected(9, "answer to errand-9:3")


@pytest.mark.timeout(60)
def test_sigterm_gives_back_what_is_held(crash_env, tmp_path) -> None:
    worker = Process(crash_env, tmp_path / "worker.log", "worker")
    durable.start("errand-5", errand, 5)
    with running(worker):
        wait_until(
            lambda: Promise.objects.filter(id="errand-5:3").exists(),
            seconds=40,
            what="the question",
        )
        assert worker.terminate(15) == 0
    assert not HistoryEvent.objects.filter(event=TaskEvent.LEASE_EXPIRED).exists()


def test_the_journal_is_where_the_environment_says(journal_file) -> None:
    journal.write("x", "y")
    assert [run[:2] for run in journal.read()] == [("x", "y")]
    assert journal.path() == Path(os.environ["CRASH_JOURNAL"]) == journal_file
