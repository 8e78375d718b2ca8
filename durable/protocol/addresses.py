"""Delivery addresses (protocol.md 6.1): where messages go, and which group a target names."""

from typing import NamedTuple
from urllib.parse import unquote

POLL_ANY = "poll://any@"
_POLL = "poll://"


class PollAddress(NamedTuple):
    """A parsed ``poll://`` address. ``cast`` is ``uni`` or ``any``; ``id`` may be empty for any."""

    cast: str
    group: str
    id: str


def parse_poll(address: str) -> PollAddress | None:
    """Parse ``poll://cast@group[/id]``; None when the address is not of that form."""
    if not address.startswith(_POLL):
        return None
    cast, at, rest = address.removeprefix(_POLL).partition("@")
    group, _, process = rest.partition("/")
    if not at or cast not in {"uni", "any"} or not group or (cast == "uni" and not process):
        return None
    return PollAddress(cast, unquote(group), unquote(process))


def group_of(target: str) -> str | None:
    """Return the worker group that a target names; None when no group serves it (a URL, say).

    A bare name is a group, as ``poll://any@name`` is.
    """
    if "://" not in target:
        return target or None
    poll = parse_poll(target)
    return poll.group if poll is not None and poll.cast == "any" else None


def target_of(group_or_address: str) -> str:
    """Return the target tag for a group name; an address passes through."""
    if "://" in group_or_address:
        return group_or_address
    return f"{POLL_ANY}{group_or_address}"


def is_listener_address(address: str, *, any_scheme: bool) -> bool:
    """Whether a listener may be registered with this address (protocol.md 0.2)."""
    scheme, separator, rest = address.partition("://")
    if not (scheme and separator and rest):
        return False
    return any_scheme or scheme in {"http", "https"} or (scheme == "poll" and "@" in rest)
