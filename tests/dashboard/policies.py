"""Policies made by chance, people to vote on them, and a slow way to count their votes.

The slow way tries every assignment of people to requirements, and knows nothing of the fast one.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from random import Random
from typing import Any

from dashboard.descriptions.policy import Ballot, Person

HOUR = 3_600_000
LEAVES = [
    {"user": "mia"},
    {"user": "jon"},
    {"user": "ann"},
    {"user": "bob"},
    {"group": "finance"},
    {"group": "legal"},
    {"group": "finance", "count": 2},
    {"permission": "shop.pay"},
    {"anyone": True},
    {"anyone": True, "count": 2},
]


def somebody(
    name: str, groups: Iterable[str] = (), permissions: Iterable[str] = ()
) -> dict[str, Any]:
    return {
        "user_id": name,
        "user_name": name,
        "groups": frozenset(groups),
        "permissions": frozenset(permissions),
    }


PEOPLE = {
    "mia": somebody("mia", ["finance"]),
    "jon": somebody("jon", ["finance", "legal"], ["shop.pay"]),
    "ann": somebody("ann", ["legal"]),
    "bob": somebody("bob", [], ["shop.pay"]),
}


def person(name: str) -> Person:
    return Person(**PEOPLE[name])


def ballot(name: str, *, approves: bool = True, at: int = 0, comment: str = "") -> Ballot:
    known = PEOPLE.get(name) or somebody(name)
    return Ballot(**known, approves=approves, at=at, comment=comment)


def ballots(votes: Mapping[str, bool | None]) -> list[Ballot]:
    return [
        ballot(name, approves=said, at=at)
        for at, (name, said) in enumerate(votes.items())
        if said is not None
    ]


def any_policy(random: Random) -> dict[str, Any]:
    """A policy that the reader may refuse, since nobody looks at whether it makes sense."""
    policy = _any_node(random, 3)
    if random.random() < 0.3:
        policy["veto"] = [{"user": random.choice(list(PEOPLE))}]
    if random.random() < 0.7:
        policy["reject"] = random.choice(["any", "impossible", "impossible", {"count": 2}])
    return policy


def _any_node(random: Random, depth: int) -> dict[str, Any]:
    if depth == 0 or random.random() < 0.35:
        node: dict[str, Any] = dict(random.choice(LEAVES))
    else:
        of = [_any_node(random, depth - 1) for _ in range(random.randint(1, 3))]
        match random.choice(["all_of", "any_of", "n_of", "weight", "stages"]):
            case "n_of":
                node = {"n_of": random.randint(1, len(of)), "of": of}
            case "weight":
                of = [{"weight": random.randint(1, 3)} | _in_weights(one) for one in of]
                total = sum(one["weight"] for one in of)
                node = {"weight": random.randint(1, total), "of": of}
            case key:
                node = {key: of}
    if random.random() < 0.15:
        node["after"] = "PT1H"
    return node


def _in_weights(node: dict[str, Any]) -> dict[str, Any]:
    return {"all_of": [node]} if "weight" in node else node


class Oracle:
    """Counts the votes on a policy, as it stands in JSON, by trying everything."""

    def __init__(self, policy: Mapping[str, Any], now: int) -> None:
        self._policy = policy
        self._now = now
        self._known: dict[Any, bool] = {}
        numbers = count()
        self._number = {id(leaf): next(numbers) for leaf in _leaves(policy)}

    def verdict(self, votes: Mapping[str, bool | None]) -> str | None:
        approving = frozenset(name for name, said in votes.items() if said is True)
        active = self.active(approving)
        rejecting = [name for name, said in votes.items() if said is False]
        objecting = {name for name in rejecting if any(_is_for(leaf, name) for leaf in active)}
        if any(_is_for(leaf, name) for leaf in self._policy.get("veto", ()) for name in rejecting):
            return "rejected"
        match self._policy.get("reject", "any"):
            case "any":
                is_rejected = bool(objecting)
            case "impossible":
                is_rejected = bool(objecting) and not self.is_fulfilled(
                    self._policy, frozenset(votes) - objecting, list(_leaves(self._policy))
                )
            case {"count": needed}:
                is_rejected = len(objecting) >= needed
        if is_rejected:
            return "rejected"
        return "approved" if self.is_fulfilled(self._policy, approving, active) else None

    def active(self, approving: frozenset[str]) -> list[Any]:
        """The leaves that can be filled now."""
        found: list[Any] = []
        self._open(self._policy, approving, found)
        return found

    def _open(self, node: Mapping[str, Any], approving: frozenset[str], found: list[Any]) -> None:
        if "after" in node and self._now < HOUR:
            return
        if "stages" not in node:
            for child in _children(node):
                self._open(child, approving, found)
            if not _children(node):
                found.append(node)
            return
        for number, stage in enumerate(node["stages"]):
            before = {"all_of": node["stages"][:number]}
            if number and not self.is_fulfilled(before, approving, found):
                return
            self._open(stage, approving, found)

    def is_fulfilled(
        self, node: Mapping[str, Any], people: frozenset[str], active: list[Any]
    ) -> bool:
        numbers = frozenset(self._number[id(leaf)] for leaf in active)
        within = frozenset(self._number[id(leaf)] for leaf in _leaves(node))
        key = (within, people, numbers)
        if key not in self._known:
            self._known[key] = self._try(node, sorted(people), active, {})
        return self._known[key]

    def _try(
        self, node: Mapping[str, Any], people: list[str], active: list[Any], filled: dict[int, int]
    ) -> bool:
        if not people:
            return self._holds(node, filled)
        first, *rest = people
        for leaf in active:
            number = self._number[id(leaf)]
            if _is_for(leaf, first) and filled.get(number, 0) < leaf.get("count", 1):
                more = filled | {number: filled.get(number, 0) + 1}
                if self._try(node, rest, active, more):
                    return True
        return self._try(node, rest, active, filled)

    def _holds(self, node: Mapping[str, Any], filled: dict[int, int]) -> bool:
        children = _children(node)
        if not children:
            return filled.get(self._number[id(node)], 0) >= node.get("count", 1)
        done = [self._holds(child, filled) for child in children]
        if "any_of" in node:
            return any(done)
        if "n_of" in node:
            return sum(done) >= node["n_of"]
        if "of" in node:
            reached = sum(
                one["weight"] for one, is_done in zip(children, done, strict=True) if is_done
            )
            return reached >= node["weight"]
        return all(done)


def _children(node: Mapping[str, Any]) -> list[Any]:
    return next((node[key] for key in ("all_of", "any_of", "of", "stages") if key in node), [])


def _leaves(node: Mapping[str, Any]) -> Iterator[Any]:
    if not (children := _children(node)):
        yield node
    for child in children:
        yield from _leaves(child)


def _is_for(leaf: Mapping[str, Any], name: str) -> bool:
    who = PEOPLE[name]
    return (
        leaf.get("user") == name
        or leaf.get("group") in who["groups"]
        or leaf.get("permission") in who["permissions"]
        or "anyone" in leaf
    )
