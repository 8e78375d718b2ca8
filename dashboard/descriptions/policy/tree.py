"""What a policy is: a tree of requirements, and how rejections count. Pure."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

type Unit = tuple[int, ...]
"""Numbers of the leaves of which one person fills one."""


class Kind(StrEnum):
    """What a requirement is."""

    USER = "user"
    GROUP = "group"
    PERMISSION = "permission"
    ANYONE = "anyone"
    ALL_OF = "all_of"
    ANY_OF = "any_of"
    N_OF = "n_of"
    WEIGHTED = "weighted"
    STAGES = "stages"


@dataclass(frozen=True, slots=True)
class Leaf:
    """A requirement that people fill.

    after: ms from the creation of the question, before which nobody can fill it.
    number: its place among the requirements of its policy.
    """

    kind: Kind
    name: str = ""
    count: int = 1
    label: str = ""
    after: int = 0
    number: int = -1


@dataclass(frozen=True, slots=True)
class Gate:
    """A requirement that other requirements fill: together they have to weigh what is needed.

    openings: only of stages, the ways to fulfil all that comes before each of them.
    """

    kind: Kind
    needed: int
    children: tuple["Node", ...]
    weights: tuple[int, ...]
    label: str = ""
    after: int = 0
    number: int = -1
    openings: tuple[tuple["Way", ...], ...] = ()


type Node = Leaf | Gate


class Pick(NamedTuple):
    """So many of these units, each with a person of its own."""

    needed: int
    units: tuple[Unit, ...]


type Way = tuple[Pick, ...]
"""One way to fulfil a requirement: all of these picks."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Who has to approve, and what rejects.

    nodes: the tree, each requirement before those below it; ``number`` is the place here.
    ways: all ways to fulfil the tree, none of which contains another.
    veto: whoever matches one of these rejects at once.
    rejections: how many reject; None when it takes that approval is out of reach.
    """

    nodes: tuple[Node, ...]
    ways: tuple[Way, ...]
    veto: tuple[Leaf, ...] = ()
    rejections: int | None = 1

    @property
    def root(self) -> Node:
        """The whole tree."""
        return self.nodes[0]

    @property
    def leaves(self) -> tuple[Leaf, ...]:
        """What people fill."""
        return tuple(node for node in self.nodes if isinstance(node, Leaf))


def leaves(policy: Policy) -> tuple[Leaf, ...]:
    """Return whom a policy names, also those who may only object."""
    return policy.leaves + policy.veto
