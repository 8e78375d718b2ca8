"""Counts votes by a policy: what they decide, what they fill and who is still missing. Pure.

Votes count as they stand: neither their order nor when they were given matters. Instants are epoch
ms.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple

from django.utils.translation import gettext as _

from dashboard.descriptions.policy.matching import Helpers, Matching
from dashboard.descriptions.policy.tree import Gate, Kind, Leaf, Node, Pick, Policy, Way
from dashboard.descriptions.policy.ways import ways_of_leaf

type Verdict = Literal["approved", "rejected"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody by what policies name them, and what people call them.

    is_asked: whether they may answer the question at all, as far as the policy wants to know.
    """

    user_id: object
    user_name: str
    groups: frozenset[str] = frozenset()
    permissions: frozenset[str] = frozenset()
    name: str = ""
    is_asked: bool = True

    def __str__(self) -> str:
        return self.name or self.user_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Ballot(Person):
    """The newest answer of a person; ``cast_by`` is the deputy who gave it."""

    approves: bool
    at: int
    comment: str = ""
    cast_by: str = ""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One line of what a policy asks for; ``depth`` says how far it is below the whole.

    needed, missing: people; of a choice, how many of its parts, or their weight.
    weight: what it counts for, in a choice by weight; else 1.
    filled_by, rejected_by: who answered, of a leaf.
    is_active: whether it can be filled now; if not, ``opens_at`` or an earlier stage comes first.
    is_moot: whether it is not needed any more, since the choice that it is a part of is made.
    """

    label: str
    depth: int
    kind: Kind
    needed: int
    missing: int
    weight: int
    filled_by: tuple[Ballot, ...]
    rejected_by: tuple[Ballot, ...]
    is_active: bool
    opens_at: int | None
    is_done: bool
    is_moot: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the votes bring a question.

    approved, needed: for "1 of 2 approved", on the shortest way that can be gone now.
    next_change_at: when a part opens that waits for its time; None when none does.
    objections: the rejections that count.
    open_leaves: what a person without a vote could fill now.
    active_leaves: what votes count for now.
    """

    verdict: Verdict | None
    requirements: tuple[Requirement, ...]
    approved: int
    needed: int
    next_change_at: int | None
    objections: tuple[Ballot, ...]
    open_leaves: tuple[Leaf, ...]
    active_leaves: tuple[Leaf, ...]


def evaluate(
    policy: Policy,
    votes: Iterable[Ballot],
    *,
    created_at: int,
    now: int,
    others: Iterable[Person] | None = None,
    people: Mapping[str, str] = MappingProxyType({}),
) -> Progress:
    """Count the newest votes of people.

    ``people`` are the names that requirements show, by user name.
    ``others`` are all who have no vote and may still give one; they matter only where a policy
    rejects when approval is out of reach. When unknown, every group counts as large enough.
    """
    count = _Count.of(policy, votes, created_at=created_at, now=now)
    best, open_leaves = _best_of(count)
    verdict: Verdict | None = None
    if _is_rejected(count, others):
        verdict = "rejected"
    elif not best.missing:
        verdict = "approved"
    return Progress(
        verdict=verdict,
        requirements=tuple(_requirements(count, best, people)),
        approved=best.filled,
        needed=best.needed,
        next_change_at=None if verdict else min(count.openings(), default=None),
        objections=count.objections,
        open_leaves=()
        if verdict
        else tuple(one for one in count.active if one.number in open_leaves),
        active_leaves=count.active,
    )


def can_help(policy: Policy, person: Person, progress: Progress) -> bool:
    """Whether the vote of somebody who has none could bring the question forward, or stop it."""
    if progress.verdict is not None:
        return False
    return any(matches(leaf, person) for leaf in (*progress.open_leaves, *policy.veto))


def counts(policy: Policy, person: Person, progress: Progress) -> bool:
    """Whether a vote of somebody counts now, at least as an objection."""
    return any(matches(leaf, person) for leaf in (*progress.active_leaves, *policy.veto))


def matches(leaf: Leaf, person: Person) -> bool:
    """Whether somebody is whom a leaf asks for."""
    match leaf.kind:
        case Kind.USER:
            return person.user_name == leaf.name
        case Kind.GROUP:
            return leaf.name in person.groups
        case Kind.PERMISSION:
            return leaf.name in person.permissions
        case _:
            return person.is_asked


def can_ever_be_filled(policy: Policy) -> bool:
    """Whether there could be people enough, when each of them counts once."""
    return _is_within_reach(policy, list(_strangers(policy, ())))


class _State(NamedTuple):
    """Whether a requirement can be filled now; ``opens_at`` when it has to wait for that time."""

    is_active: bool
    opens_at: int | None


@dataclass(frozen=True, slots=True)
class _Count:
    """A policy with votes, a person's once: what is active, and who can fill it."""

    policy: Policy
    approvals: tuple[Ballot, ...]
    rejections: tuple[Ballot, ...]
    objections: tuple[Ballot, ...]
    states: Mapping[int, _State]
    active: tuple[Leaf, ...]
    helpers: Helpers

    @classmethod
    def of(cls, policy: Policy, votes: Iterable[Ballot], *, created_at: int, now: int) -> "_Count":
        by_time = sorted(votes, key=lambda one: (one.at, str(one.user_id)))
        ballots = {one.user_id: one for one in by_time}.values()
        approvals = tuple(one for one in ballots if one.approves)
        rejections = tuple(one for one in ballots if not one.approves)
        opening = _Opening(created_at, now, _helpers(policy, approvals))
        opening.visit(policy.root, created_at, is_open=True)
        active = tuple(one for one in policy.leaves if opening.states[one.number].is_active)
        heard = (*active, *policy.veto)
        return cls(
            policy=policy,
            approvals=approvals,
            rejections=rejections,
            objections=tuple(
                one for one in rejections if any(matches(leaf, one) for leaf in heard)
            ),
            states=opening.states,
            active=active,
            helpers=opening.active_helpers(),
        )

    def openings(self) -> Iterator[int]:
        """Return when parts open that wait for their time."""
        return (one.opens_at for one in self.states.values() if one.opens_at is not None)

    def has_to_wait(self, way: Way) -> bool:
        """Whether a way cannot be gone to its end yet, whoever votes."""
        return any(self._ready(pick) < pick.needed for pick in way)

    def _ready(self, pick: Pick) -> int:
        return sum(any(self.states[leaf].opens_at is None for leaf in unit) for unit in pick.units)


class _Opening:
    """Finds out what is active, from the top to the bottom."""

    def __init__(self, created_at: int, now: int, helpers: Helpers) -> None:
        self.states: dict[int, _State] = {}
        self._created_at = created_at
        self._now = now
        self._helpers = helpers

    def visit(self, node: Node, at: int, *, is_open: bool) -> None:
        """Note a requirement and those below; ``at`` is when the one above has its time."""
        at = max(at, self._created_at + node.after)
        is_due = self._now >= at
        is_active = is_open and is_due
        self.states[node.number] = _State(is_active, None if is_due else at)
        if isinstance(node, Leaf):
            return
        for number, child in enumerate(node.children):
            if is_active and node.openings:
                helpers = self.active_helpers()
                ways = node.openings[number]
                is_active = any(not Matching(way, helpers).missing for way in ways)
            self.visit(child, at, is_open=is_active)

    def active_helpers(self) -> Helpers:
        """Return who can fill what, as far as it is known to be active."""
        return {
            leaf: people
            for leaf, people in self._helpers.items()
            if leaf in self.states and self.states[leaf].is_active
        }


def _helpers(policy: Policy, people: Sequence[Person]) -> Helpers:
    return {
        leaf.number: [number for number, one in enumerate(people) if matches(leaf, one)]
        for leaf in policy.leaves
    }


def _best_of(count: _Count) -> tuple[Matching, set[int]]:
    """Return the shortest way that can be gone now, and what somebody new could fill on any."""
    found: list[tuple[bool, int, int, Matching]] = []
    open_leaves: set[int] = set()
    for way in count.policy.ways:
        matching = Matching(way, count.helpers)
        if not matching.missing:
            return matching, set()
        open_leaves |= matching.open_leaves()
        found.append((count.has_to_wait(way), matching.missing, matching.needed, matching))
    return min(found, key=lambda one: one[:3])[3], open_leaves


def _is_rejected(count: _Count, others: Iterable[Person] | None) -> bool:
    policy = count.policy
    if any(matches(leaf, one) for leaf in policy.veto for one in count.objections):
        return True
    if policy.rejections is not None:
        return len(count.objections) >= policy.rejections
    if not count.objections:
        return False
    voted = {one.user_id for one in (*count.approvals, *count.rejections)}
    people: list[Person] = [one for one in count.rejections if one not in count.objections]
    if others is None:
        names = {one.user_name for one in (*count.approvals, *count.rejections)}
        people += _strangers(policy, names)
    else:
        people += [one for one in others if one.user_id not in voted]
    return not _is_within_reach(policy, [*count.approvals, *people])


def _is_within_reach(policy: Policy, people: Sequence[Person]) -> bool:
    """Whether a policy would be fulfilled if all these people approved and all time had passed."""
    helpers = _helpers(policy, people)
    return any(not Matching(way, helpers).missing for way in policy.ways)


def _strangers(policy: Policy, known: Collection[str]) -> Iterator[Person]:
    """Return people as there might be: everybody who is named, and all that groups have to send."""
    names = {leaf.name for leaf in policy.leaves if leaf.kind is Kind.USER}
    for name in sorted(names.difference(known)):
        yield Person(user_id=name, user_name=name)
    for leaf in policy.leaves:
        if leaf.kind is not Kind.USER:
            groups = {leaf.name} if leaf.kind is Kind.GROUP else ()
            permissions = {leaf.name} if leaf.kind is Kind.PERMISSION else ()
            somebody = Person(
                user_id=None,
                user_name="",
                groups=frozenset(groups),
                permissions=frozenset(permissions),
            )
            yield from [somebody] * leaf.count


def _requirements(
    count: _Count, best: Matching, people: Mapping[str, str]
) -> Iterator[Requirement]:
    """Return the tree line by line, with those who answered where they count."""
    filled = _filled(count, best)
    objecting = _objecting(count, filled)
    reached = _reached(count.policy, filled)
    moot: set[int] = set()
    for node, depth, weight in _walk(count.policy.root):
        missing = max(_needed(node) - reached[node.number], 0)
        if isinstance(node, Gate) and (node.number in moot or not missing):
            moot |= {child.number for child in node.children}
        state = count.states[node.number]
        yield Requirement(
            label=node.label or _label_of(node, people),
            depth=depth,
            kind=node.kind,
            needed=_needed(node),
            missing=missing,
            weight=weight,
            filled_by=tuple(filled.get(node.number, ())),
            rejected_by=tuple(objecting.get(node.number, ())),
            is_active=state.is_active,
            opens_at=state.opens_at,
            is_done=not missing,
            is_moot=node.number in moot and bool(missing),
        )


def _walk(node: Node, depth: int = 0, weight: int = 1) -> Iterator[tuple[Node, int, int]]:
    yield node, depth, weight
    if isinstance(node, Gate):
        for child, child_weight in zip(node.children, node.weights, strict=True):
            yield from _walk(child, depth + 1, child_weight)


def _needed(node: Node) -> int:
    return node.count if isinstance(node, Leaf) else node.needed


def _filled(count: _Count, best: Matching) -> dict[int, list[Ballot]]:
    """Return who fills which leaf: the best way first, then whatever else is within reach."""
    everything = tuple(pick for leaf in count.active for way in ways_of_leaf(leaf) for pick in way)
    filled: dict[int, list[Ballot]] = {}
    parts = Matching(everything, count.helpers, given=best.parts()).parts()
    for leaf, person in sorted(parts):
        filled.setdefault(leaf, []).append(count.approvals[person])
    return filled


def _objecting(count: _Count, filled: Mapping[int, list[Ballot]]) -> dict[int, list[Ballot]]:
    """Return who rejected instead of filling a leaf: where there is room, else at the first."""
    objecting: dict[int, list[Ballot]] = {}
    for ballot in count.objections:
        mine = [leaf for leaf in count.active if matches(leaf, ballot)]
        room = [
            leaf
            for leaf in mine
            if len(filled.get(leaf.number, ())) + len(objecting.get(leaf.number, ())) < leaf.count
        ]
        for leaf in (room or mine)[:1]:
            objecting.setdefault(leaf.number, []).append(ballot)
    return objecting


def _reached(policy: Policy, filled: Mapping[int, list[Ballot]]) -> dict[int, int]:
    """Return how much of each requirement is there."""
    reached: dict[int, int] = {}
    for node in reversed(policy.nodes):
        if isinstance(node, Leaf):
            reached[node.number] = len(filled.get(node.number, ()))
        else:
            reached[node.number] = sum(
                weight
                for child, weight in zip(node.children, node.weights, strict=True)
                if reached[child.number] >= _needed(child)
            )
    return reached


def _label_of(node: Node, people: Mapping[str, str]) -> str:
    """Return the usual words for a requirement."""
    if isinstance(node, Leaf):
        return _label_of_leaf(node, people)
    match node.kind:
        case Kind.ALL_OF:
            return _("all of these")
        case Kind.ANY_OF:
            return _("any of these")
        case Kind.STAGES:
            return _("one after the other")
        case Kind.N_OF:
            return _("%(count)d of these") % {"count": node.needed}
        case _:
            return _("these, together a weight of %(weight)d") % {"weight": node.needed}


def _label_of_leaf(leaf: Leaf, people: Mapping[str, str]) -> str:
    who = leaf.name
    if leaf.kind is Kind.USER:
        who = people.get(leaf.name, leaf.name)
    elif leaf.kind is Kind.PERMISSION:
        who = _("those with the right %(name)s") % {"name": leaf.name}
    elif leaf.kind is Kind.ANYONE:
        who = _("anyone who may answer")
    return who if leaf.count == 1 else _("%(count)d of %(who)s") % {"count": leaf.count, "who": who}
