"""Reads a policy from a description; every mistake is named with its path. Pure."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple

from dashboard.descriptions.policy.counting import can_ever_be_filled
from dashboard.descriptions.policy.tree import Gate, Kind, Leaf, Node, Policy, Way
from dashboard.descriptions.policy.ways import (
    MAX_WAYS,
    TooManyWaysError,
    openings_of,
    ways_of_leaf,
    ways_to_reach,
)
from dashboard.descriptions.reading import (
    DescriptionError,
    Source,
    a_list,
    a_name,
    an_integer,
    an_object,
)

MAX_DEPTH = 8
MAX_NODES = 100
MAX_PEOPLE = 100
MAX_WEIGHT = 1000
MAX_LABEL = 100
MAX_VETOES = 20

_WEIGHT = "weight"
_OF = "of"
_LEAVES = (Kind.USER, Kind.GROUP, Kind.PERMISSION, Kind.ANYONE)
_LISTS = (Kind.ALL_OF, Kind.ANY_OF, Kind.STAGES, _OF)
_WHOLE = ("veto", "reject", "distinct")
_PERMISSION = re.compile(r"[^\s.]+\.\S+")
_DURATION = re.compile(
    r"P(?=.)(?:(\d{1,3})W)?(?:(\d{1,4})D)?"
    r"(?:T(?=.)(?:(\d{1,5})H)?(?:(\d{1,6})M)?(?:(\d{1,7})S)?)?",
    re.ASCII,
)
_FIRST: int | None = 1
_SECONDS = (7 * 86_400, 86_400, 3600, 60, 1)


def read_policy(value: Any, path: str) -> Policy:
    """Read a whole policy."""
    source = Source(an_object(value, path), path)
    tree = _Reader().read(source, also=_WHOLE)
    source.get("distinct", _distinct, True)
    policy = Policy(
        nodes=tuple(_preorder(tree.node)),
        ways=tree.ways,
        veto=source.get("veto", _veto, ()),
        rejections=source.get("reject", _rejections, _FIRST),
    )
    if not can_ever_be_filled(policy):
        raise DescriptionError(path, "can never be fulfilled, since each person counts once")
    return policy


class _Read(NamedTuple):
    node: Node
    ways: tuple[Way, ...]
    weight: int = 1


class _Reader:
    """Reads requirements and numbers them, each before those below it."""

    def __init__(self) -> None:
        self._nodes = 0
        self._people = 0

    def read(
        self,
        source: Source,
        *,
        depth: int = 1,
        also: Collection[str] = (),
        is_weighed: bool = False,
    ) -> _Read:
        """Read a requirement and those below it. ``also`` are keys that it may have besides."""
        if depth > MAX_DEPTH:
            raise DescriptionError(source.path, f"is nested more than {MAX_DEPTH} deep")
        number = self._nodes
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise DescriptionError(
                source.path, f"comes after {MAX_NODES} others, which is the most"
            )
        key = _key_of(source, (*_LEAVES, *_LISTS))
        common = {
            "label": source.get("label", _label, ""),
            "after": source.get("after", a_duration, 0),
            "number": number,
        }
        allowed = {key, "label", "after", *also}
        weight = source.require(_WEIGHT, _weight) if is_weighed else 1
        if is_weighed:
            allowed.add(_WEIGHT)
        if key in _LEAVES:
            _check_keys(source, allowed | ({"count"} if key != Kind.USER else set()))
            leaf = _leaf(source, Kind(key), source.get("count", _people, 1), common)
            return _Read(leaf, self._ways_of(leaf, source.path), weight)
        kind, needed_key = _kind_of(source, key, is_weighed=is_weighed)
        _check_keys(source, allowed | {needed_key or key})
        children = self._children(source, key, depth, is_weighed=kind is Kind.WEIGHTED)
        needed = _needed(source, kind, needed_key, [one.weight for one in children])
        return _Read(*_gate(source, kind, needed, children, common), weight)

    def _children(self, source: Source, key: str, depth: int, *, is_weighed: bool) -> list[_Read]:
        path = source.at(key)
        if not (given := source.require(key, a_list)):
            raise DescriptionError(path, "is empty")
        return [
            self.read(
                Source(an_object(one, f"{path}[{index}]"), f"{path}[{index}]"),
                depth=depth + 1,
                is_weighed=is_weighed,
            )
            for index, one in enumerate(given)
        ]

    def _ways_of(self, leaf: Leaf, path: str) -> tuple[Way, ...]:
        self._people += leaf.count
        if self._people > MAX_PEOPLE:
            raise DescriptionError(path, f"makes it more than {MAX_PEOPLE} people in all")
        return ways_of_leaf(leaf)


def a_duration(value: Any, path: str) -> int:
    """Read a length of time in ISO 8601 as ms: weeks, days, hours, minutes and seconds."""
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise DescriptionError(path, "must be a length of time like PT4H or P1DT12H")
    parts = zip(found.groups(), _SECONDS, strict=True)
    return 1000 * sum(int(number or 0) * seconds for number, seconds in parts)


def _key_of(source: Source, keys: Collection[str]) -> str:
    """Return the one key that says what a requirement is."""
    for key, value in source.values.items():
        if value is None:
            raise DescriptionError(source.at(key), "is null")
    given = [str(key) for key in keys if key in source.values]
    if not given:
        raise DescriptionError(source.path, f"must have one of {', '.join(keys)}")
    if len(given) > 1:
        raise DescriptionError(source.path, f"must not have both {given[0]} and {given[1]}")
    return given[0]


def _check_keys(source: Source, allowed: Collection[str]) -> None:
    for key in source.values:
        if key in allowed:
            continue
        if key in _WHOLE:
            raise DescriptionError(source.at(key), "belongs to the whole policy")
        if key == _WEIGHT:
            raise DescriptionError(source.at(key), "has a meaning only in a list by weight")
        raise DescriptionError(source.at(key), "has no meaning here")


def _kind_of(source: Source, key: str, *, is_weighed: bool) -> tuple[Kind, str]:
    """Return what a list is, and the key of how much of it is needed; empty for the plain ones."""
    if key != _OF:
        return Kind(key), ""
    if Kind.N_OF in source.values:
        return Kind.N_OF, Kind.N_OF
    if is_weighed:
        raise DescriptionError(source.at(_OF), "is a list by weight in another: put it into all_of")
    if _WEIGHT not in source.values:
        raise DescriptionError(source.path, "must have n_of or weight beside of")
    return Kind.WEIGHTED, _WEIGHT


def _needed(source: Source, kind: Kind, key: str, weights: list[int]) -> int:
    if kind is Kind.ANY_OF:
        return 1
    if not key:
        return len(weights)
    return an_integer(source.values[key], source.at(key), least=1, most=sum(weights))


def _gate(
    source: Source, kind: Kind, needed: int, children: list[_Read], common: Mapping[str, Any]
) -> tuple[Gate, tuple[Way, ...]]:
    weights = tuple(one.weight for one in children)
    below = [one.ways for one in children]
    try:
        ways = ways_to_reach(needed, weights, below)
        openings = openings_of(below) if kind is Kind.STAGES else ()
    except TooManyWaysError:
        problem = f"can be fulfilled in more than {MAX_WAYS} ways: choose between smaller parts"
        raise DescriptionError(source.path, problem) from None
    nodes = tuple(one.node for one in children)
    return Gate(kind, needed, nodes, weights, openings=openings, **common), ways


def _preorder(node: Node) -> Iterator[Node]:
    yield node
    if isinstance(node, Gate):
        for child in node.children:
            yield from _preorder(child)


def _leaf(source: Source, kind: Kind, count: int, common: Mapping[str, Any]) -> Leaf:
    return Leaf(kind, source.require(kind, _NAMES[kind]), count, **common)


def _veto(value: Any, path: str) -> tuple[Leaf, ...]:
    if not 1 <= len(given := a_list(value, path)) <= MAX_VETOES:
        raise DescriptionError(path, f"must have 1 to {MAX_VETOES} entries")
    return tuple(_objector(one, f"{path}[{index}]") for index, one in enumerate(given))


def _objector(value: Any, path: str) -> Leaf:
    source = Source(an_object(value, path), path)
    kind = Kind(_key_of(source, _LEAVES))
    _check_keys(source, {kind, "label"})
    return _leaf(source, kind, 1, {"label": source.get("label", _label, "")})


def _rejections(value: Any, path: str) -> int | None:
    if value == "any":
        return 1
    if value == "impossible":
        return None
    if not isinstance(value, dict) or set(value) != {"count"}:
        raise DescriptionError(path, 'must be "any", "impossible" or like {"count": 2}')
    return _people(value["count"], f"{path}.count")


def _distinct(value: Any, path: str) -> bool:
    if value is not True:
        raise DescriptionError(path, "must be true: a person always counts once")
    return True


def _anyone(value: Any, path: str) -> str:
    if value is not True:
        raise DescriptionError(path, "must be true")
    return ""


def _permission(value: Any, path: str) -> str:
    if not _PERMISSION.fullmatch(name := a_name(value, path)):
        raise DescriptionError(path, "must be a permission like shop.approve_order")
    return name


def _label(value: Any, path: str) -> str:
    return a_name(value, path, MAX_LABEL)


def _people(value: Any, path: str) -> int:
    return an_integer(value, path, least=1, most=MAX_PEOPLE)


def _weight(value: Any, path: str) -> int:
    return an_integer(value, path, least=1, most=MAX_WEIGHT)


_NAMES: Mapping[Kind, Callable[[Any, str], str]] = {
    Kind.USER: a_name,
    Kind.GROUP: a_name,
    Kind.PERMISSION: _permission,
    Kind.ANYONE: _anyone,
}
