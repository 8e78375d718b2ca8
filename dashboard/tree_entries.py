"""What a call tree is made of: promises, steps that run, and groups of siblings of one name."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import or_

from django.db.models import Q

from dashboard.graph import Bar
from dashboard.queries import key_of
from dashboard.states import Kind, Status

_FAILURES = frozenset({Status.FAILED, Status.TIMED_OUT})


@dataclass
class Node:
    """A promise in the tree, or a step that runs right now and has no promise yet."""

    id: str
    parent: str
    kind: Kind
    function: str
    status: Status
    start: int
    end: int | None
    title: str = ""
    attempts: int = 1
    preview: str = ""
    pid: str = ""
    host: str = ""
    is_stored: bool = True
    bars: list[Bar] = field(default_factory=list)

    is_group = False

    @property
    def key(self) -> str:
        """Return what names this row in the page."""
        return key_of(self.id)

    @property
    def toggle(self) -> str:
        """Return what names this row in the query string."""
        return self.id

    @property
    def name(self) -> str:
        """Return what it is called."""
        return self.title or self.function or str(self.kind.label)

    @property
    def suffix(self) -> str:
        """Return what its id adds to its parent's, or the whole id."""
        return self.id.removeprefix(self.parent)


@dataclass
class Group:
    """Many siblings of one name, as one row."""

    parent: str
    kind: Kind
    function: str
    count: int
    failed: int
    pending: int
    start: int
    end: int | None
    mean: float | None
    cells: Counter[int] = field(default_factory=Counter)

    is_group = True

    @property
    def key(self) -> str:
        """Return what names this row in the page and in the query string."""
        return key_of(self.parent, self.kind.slug, self.function)

    @property
    def toggle(self) -> str:
        """Return what names this row in the query string."""
        return self.key

    @property
    def name(self) -> str:
        """Return what its members are called."""
        return self.function or str(self.kind.label)

    def members(self) -> Q:
        """Match the promises it stands for."""
        return Q(parent=self.parent, kind=self.kind.slug, name=self.function)


type Entry = Node | Group


@dataclass
class Branch:
    """The entries below one parent or in one group, and which page of them was read."""

    entries: list[Entry] = field(default_factory=list)
    offset: int = 0
    total: int = 0


def group_of(parent: str, members: Sequence[Node]) -> Group:
    """Return the row that stands for siblings of one name."""
    ended = [(node.start, node.end) for node in members if node.end is not None]
    return Group(
        parent=parent,
        kind=members[0].kind,
        function=members[0].function,
        count=len(members),
        failed=sum(node.status in _FAILURES for node in members),
        pending=len(members) - len(ended),
        start=min(node.start for node in members),
        end=max(end for _, end in ended) if len(ended) == len(members) else None,
        mean=_mean(end - start for start, end in ended),
    )


def _mean(lengths: Iterable[int]) -> float | None:
    known = list(lengths)
    return sum(known) / len(known) if known else None


def members_of(groups: Iterable[Group]) -> Q:
    """Match the promises that any of the groups stands for."""
    names: dict[tuple[str, str], list[str]] = {}
    for group in groups:
        names.setdefault((group.parent, group.kind.slug), []).append(group.function)
    return reduce(
        or_,
        (Q(name__in=some, kind=kind, parent=parent) for (parent, kind), some in names.items()),
        Q(pk__in=[]),
    )
