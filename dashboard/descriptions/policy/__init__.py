"""Who has to approve together: a small language for it, and how votes count in it. Pure."""

from dashboard.descriptions.policy.counting import (
    Ballot,
    Person,
    Progress,
    Requirement,
    can_help,
    counts,
    evaluate,
    matches,
)
from dashboard.descriptions.policy.reading import a_duration, read_policy
from dashboard.descriptions.policy.tree import Kind, Leaf, Policy, leaves

__all__ = [
    "Ballot",
    "Kind",
    "Leaf",
    "Person",
    "Policy",
    "Progress",
    "Requirement",
    "a_duration",
    "can_help",
    "counts",
    "evaluate",
    "leaves",
    "matches",
    "read_policy",
]
