"""All ways to fulfil a requirement, each as picks that a matching of people can fill. Pure.

Which people fill a policy when each of them counts once is in general as hard as a puzzle can be.
Choosing between requirements that one person fills is not: a matching does that. So only choices
between larger requirements are spelt out, and a policy that has too many of those is refused.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from dashboard.descriptions.policy.tree import Leaf, Pick, Unit, Way

MAX_WAYS = 100


class TooManyWaysError(Exception):
    """A requirement can be fulfilled in more ways than anybody could follow."""


def ways_of_leaf(leaf: Leaf) -> tuple[Way, ...]:
    """Return the one way to fill a leaf."""
    return ((Pick(leaf.count, ((leaf.number,),) * leaf.count),),)


def ways_to_reach(
    needed: int, weights: Sequence[int], ways: Sequence[tuple[Way, ...]]
) -> tuple[Way, ...]:
    """Return the ways to fulfil requirements that together weigh what is needed.

    ``ways`` are those of each requirement. Raises ``TooManyWaysError``.
    """
    units: dict[int, list[Unit]] = {}
    classes: list[_Class] = []
    for weight, choices in zip(weights, ways, strict=True):
        if (unit := _as_unit(choices)) is not None:
            units.setdefault(weight, []).append(unit)
        else:
            classes.append(_Class(weight, 1, choices))
    classes += [_Class(weight, len(one), (), tuple(one)) for weight, one in units.items()]
    # The lightest come last: then the last one taken was needed, and so were all before it.
    classes.sort(key=lambda one: -one.weight)
    return _limited(_reach(needed, classes))


def openings_of(ways: Sequence[tuple[Way, ...]]) -> tuple[tuple[Way, ...], ...]:
    """Return for each stage the ways to fulfil all that comes before it."""
    return tuple(ways_to_reach(end, (1,) * end, ways[:end]) for end in range(len(ways)))


class _Class(NamedTuple):
    """Requirements of one weight: units, of which any may be taken, or one that is larger."""

    weight: int
    size: int
    ways: tuple[Way, ...]
    units: tuple[Unit, ...] = ()

    def take(self, count: int) -> Sequence[Way]:
        if not count:
            return ((),)
        return ((Pick(count, self.units),),) if self.units else self.ways


def _as_unit(ways: tuple[Way, ...]) -> Unit | None:
    """Return the leaves of which one is enough, if one person fulfils the requirement."""
    if len(ways) == 1 and len(ways[0]) == 1 and ways[0][0].needed == 1:
        return tuple(number for unit in ways[0][0].units for number in unit)
    return None


def _reach(needed: int, classes: Sequence[_Class]) -> Iterator[Way]:
    """Return the ways to reach a weight of which no part can be left out."""
    if needed <= 0:
        yield ()
        return
    if sum(one.weight * one.size for one in classes) < needed:
        return
    first, *rest = classes
    enough = min(first.size, -(-needed // first.weight))
    for count in range(enough, -1, -1):
        for others in _reach(needed - count * first.weight, rest):
            for own in first.take(count):
                yield (*own, *others)


def _limited(ways: Iterator[Way]) -> tuple[Way, ...]:
    found = tuple(islice(ways, MAX_WAYS + 1))
    if len(found) > MAX_WAYS:
        raise TooManyWaysError
    return found
