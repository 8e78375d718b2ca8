"""Reads promises below a root and makes entries of a call tree of them.

A small tree is read whole. Of a large one only the children of what is open are read, a page at a
time, and more than ``GROUP_ABOVE`` siblings of one name are one entry. The number of queries does
not depend on the tree.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from django.db.models import (
    Avg,
    BigIntegerField,
    Case,
    CharField,
    Count,
    ExpressionWrapper,
    F,
    Max,
    Min,
    Q,
    QuerySet,
    Value,
    When,
    Window,
)
from django.db.models.functions import Coalesce, Length, RowNumber, Substr

from dashboard import graph
from dashboard.graph import STRIP_CELLS, Axis
from dashboard.masking import secrets_of
from dashboard.payloads import PREVIEW_SOURCE, preview
from dashboard.queries import IS_TIMER, Tag, key_of, rows, titles_of
from dashboard.states import KIND_BY_SLUG, Kind, Status, pending_status, projected, settled_status
from dashboard.tree_entries import Branch, Entry, Group, Node, group_of, members_of
from durable.models import HistoryEvent, Promise
from durable.models.fields import IsTargeted
from durable.protocol import tags
from durable.protocol.states import PromiseState

SMALL = 200
PAGE = 200
GROUP_ABOVE = 30
MAX_OPEN = 100
MAX_EVENTS = 60

_FAILED = [PromiseState.REJECTED.value, PromiseState.REJECTED_TIMEDOUT.value]

type Row = Mapping[str, Any]


def ancestors_of(promise_id: str, root_id: str) -> frozenset[str]:
    """Return what the ids above a promise are, if its id was made in the usual way."""
    return frozenset(
        promise_id[:place]
        for place, character in enumerate(promise_id)
        if character in ":." and place >= len(root_id)
    )


class TreeReader:
    """Reads what is below one root, at one time."""

    def __init__(
        self, root: Promise, now: int, opened: Collection[str], offsets: Mapping[str, int]
    ) -> None:
        """``opened`` are ids and keys of groups; ``offsets`` is where their pages begin."""
        self._root = root
        self._now = now
        self._opened = opened
        self._offsets = offsets

    def read(self) -> tuple[dict[str, Branch], bool]:
        """Return entries by id of the parent or key of the group, and whether these are all."""
        # In the order of an index, so that this is what is read: many rows are of a large tree.
        lineage = rows(Promise).filter(origin=self._root.id).order_by("origin", "replayed_by")
        first = lineage.values_list("id")[: SMALL + 2]
        is_small = len(first) <= SMALL + 1
        branches = (
            self._arrange(list(self._steps(self._lineage()))) if is_small else self._read_opened()
        )
        _put_titles(branches.values())
        return branches, is_small

    def parents_among(self, nodes: Iterable[Node]) -> set[str]:
        """Return which nodes have children. Two queries, both by index.

        Those of a call are replayed by it. Those of a step are known by the id of the first, which
        is made of the step's: a search by tag would read the whole tree.
        """
        calls = [node.id for node in nodes if node.kind is Kind.CALL]
        found = rows(Promise).filter(origin=self._root.id, replayed_by__in=calls).order_by()
        parents = set(found.values_list("replayed_by", flat=True).distinct()) if calls else set()
        first = {child: node.id for node in nodes for child in _first_children(node)}
        known = (
            rows(Promise).filter(id__in=first, origin=self._root.id).values_list("id", flat=True)
        )
        return {*parents, *(first[child] for child in known)}

    def events_of(self, task_ids: Collection[str]) -> dict[str, list[tuple[int, int]]]:
        """Return the latest events of tasks as (event, time), oldest first. One query."""
        if not task_ids:
            return {}
        latest = Window(RowNumber(), partition_by=[F("task_id")], order_by=[F("id").desc()])
        found = (
            rows(HistoryEvent)
            .filter(task_id__in=task_ids)
            .annotate(place=latest)
            .filter(place__lte=MAX_EVENTS)
            .order_by("id")
            .values_list("task_id", "event", "at")
        )
        events: dict[str, list[tuple[int, int]]] = {}
        for task_id, event, at in found:
            events.setdefault(task_id, []).append((event, at))
        return events

    def count_cells(self, groups: Sequence[Group], axis: Axis) -> None:
        """Count when the members of groups began, in the cells of a strip. One query."""
        if not groups:
            return
        length = max(axis.end - axis.start, 1)
        cell = ExpressionWrapper(
            (F("start") - axis.start) * STRIP_CELLS / length, output_field=BigIntegerField()
        )
        found = (
            self._lineage()
            .filter(members_of(groups))
            .annotate(cell=cell)
            .order_by()
            .values("parent", "kind", "name", "cell")
            .annotate(count=Count("id"))
        )
        by_key = {group.key: group for group in groups}
        for row in found:
            group = by_key[key_of(row["parent"], row["kind"], row["name"])]
            group.cells[min(max(row["cell"], 0), STRIP_CELLS - 1)] += row["count"]

    # --- Queries ---

    def _lineage(self) -> QuerySet[Any]:
        """Everything below the root, and how it looks from there."""
        text = CharField()
        return (
            rows(Promise)
            .filter(origin=self._root.id)
            .exclude(id=self._root.id)
            .annotate(
                parent=Coalesce(Tag(tags.PARENT), F("origin"), output_field=text),
                kind=Case(
                    When(IsTargeted("tags"), then=Value(Kind.CALL.slug)),
                    When(IS_TIMER, then=Value(Kind.TIMER.slug)),
                    When(is_external=True, then=Value(Kind.LATENT.slug)),
                    default=Value(Kind.STEP.slug),
                    output_field=text,
                ),
                name=Coalesce(F("function"), Value(""), output_field=text),
                start=Coalesce("started_at", "created_at"),
            )
        )

    def _steps(self, lineage: QuerySet[Any], *more: str) -> QuerySet[Any, dict[str, Any]]:
        """Return what a line shows, in the order it began."""
        found: QuerySet[Any, dict[str, Any]] = (
            lineage.annotate(beginning=Substr("value_data", 1, PREVIEW_SOURCE))
            .order_by("start", Length("id"), "id")
            .values(
                *("id", "parent", "kind", "name", "state", "timeout_at", "settled_at", "start"),
                *("attempts", "last_error", "beginning"),
                *("task__state", "task__pid", "task__stuck", "task__expires_at"),
                "human_task__description__secrets",
                *more,
            )
        )
        return found

    # --- A small tree ---

    def _arrange(self, found: Sequence[Row]) -> dict[str, Branch]:
        nodes = {row["id"]: self._node(row) for row in found}
        parents = {node.id: node.parent for node in nodes.values()}
        branches: dict[str, Branch] = {}
        for parent, ids in graph.nest(list(nodes), parents, self._root.id).items():
            siblings = [nodes[one] for one in ids]
            for node in siblings:
                node.parent = parent
            branches |= self._group_siblings(parent, siblings)
        return branches

    def _group_siblings(self, parent: str, siblings: Sequence[Node]) -> dict[str, Branch]:
        """Put siblings of one name into a group where they are many."""
        alike: dict[tuple[Kind, str], list[Node]] = {}
        for node in siblings:
            alike.setdefault((node.kind, node.function), []).append(node)
        entries: list[Entry] = []
        branches = {parent: Branch(entries)}
        for node in siblings:
            members = alike[node.kind, node.function]
            if len(members) <= GROUP_ABOVE:
                entries.append(node)
            elif node is members[0]:
                group = group_of(parent, members)
                entries.append(group)
                branches[group.key] = Branch([*members])
        return branches

    # --- A large tree ---

    def _read_opened(self) -> dict[str, Branch]:
        parents = [self._root.id, *sorted(self._opened)][:MAX_OPEN]
        below = self._lineage().filter(parent__in=parents)
        groups = {group.key: group for group in self._read_groups(below)}
        branches = {one: Branch(offset=self._offset(one)) for one in [*parents, *groups]}
        for row in self._read_page(below, groups, parents):
            branch = branches[row["bucket"] or row["parent"]]
            branch.entries.append(self._node(row))
            branch.total = row["total"]
        for group in groups.values():
            branches[group.parent].entries.append(group)
        for parent in parents:
            branches[parent].entries.sort(key=lambda entry: entry.start)
        return branches

    def _read_groups(self, below: QuerySet[Any]) -> list[Group]:
        is_settled = Q(settled_at__isnull=False) | Q(timeout_at__lte=self._now)
        found = (
            below.order_by()
            .values("parent", "kind", "name")
            .annotate(
                count=Count("id"),
                failed=Count("id", filter=Q(state__in=_FAILED)),
                settled=Count("id", filter=is_settled),
                first=Min("start"),
                last=Max(Coalesce("settled_at", "timeout_at")),
                mean=Avg(F("settled_at") - F("start")),
            )
            .filter(count__gt=GROUP_ABOVE)
            .order_by("first", "parent", "name")[:MAX_OPEN]
        )
        return [
            Group(
                parent=row["parent"],
                kind=KIND_BY_SLUG[row["kind"]],
                function=row["name"],
                count=row["count"],
                failed=row["failed"],
                pending=row["count"] - row["settled"],
                start=row["first"],
                end=row["last"] if row["count"] == row["settled"] else None,
                mean=None if row["mean"] is None else float(row["mean"]),
            )
            for row in found
        ]

    def _read_page(
        self, below: QuerySet[Any], groups: Mapping[str, Group], parents: Sequence[str]
    ) -> QuerySet[Any, dict[str, Any]]:
        """Read a page of the single children of each parent and of the members of open groups."""
        turned = [parent for parent in parents if self._offset(parent)]
        wanted = Q(bucket="", place__lte=PAGE) & ~Q(parent__in=turned)
        for parent in turned:
            wanted |= Q(bucket="", parent=parent) & self._range(parent)
        open_groups = {key: one for key, one in groups.items() if key in self._opened}
        for key in open_groups:
            wanted |= Q(bucket=key) & self._range(key)
        closed_groups = [one for key, one in groups.items() if key not in open_groups]
        whens = [When(one.members(), then=Value(key)) for key, one in open_groups.items()]
        partition = [F("parent"), F("bucket")]
        order = [F("start").asc(), Length("id").asc(), F("id").asc()]
        numbered = (
            # Numbering sorts: what is in a closed group need not come that far.
            below.exclude(members_of(closed_groups))
            .annotate(bucket=Case(*whens, default=Value(""), output_field=CharField()))
            .annotate(
                place=Window(RowNumber(), partition_by=partition, order_by=order),
                total=Window(Count("id"), partition_by=partition),
            )
        )
        return self._steps(numbered.filter(wanted), "bucket", "total")

    def _offset(self, toggle: str) -> int:
        return self._offsets.get(toggle, 0)

    def _range(self, toggle: str) -> Q:
        offset = self._offset(toggle)
        return Q(place__gt=offset, place__lte=offset + PAGE)

    # --- Rows to nodes ---

    def _node(self, row: Row) -> Node:
        kind = KIND_BY_SLUG[row["kind"]]
        status = self._status(row, kind)
        end = row["settled_at"]
        if end is None and row["timeout_at"] <= self._now:
            end = row["timeout_at"]
        is_error = status in {Status.FAILED, Status.CANCELLED}
        node = Node(
            id=row["id"],
            parent=row["parent"],
            kind=kind,
            function=row["name"],
            status=status,
            start=row["start"],
            end=end,
            attempts=row["attempts"] or 1,
            preview=_preview(row, is_error=is_error) or (row["last_error"] or ""),
            pid=row["task__pid"] or "",
        )
        if status is Status.STUCK:
            node.preview = row["task__stuck"] or ""
        return node

    def _status(self, row: Row, kind: Kind) -> Status:
        is_timer = kind is Kind.TIMER
        seen = projected(row["state"], row["timeout_at"], self._now, is_timer=is_timer)
        task = _TaskOf(row["task__state"], row["task__stuck"], row["task__expires_at"])
        return settled_status(seen) or pending_status(kind, task, self._now)


def _preview(row: Row, *, is_error: bool) -> str:
    secrets = secrets_of({"secrets": row["human_task__description__secrets"]})
    return preview(row["beginning"], secrets, is_error=is_error)


def _put_titles(branches: Iterable[Branch]) -> None:
    """Name what waits for people as they see it. One query at most."""
    asked = {
        entry.id: entry
        for branch in branches
        for entry in branch.entries
        if isinstance(entry, Node) and entry.kind is Kind.LATENT
    }
    for promise_id, title in titles_of(asked).items() if asked else ():
        asked[promise_id].title = title


def _first_children(node: Node) -> Iterator[str]:
    """Return what the ids of the first child may be: SDKs count from 0 or from 1."""
    if node.kind is Kind.STEP:
        for separator in ":.":
            for number in "01":
                yield f"{node.id}{separator}{number}"


class _TaskOf(NamedTuple):
    state: str | None
    stuck: str | None
    expires_at: int | None
