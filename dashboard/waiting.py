"""Why an execution does not move, in one sentence. Pure: what was read comes in, words go out."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from dashboard.clocks import whole_text
from dashboard.states import Status


class Part(NamedTuple):
    """A live promise that gives its execution a status; ``total`` is how many like it there are."""

    id: str
    status: Status
    total: int = 1
    function: str = ""
    title: str = ""
    created_at: int = 0
    timeout_at: int = 0
    target: str = ""
    queue: str | None = None
    pid: str = ""
    not_before: int = 0
    releases: int = 0
    stuck: str = ""


class Reason(NamedTuple):
    """A sentence, an instant that it ends with, and the promise that it is about.

    ``since``, ``until`` and ``at`` are epoch ms, one of them at most. ``answer`` is the promise
    that a person can answer, ``execution`` the execution that is waited for.
    """

    status: Status
    text: str
    since: int | None = None
    until: int | None = None
    at: int | None = None
    answer: str = ""
    execution: str = ""


class WorkerRow(Protocol):
    """What is read of a worker."""

    pid: Any
    groups: Any
    functions: Any
    host: Any
    concurrency: Any
    seen_at: Any
    running: Any


class Run(NamedTuple):
    """What a worker says it runs right now."""

    task: str
    promise: str
    function: str
    attempt: int
    since: int
    pid: str
    host: str


class Fleet:
    """The worker processes as they last described themselves; silent ones count as gone."""

    def __init__(
        self, workers: Iterable[WorkerRow] = (), *, now: int = 0, patience: int = 0
    ) -> None:
        """``patience`` is how long a worker may be silent, in ms."""
        self._workers: dict[str, WorkerRow] = {worker.pid: worker for worker in workers}
        self._now = now
        self._alive_since = now - patience

    def host(self, pid: str) -> str:
        """Return the host of a process, or the pid of a worker that never described itself."""
        worker = self._workers.get(pid)
        return str(worker.host) if worker is not None else pid

    def runs(self) -> list[Run]:
        """Return what runs now on every worker that is alive."""
        return [
            Run(
                str(one.get("task", "")),
                str(one.get("promise", "")),
                str(one.get("function", "")),
                int(one.get("attempt") or 1),
                int(one.get("since") or self._now),
                worker.pid,
                worker.host,
            )
            for worker in self._workers.values()
            if worker.seen_at > self._alive_since
            for one in worker.running or ()
        ]

    def describe_group(self, group: str, function: str = "") -> str:
        """Say whether anybody of a group could take a task that calls a function."""
        members = [worker for worker in self._workers.values() if group in (worker.groups or ())]
        if not members:
            return _("none was ever seen")
        alive = [worker for worker in members if worker.seen_at > self._alive_since]
        if not alive:
            silence = self._now - max(worker.seen_at for worker in members)
            return _("none seen for %(length)s") % {"length": whole_text(silence // 1000)}
        # A worker that does not say what it knows may know everything.
        able = [worker for worker in alive if function in (worker.functions or (function,))]
        if function and not able:
            return _("none knows the function %(function)s") % {"function": function}
        busy = sum(len(worker.running or ()) >= worker.concurrency for worker in able)
        if busy == len(able):
            return ngettext("%(count)d busy", "%(count)d busy", busy) % {"count": busy}
        free = len(able) - busy
        return ngettext("%(count)d ready", "%(count)d ready", free) % {"count": free}


def explain(part: Part, now: int, fleet: Fleet, deciders: str, awaited: Sequence[str]) -> Reason:
    """Return the sentence for the part that tells most about an execution."""
    match part.status:
        case Status.STUCK:
            return _stuck(part, now)
        case Status.HUMAN:
            return _human(part, deciders)
        case Status.RUNNING:
            return _running(part, fleet)
        case Status.QUEUED:
            return _queued(part, now, fleet)
        case Status.SLEEPING:
            return Reason(part.status, _("Sleeping"), until=part.timeout_at)
        case _:
            return _waiting(part, awaited)


def _stuck(part: Part, now: int) -> Reason:
    text = part.stuck or _("halted by an operator; it goes on when it is continued")
    if part.function:
        text = f"{part.function}: {text}"
    if part.stuck and part.not_before > now:
        return Reason(part.status, _("%(text)s; next try") % {"text": text}, at=part.not_before)
    return Reason(part.status, text)


def _human(part: Part, deciders: str) -> Reason:
    names = {"who": deciders, "title": part.title or part.id}
    if deciders and part.title:
        text = _("Waiting for %(who)s to answer “%(title)s”") % names
    elif deciders:
        text = _("Waiting for %(who)s") % names
    else:
        text = _("Waiting for an answer to “%(title)s”") % names
    return Reason(part.status, text + _more(part.total - 1), since=part.created_at, answer=part.id)


def _running(part: Part, fleet: Fleet) -> Reason:
    current = [run for run in fleet.runs() if run.task == part.id]
    names = {
        "name": current[0].function if current else part.function or part.id,
        "host": fleet.host(part.pid),
    }
    text = _("Running %(name)s on %(host)s") % names
    since = min((run.since for run in current), default=None)
    return Reason(part.status, text + _more(part.total - 1), since=since)


def _queued(part: Part, now: int, fleet: Fleet) -> Reason:
    if part.not_before > now and part.releases:
        text = ngettext(
            "Given back %(count)d time without progress; next try",
            "Given back %(count)d times without progress; next try",
            part.releases,
        )
        return Reason(part.status, text % {"count": part.releases}, at=part.not_before)
    if part.not_before > now:
        return Reason(part.status, _("Delayed"), until=part.not_before)
    if part.queue is None:
        names = {"target": part.target or part.id}
        return Reason(part.status, _("Waiting for %(target)s to take it") % names)
    text = ngettext(
        "Waiting for a worker of group %(group)s: %(workers)s",
        "%(count)d calls wait for a worker of group %(group)s: %(workers)s",
        part.total,
    )
    workers = fleet.describe_group(part.queue, part.function)
    return Reason(
        part.status, text % {"group": part.queue, "workers": workers, "count": part.total}
    )


def _waiting(part: Part, awaited: Sequence[str]) -> Reason:
    if not awaited:
        return Reason(part.status, _("Waiting to be resumed"))
    text = _("Waiting for execution %(id)s") % {"id": awaited[0]}
    return Reason(part.status, text + _more(len(awaited) - 1), execution=awaited[0])


def _more(number: int) -> str:
    return _(" (and %(count)d more)") % {"count": number} if number > 0 else ""
