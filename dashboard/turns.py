"""Says that it is not somebody's turn to answer yet, and what comes before."""

from django.utils.translation import gettext as _

from dashboard.clocks import local, near_text
from dashboard.policies import Wait

MAX_NAMES = 3


def in_list(wait: Wait, now: int) -> str:
    """Say it in a few words."""
    if wait.opens_at is not None:
        return _("Not your turn yet: from %(time)s") % {"time": _when(wait.opens_at, now)}
    if not wait.after:
        return _("Not your turn yet")
    return _("Not your turn yet: after %(names)s") % {"names": _names(wait)}


def on_page(wait: Wait, now: int) -> str:
    """Say it in a sentence."""
    if wait.opens_at is not None:
        when = {"time": _when(wait.opens_at, now)}
        return _("Your answer is not needed yet: it is asked for %(time)s.") % when
    if not wait.after:
        return _("Your answer is not needed yet: it takes others first.")
    names = {"names": _names(wait)}
    return _("Your answer is not needed yet: it takes others first: %(names)s.") % names


def _when(at: int, now: int) -> str:
    return near_text(local(at), local(now).date())


def _names(wait: Wait) -> str:
    more = "…" if len(wait.after) > MAX_NAMES else ""
    return ", ".join(wait.after[:MAX_NAMES]) + more
