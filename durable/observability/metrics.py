"""Prometheus metrics: counters of this process (protocol.md 9.4), and states read when scraped.

States and lease expiries are those of the whole database, whichever process is asked.
"""

import threading
from collections.abc import Iterable, Iterator
from typing import override

from django.db.models import Count, Min, Q
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from durable import clock, conf
from durable.models import HistoryEvent, OutboxMessage, Stream, Task, TaskEvent
from durable.protocol.requests import REQUESTS
from durable.protocol.states import TaskState
from durable.store import tallies

CONTENT_TYPE = CONTENT_TYPE_LATEST
OTHER = "other"
"""Stands for kinds that are none: the label is not the client's to choose."""
_SEARCHES = ("promise.search", "task.search", "schedule.search")
_DEBUG = frozenset({"debug.start", "debug.stop", "debug.reset", "debug.tick", "debug.snap"})
_KINDS = frozenset({*REQUESTS, *_SEARCHES, *_DEBUG})
_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_MS = 1000

registry = CollectorRegistry()

_requests = Counter(
    "resonate_request",
    "Requests answered by this process",
    ["kind", "status"],
    registry=registry,
)
_durations = Histogram(
    "resonate_request_duration_seconds",
    "Time from a request to its answer",
    ["kind"],
    registry=registry,
)
_messages = Counter(
    "resonate_messages", "Messages claimed for delivery", ["kind"], registry=registry
)
_deliveries = Counter(
    "resonate_deliveries", "Deliveries by how they ended", ["status"], registry=registry
)


_replays = Histogram(
    "durable_replay_seconds",
    "Time from the start of a pass with a history to the first thing it does anew",
    registry=registry,
)


def observe_replay(seconds: float) -> None:
    """Count a replay."""
    _replays.observe(seconds)


def count_request(kind: str, status: int, seconds: float) -> None:
    """Count an answered request."""
    known = kind if kind in _KINDS else OTHER
    _requests.labels(known, str(status)).inc()
    _durations.labels(known).observe(seconds)


def count_message(kind: str) -> None:
    """Count a message that is about to be delivered: ``execute`` or ``unblock``."""
    _messages.labels(kind).inc()


def count_delivery(status: str) -> None:
    """Count how a delivery ended: ``success``, ``error`` or ``dropped``."""
    _deliveries.labels(status).inc()


class StateCollector(Collector):
    """Reads the tables when Prometheus asks."""

    def __init__(self) -> None:
        """Count lease expiries from now on."""
        self._lock = threading.Lock()
        self._last_event: int | None = None
        self._expiries = 0

    @override
    def collect(self) -> Iterable[Metric]:
        yield from self._tasks()
        yield from self._queues()
        yield self._streams()
        yield self._outbox()
        yield self._lease_expiries()
        yield _commits()
        yield _waits()
        yield _statements()
        yield CounterMetricFamily(
            "resonate_schedule_promises",
            "Promises created by schedules",
            value=tallies.fired[tallies.SCHEDULE_PROMISES],
        )

    def _tasks(self) -> Iterator[Metric]:
        states = GaugeMetricFamily(
            "durable_tasks", "Tasks that are not fulfilled", labels=["state"]
        )
        found = (
            Task.objects.using(conf.database_alias())
            .exclude(state=TaskState.FULFILLED.value)
            .values_list("state")
            .annotate(count=Count("*"))
        )
        counts = dict(found)
        for state in TaskState:
            if state is not TaskState.FULFILLED:
                states.add_metric([state.value], counts.get(state.value, 0))
        yield states

    def _queues(self) -> Iterator[Metric]:
        depth = GaugeMetricFamily(
            "durable_queue_depth", "Tasks that wait for a worker", labels=["group"]
        )
        oldest = GaugeMetricFamily(
            "durable_queue_oldest_pending_seconds",
            "How long the longest waiting task could have been taken",
            labels=["group"],
        )
        now = clock.now_ms()
        found = (
            Task.objects.using(conf.database_alias())
            .filter(state=TaskState.PENDING.value)
            .values_list("queue")
            .annotate(count=Count("*"), since=Min("not_before"))
        )
        for group, count, since in found:
            depth.add_metric([group or ""], count)
            oldest.add_metric([group or ""], max(now - since, 0) / _MS)
        yield depth
        yield oldest

    def _streams(self) -> Metric:
        streams = GaugeMetricFamily(
            "durable_streams", "Event streams of workers, in all processes", labels=["group"]
        )
        rows = Stream.objects.using(conf.database_alias()).values_list("queue")
        for group, count in rows.annotate(count=Count("*")):
            streams.add_metric([group], count)
        return streams

    def _outbox(self) -> Metric:
        outbox = GaugeMetricFamily(
            "durable_outbox_messages", "Messages not handed over", labels=["kind"]
        )
        counts = OutboxMessage.objects.using(conf.database_alias()).aggregate(
            execute=Count("id", filter=Q(version__isnull=False)),
            unblock=Count("id", filter=Q(version__isnull=True)),
        )
        for kind, count in counts.items():
            outbox.add_metric([kind], count)
        return outbox

    def _lease_expiries(self) -> Metric:
        """Count events that were written since the last look."""
        events = HistoryEvent.objects.using(conf.database_alias())
        newest = events.order_by("-id").values_list("id", flat=True).first() or 0
        with self._lock:
            if self._last_event is not None:
                self._expiries += events.filter(
                    id__gt=self._last_event, id__lte=newest, event=TaskEvent.LEASE_EXPIRED
                ).count()
            self._last_event = newest
            return CounterMetricFamily(
                "durable_lease_expiries",
                "Leases that ran out since this process was first asked",
                value=self._expiries,
            )


def _commits() -> Metric:
    """Return how many programs shared a commit in this process."""
    sizes = dict(tallies.batch_sizes)
    buckets = [
        (str(limit), sum(count for size, count in sizes.items() if size <= limit))
        for limit in _BATCH_BUCKETS
    ]
    return HistogramMetricFamily(
        "durable_commit_batch_size",
        "Programs that shared a commit",
        buckets=[*buckets, ("+Inf", sum(sizes.values()))],
        sum_value=sum(size * count for size, count in sizes.items()),
    )


def _waits() -> Metric:
    total = tallies.commit_waits
    return SummaryMetricFamily(
        "durable_commit_wait_seconds",
        "Time that programs waited for the transaction that ran them",
        count_value=total.count,
        sum_value=total.sum,
    )


def _statements() -> Metric:
    return CounterMetricFamily(
        "durable_statements",
        "Statements that the store sent in this process; divide by the programs",
        value=tallies.statements[tallies.STORE],
    )


registry.register(StateCollector())


def render() -> bytes:
    """Return all metrics as text."""
    return generate_latest(registry)
