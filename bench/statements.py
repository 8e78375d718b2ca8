"""Statements, commits and log bytes of a workflow and of a step; nothing is timed here."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import durable
from bench import tracing
from bench.counters import Counts, Rate
from bench.figures import Figure
from bench.load import measure_rate, new_key
from bench.session import Session
from bench.workflows import STEPS, one, question_of, signal, ten

_SETTLING_SECONDS = 0.05
_PARKING_SECONDS = 1.0
_OFTEN = 20


def measure(session: Session) -> Iterator[Figure]:
    """Count for workflows one after the other, for many at once, and for a wait that is settled."""
    os.environ["BENCH_COUNTS"] = str(session.folder)
    tracing.start()
    with session.counters.counting(), session.workers():
        _run_at_once(session, ten)  # a page's first change after a checkpoint is logged whole
        before = session.counters.read()
        time.sleep(session.sizes.idle_seconds)
        idle = Rate.of(session.counters.read().since(before))
        for how, run in (("alone", _run_alone), ("many at once", _run_at_once)):
            yield from _workflows(session, idle, how, run)
        yield from _settles(session, idle)


type _Run = Callable[[Session, Callable[..., Any]], None]


def _run_alone(session: Session, function: Callable[..., Any]) -> None:
    for _ in range(session.sizes.counted):
        key = new_key("counted")
        durable.start(key, function)
        session.marks.wait("done", key)
        time.sleep(_SETTLING_SECONDS)  # it is not over with its last line


def _run_at_once(session: Session, function: Callable[..., Any]) -> None:
    concurrency = session.sizes.concurrency
    measure_rate(session.marks, function, session.sizes.counted, concurrency=concurrency)


def _workflows(session: Session, idle: Rate, how: str, run: _Run) -> Iterator[Figure]:
    number = session.sizes.counted
    short, short_texts = _count(session, idle, partial(run, session, one))
    long, long_texts = _count(session, idle, partial(run, session, ten))
    yield from _figures(f"one-step workflow, {how}", short, number, short_texts)
    steps = number * (STEPS - 1)
    texts = long_texts - short_texts
    yield from _figures(f"each further step, {how}", long.since(short), steps, texts)


def _settles(session: Session, idle: Rate) -> Iterator[Figure]:
    number = session.sizes.counted
    keys = [new_key("settled") for _ in range(number)]

    def park() -> None:
        for key in keys:
            durable.start(key, signal)
        for key in keys:
            session.marks.wait("waiting", key)
        time.sleep(_PARKING_SECONDS)

    def settle() -> None:
        for key in keys:
            durable.promises.resolve(question_of(key), {"ok": True})
            session.marks.wait("done", key)
            time.sleep(_SETTLING_SECONDS)

    yield from _figures("start and park", *_count_each(session, idle, park, number))
    yield from _figures("settle, resume and end", *_count_each(session, idle, settle, number))


def _count_each(
    session: Session, idle: Rate, run: Callable[[], None], number: int
) -> tuple[Counts, int, Counter[str]]:
    counts, texts = _count(session, idle, run)
    return counts, number, texts


def _count(session: Session, idle: Rate, run: Callable[[], None]) -> tuple[Counts, Counter[str]]:
    before, texts = session.counters.read(), session.counters.texts()
    run()
    counts = session.counters.read().since(before, less=idle)
    return counts, session.counters.texts() - texts


def _figures(what: str, counts: Counts, number: int, texts: Counter[str]) -> Iterator[Figure]:
    if counts.statements is not None:
        often = [(text[:300], count / number) for text, count in texts.most_common(_OFTEN)]
        yield Figure(f"{what}: statements", "", (counts.statements / number,), {"often": often})
    yield Figure(f"{what}: commits", "", (counts.commits / number,))
    yield Figure(f"{what}: log", "B", (counts.wal / number,))
