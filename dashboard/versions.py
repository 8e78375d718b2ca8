"""A cheap version of an execution: it differs when anything that its page shows has changed."""

from collections.abc import Collection, Hashable

from django.db.models import Case, Count, F, Max, Q, Sum, When
from django.db.models.functions import Coalesce

from dashboard.open_parts import read_fleet
from dashboard.queries import rows
from durable.clock import now_ms
from durable.models import Promise, Task
from durable.protocol.states import PromiseState, TaskState

_WEIGHTS = {state.value: weight for weight, state in enumerate(TaskState, start=1)}

_OPEN = Q(state=PromiseState.PENDING.value, is_external=True)


def read_versions(roots: Collection[str]) -> dict[str, Hashable]:
    """Return a version for every execution that exists. Three queries for all together."""
    now = now_ms()
    is_overdue = Q(state=PromiseState.PENDING.value, timeout_at__lte=now)
    promises = {
        origin: tuple(numbers)
        for origin, *numbers in rows(Promise)
        .filter(origin__in=roots)
        .order_by()
        .values("origin")
        .annotate(
            count=Count("id"),
            settled=Count("settled_at"),
            last=Max("settled_at"),
            overdue=Count("id", filter=is_overdue),
        )
        .values_list("origin", "count", "settled", "last", "overdue")
    }
    weight = Case(*(When(state=state, then=value) for state, value in _WEIGHTS.items()))
    tasks = {
        origin: tuple(numbers)
        for origin, *numbers in rows(Task)
        # Of the others nothing changes any more, and their end was counted above.
        .filter(promise__in=rows(Promise).filter(_OPEN, origin__in=roots).values("id"))
        .order_by()
        .values(origin=F("promise__origin"))
        .annotate(
            states=Sum(weight),
            versions=Sum("version"),
            releases=Sum("releases"),
            stuck=Count("stuck"),
            waits=Max(Coalesce("not_before", 0)),
        )
        .values_list("origin", "states", "versions", "releases", "stuck", "waits")
    }
    running = _running(roots, now)
    return {
        origin: (numbers, tasks.get(origin), running.get(origin))
        for origin, numbers in promises.items()
    }


def _running(roots: Collection[str], now: int) -> dict[str, Hashable]:
    """Return what runs right now, by execution; ids say to which one it belongs in most cases."""
    running: dict[str, list[tuple[str, str, int]]] = {}
    for run in read_fleet(now).runs():
        origin = next((root for root in roots if _is_below(run.task, root)), None)
        if origin is not None:
            running.setdefault(origin, []).append((run.task, run.promise, run.attempt))
    return {origin: tuple(sorted(runs)) for origin, runs in running.items()}


def _is_below(promise_id: str, root: str) -> bool:
    return promise_id == root or promise_id.startswith((f"{root}:", f"{root}."))
