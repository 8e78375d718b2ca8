"""What a digest says: all that waits for a person, overdue first. Nothing secret gets past here."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from django.contrib.auth.models import AbstractBaseUser
from django.db.models import F, Q
from django.db.models.lookups import IsNull
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from dashboard.attendance import is_overdue
from dashboard.channels.contents import (
    page_url,
    principal_name,
    read_notice,
    task_url,
)
from dashboard.delegations import active_delegations
from dashboard.inbox_order import Bucket, bucket_of, waits_at
from dashboard.inbox_queries import COUNT_LIMIT, Tab, facts_on_card, not_in_turn, open_tasks
from dashboard.models import HumanTask
from dashboard.templatetags.signoff_inbox import fact as fact_text
from durable.clock import now_ms

MAX_ITEMS = 50
_ORDER = (IsNull(F("waits_for_requester_since"), False), "due_at", "created_at", "pk")


class Item(NamedTuple):
    """One question. ``principal`` is whose place the reader takes, if so."""

    bucket: Bucket
    title: str
    due: str
    facts: str
    principal: str
    url: str


@dataclass(frozen=True, slots=True)
class Digest:
    """What waits for a person, in the language and time zone of the moment.

    total: how many wait, also those for which there is no room; none above ``COUNT_LIMIT``.
    """

    items: tuple[Item, ...]
    total: int
    overdue: int
    inbox_url: str

    @property
    def subject(self) -> str:
        """Say in one line how much waits."""
        if self.total >= COUNT_LIMIT:
            waiting = _("More than %(count)d questions wait for you") % {"count": COUNT_LIMIT - 1}
        else:
            waiting = ngettext(
                "%(count)d question waits for you", "%(count)d questions wait for you", self.total
            ) % {"count": self.total}
        if not self.overdue:
            return waiting
        overdue = ngettext("%(count)d overdue", "%(count)d overdue", self.overdue)
        return f"{waiting}, {overdue % {'count': self.overdue}}"

    @property
    def left_out(self) -> int:
        """How many there is no room for."""
        return self.total - len(self.items)


def read_digest(user: AbstractBaseUser, muted_kinds: Collection[str]) -> Digest | None:
    """Return what is for a user to answer now, but for what is muted; None when nothing is."""
    now = now_ms()
    is_muted = Q(type__in=muted_kinds) | Q(type="", function__in=muted_kinds)
    tasks = open_tasks(user, Tab.ANSWER, now).exclude(is_muted)
    # Messages are for those who are named, and about what is described, see ``announce``.
    tasks = tasks.filter(is_unassigned=False, problem="").exclude(title="")
    several = tasks.filter(description__has_key="policy")[:COUNT_LIMIT]
    tasks = tasks.exclude(pk__in=not_in_turn(several, user, now))
    if not (total := tasks.order_by()[:COUNT_LIMIT].count()):
        return None
    return Digest(
        items=tuple(_items(tasks.order_by(*_ORDER)[:MAX_ITEMS], user, now)),
        total=total,
        overdue=tasks.filter(is_overdue(now)).order_by()[:COUNT_LIMIT].count(),
        inbox_url=page_url("inbox"),
    )


def _items(tasks: Collection[HumanTask], user: AbstractBaseUser, now: int) -> Iterator[Item]:
    stands_in = bool(active_delegations(user))
    for task in tasks:
        if (description := task.described) is None:
            continue
        notice = read_notice(task, description)
        yield Item(
            bucket_of(task.due_at, now, waits=waits_at(task, now)),
            notice.title,
            notice.due,
            " · ".join(f"{one.label}: {fact_text(one.value)}" for one in facts_on_card(task)),
            principal_name(task, user) if stands_in else "",
            task_url(task, user),
        )
