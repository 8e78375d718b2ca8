"""The call tree of an execution as the lines of a table, each with its part of the timeline."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from dashboard import graph
from dashboard.graph import Axis, Bar, Cell, Segment, Tick
from dashboard.masking import secrets_of
from dashboard.payloads import PREVIEW_SOURCE, preview
from dashboard.queries import end_of, status_of
from dashboard.states import Kind, Status, pending_status
from dashboard.tree_entries import Branch, Entry, Group, Node
from dashboard.tree_rows import PAGE, TreeReader
from dashboard.waiting import Fleet, Run
from durable.models import Promise, TaskEvent

INDENT = 16
MAX_INDENTS = 14

_LOOKS: Mapping[int, str] = {
    TaskEvent.ACQUIRED: graph.RUN,
    TaskEvent.SUSPENDED: graph.WAIT,
    TaskEvent.RESUMED: graph.QUEUED,
    TaskEvent.RELEASED: graph.QUEUED,
    TaskEvent.LEASE_EXPIRED: graph.QUEUED,
    TaskEvent.HALTED: graph.WAIT,
    TaskEvent.CONTINUED: graph.QUEUED,
}
_LOSSES = frozenset({TaskEvent.RELEASED, TaskEvent.LEASE_EXPIRED})
_IDLE_LOOKS = {Kind.TIMER: graph.SLEEP, Kind.LATENT: graph.HUMAN}


@dataclass(frozen=True)
class View:
    """What of the tree is unfolded: ids and keys of groups, their pages, and breaks of the axis."""

    opened: frozenset[str] = frozenset()
    closed: frozenset[str] = frozenset()
    offsets: Mapping[str, int] = field(default_factory=dict)
    unfolded: frozenset[int] = frozenset()


@dataclass
class Line:
    """A row of the table, in its place."""

    entry: Entry
    depth: int
    is_open: bool
    has_children: bool
    segments: list[Segment] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)

    is_pager = False

    @property
    def indent(self) -> int:
        """Return the indentation in pixels; very deep rows share one."""
        return INDENT * min(self.depth, MAX_INDENTS)

    @property
    def run_hue(self) -> str:
        """Return the colour of the bars in which it ran."""
        status = self.entry.status if isinstance(self.entry, Node) else Status.RUNNING
        return status.hue if status.is_final else Status.RUNNING.hue

    @property
    def duration(self) -> int | None:
        """Return how long it took; None while it lasts."""
        return None if self.entry.end is None else max(0, self.entry.end - self.entry.start)


class Pager(NamedTuple):
    """A row that leads to the neighbouring pages of siblings."""

    toggle: str
    depth: int
    first: int
    last: int
    total: int

    @property
    def is_pager(self) -> bool:
        """Tell it from a line."""
        return True

    @property
    def indent(self) -> int:
        """Return the indentation in pixels."""
        return INDENT * min(self.depth, MAX_INDENTS)

    @property
    def previous(self) -> int | None:
        """Return the offset of the page before; None on the first."""
        return max(0, self.first - 1 - PAGE) if self.first > 1 else None

    @property
    def next(self) -> int | None:
        """Return the offset of the page after; None on the last."""
        return self.last if self.last < self.total else None


@dataclass(frozen=True)
class Tree:
    """The table and its axis."""

    lines: list[Line | Pager]
    axis: Axis
    ticks: list[Tick]


def read_tree(root: Promise, now: int, view: View, fleet: Fleet) -> Tree:
    """Return the visible part of the call tree below ``root``. Seven queries at most."""
    reader = TreeReader(root, now, view.opened, view.offsets)
    branches, is_small = reader.read()
    walk = _Walk(branches, view, fleet, is_small=is_small)
    lines = list(walk.visit(_root_node(root, now), 0))
    nodes = [line.entry for line in _drawn(lines) if isinstance(line.entry, Node)]
    groups = [line.entry for line in _drawn(lines) if isinstance(line.entry, Group)]
    _draw(nodes, reader)
    axis = _axis(root, nodes, groups, now, view)
    if is_small:
        for group in groups:
            group.cells.update(axis.cell_of(node.start) for node in branches[group.key].entries)
    else:
        reader.count_cells(groups, axis)
        parents = reader.parents_among(nodes)
        for line in _drawn(lines):
            line.has_children |= line.entry.toggle in parents
    for line in _drawn(lines):
        if isinstance(line.entry, Node):
            line.segments = axis.segments(line.entry.bars)
        else:
            line.cells = axis.strip(line.entry.cells)
    return Tree(lines, axis, axis.ticks())


def _drawn(lines: Iterable[Line | Pager]) -> Iterator[Line]:
    return (line for line in lines if isinstance(line, Line))


def _root_node(root: Promise, now: int) -> Node:
    task = getattr(root, "task", None)
    kind = Kind.LATENT if task is None else Kind.CALL
    status = status_of(root, now)
    if status is None and task is not None:
        status = pending_status(kind, task, now)
    status = status or Status.HUMAN
    return Node(
        id=root.id,
        parent="",
        kind=kind,
        function=root.function or "",
        status=status,
        start=root.created_at,
        end=end_of(root, now),
        preview=preview(
            (root.value_data or "")[:PREVIEW_SOURCE],
            secrets_of(getattr(getattr(root, "human_task", None), "description", None)),
            is_error=status in {Status.FAILED, Status.CANCELLED},
        ),
        pid=(task.pid if task is not None else None) or "",
    )


class _Walk:
    """Goes through entries in the order of the table, and adds what runs right now."""

    def __init__(
        self, branches: Mapping[str, Branch], view: View, fleet: Fleet, *, is_small: bool
    ) -> None:
        self._branches = branches
        self._view = view
        self._fleet = fleet
        self._is_small = is_small
        self._runs: dict[str, list[Run]] = {}
        for run in fleet.runs():
            self._runs.setdefault(run.task, []).append(run)

    def visit(self, entry: Entry, depth: int) -> Iterator[Line | Pager]:
        """Yield the line of an entry and, if it is open, what is below it."""
        branch = self._branches.get(entry.toggle, Branch())
        running = self._running_in(entry, branch)
        is_open = self._is_open(entry, depth)
        yield Line(entry, depth, is_open, bool(branch.entries or running or entry.is_group))
        if not is_open:
            return
        for child in [*branch.entries, *running]:
            yield from self.visit(child, depth + 1)
        if branch.total > PAGE:
            last = min(branch.offset + PAGE, branch.total)
            yield Pager(entry.toggle, depth + 1, branch.offset + 1, last, branch.total)

    def _is_open(self, entry: Entry, depth: int) -> bool:
        if entry.toggle in self._view.closed:
            return False
        if depth == 0 or entry.toggle in self._view.opened:
            return True
        return self._is_small and not entry.is_group

    def _running_in(self, entry: Entry, branch: Branch) -> list[Node]:
        """Say where a task runs, and return the steps it runs that have no promise yet."""
        if isinstance(entry, Group) or entry.status is not Status.RUNNING:
            return []
        entry.host = self._fleet.host(entry.pid) if entry.pid else ""
        stored = {node.id: node for node in branch.entries if isinstance(node, Node)}
        new = []
        for run in self._runs.get(entry.id, ()):
            if run.promise in {"", entry.id}:
                continue
            if run.promise in stored:
                stored[run.promise].host, stored[run.promise].attempts = run.host, run.attempt
            else:
                new.append(_run_node(run))
        return new


def _run_node(run: Run) -> Node:
    return Node(
        id=run.promise,
        parent=run.task,
        kind=Kind.STEP,
        function=run.function,
        status=Status.RUNNING,
        start=run.since,
        end=None,
        attempts=run.attempt,
        host=run.host,
        is_stored=False,
    )


def _draw(nodes: Sequence[Node], reader: TreeReader) -> None:
    events = reader.events_of([node.id for node in nodes if node.kind is Kind.CALL])
    for node in nodes:
        if node.kind is Kind.CALL:
            node.bars = call_bars(node, events.get(node.id, ()))
        else:
            node.bars = [Bar(node.start, node.end, _IDLE_LOOKS.get(node.kind, graph.RUN))]


def call_bars(node: Node, events: Iterable[tuple[int, int]]) -> list[Bar]:
    """Cut the life of a task into being queued, running and waiting."""
    bars: list[Bar] = []
    start, look = node.start, graph.QUEUED
    for event, at in events:
        if event not in _LOOKS:
            continue
        is_lost = event in _LOSSES and look == graph.RUN
        if at > start:
            bars.append(Bar(start, at, graph.LOST if is_lost else look))
        start, look = max(at, start), _LOOKS[event]
    if node.end is None or node.end > start or not bars:
        bars.append(Bar(start, node.end, look))
    return bars


def _axis(
    root: Promise, nodes: Sequence[Node], groups: Sequence[Group], now: int, view: View
) -> Axis:
    entries: list[Entry] = [*nodes, *groups]
    end = max(now if entry.end is None else entry.end for entry in entries)
    bars = [bar for node in nodes for bar in node.bars]
    bars += [
        Bar(group.start, group.end, graph.RUN) for group in groups if group.kind not in _IDLE_LOOKS
    ]
    return Axis.build(root.created_at, end, graph.busy_stretches(bars, end), view.unfolded)
