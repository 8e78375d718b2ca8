"""Who has to approve together: a small language for it, and how votes count in it. Pure."""

from dashboard.descriptions.policy.counting import (
    Ballot,
    Person,
    Progress,
    Requirement,
    can_help,
    counts,
    evaluate,
)
from dashboard.descriptions.policy.reading import read_policy
from dashboard.descriptions.policy.tree import Kind, Leaf, Policy, leaves

__all__ = [
    "Ballot",
    "Kind",
    "Leaf",
    "Person",
    "Policy",
    "Progress",
    "Requirement",
    "can_help",
    "counts",
    "evaluate",
    "leaves",
    "read_policy",
]
