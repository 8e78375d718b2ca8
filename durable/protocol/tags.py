"""The reserved tag names (protocol.md 5) and typed readers for them."""

from collections.abc import Mapping

TARGET = "resonate:target"
TIMER = "resonate:timer"
EXTERNAL = "resonate:external"
SCOPE = "resonate:scope"
DELAY = "resonate:delay"
ORIGIN = "resonate:origin"
BRANCH = "resonate:branch"
PARENT = "resonate:parent"
SCHEDULE = "resonate:schedule"

SCOPE_LOCAL = "local"
SCOPE_GLOBAL = "global"
TRUE = "true"

type Tags = Mapping[str, str]


def is_timer(tags: Tags) -> bool:
    """True when the deadline resolves the promise instead of timing it out."""
    return tags.get(TIMER) == TRUE


def is_targeted(tags: Tags) -> bool:
    """True when a worker executes the promise, which then has a task."""
    return TARGET in tags


def parse_delay(tags: Tags) -> int | None:
    """Return the instant (epoch ms) before which nothing is dispatched; None when not given.

    Raises ``ValueError`` when the tag is not a non-negative decimal integer.
    """
    text = tags.get(DELAY)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()):
        message = f"not a non-negative decimal integer: {text!r}"
        raise ValueError(message)
    return int(text)
