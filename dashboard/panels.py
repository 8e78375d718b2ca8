"""The decision panel: one question with all that a person needs to answer it, or how it ended."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.utils.functional import Promise as LazyText
from django.utils.translation import gettext_lazy as _

from dashboard import links, wording
from dashboard.comments import comments_on
from dashboard.descriptions import Fact
from dashboard.descriptions.answers import AnswerOption
from dashboard.descriptions.policy import Progress
from dashboard.descriptions.proposal import Row, side_by_side
from dashboard.drafts import read_draft
from dashboard.forms import DecisionForm, form_for
from dashboard.inbox_queries import (
    Outcome,
    deciders_of,
    facts_of,
    next_task,
    outcome_of,
    with_outcome,
)
from dashboard.models import (
    ANSWERS,
    NO_DUE,
    Action,
    AuditEntry,
    Comment,
    HumanTask,
    TargetKind,
)
from dashboard.people import find_user, name_of, starter_id, starter_of
from dashboard.permissions import (
    MAKE_LINKS,
    MANAGE_TASKS,
    VIEW_EXECUTIONS,
    AnyUser,
    has,
    visible_to,
)
from dashboard.policies import has_policy, progress_of
from dashboard.revealing import may_reveal
from dashboard.rights import Capacity, RefusedError, capacity_of
from dashboard.timetables import Entry, events_of, schedule_of
from dashboard.timetables import sentence as expiry_of
from durable.conf import database_alias

MAX_EVENTS = 50

type Text = str | LazyText


class Event(NamedTuple):
    """One line of the history."""

    at: int
    icon: str
    text: Text
    comment: str = ""
    is_late: bool = False
    changes: Sequence[Row] = ()


class Button(NamedTuple):
    """One answer as it stands on the panel."""

    option: AnswerOption
    label: Text
    busy: Text
    icon: str
    key: str
    consequence: str
    is_mine: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """What the panel's template shows. Instants are epoch ms.

    cannot: why the reader cannot answer, while the question waits.
    note: what they should know before they do; ``refused`` says why their answer was not taken.
    late: set for the one whose answer came too late: what they wrote is given back.
    next: the question to go on with after this one.
    action: where the form goes.
    """

    task: HumanTask
    facts: Sequence[Fact]
    deciders: str
    asked_by: str
    closes_at: int | None
    outcome: Outcome | None
    history: Sequence[Event]
    may_see_run: bool
    may_reveal: bool = False
    buttons: Sequence[Button] = ()
    requirements: Progress | None = None
    comments: Sequence[Comment] = ()
    holder: str = ""
    is_mine: bool = False
    may_claim: bool = False
    may_release: bool = False
    may_hand_over: bool = False
    may_make_links: bool = False
    may_reply: bool = False
    may_ask: bool = False
    cannot: Text = ""
    note: Text = ""
    refused: Text = ""
    form: DecisionForm | None = None
    next: HumanTask | None = None
    late: DecisionForm | None = None
    previous: Sequence[HumanTask] = ()
    action: str = ""
    expiry: str = ""
    schedule: Sequence[Entry] = ()

    @property
    def is_open(self) -> bool:
        """Whether it can be answered."""
        return self.outcome is None

    @property
    def consequence(self) -> str:
        """What follows, as the description says once for all answers."""
        described = self.task.described
        return "" if described is None else described.consequence

    @property
    def context(self) -> str:
        """What the author wrote about it, in markdown."""
        described = self.task.described
        return "" if described is None else described.context

    @property
    def rounds(self) -> Text:
        """Say which time it is asked, when it is not the first."""
        described = self.task.described
        if described is None or described.round < 2:
            return ""
        if described.rounds is None:
            return _("Round %(round)d") % {"round": described.round}
        return _("Round %(round)d of %(rounds)d") % {
            "round": described.round,
            "rounds": described.rounds,
        }


def read_panel(
    promise_id: str,
    user: AnyUser,
    now: int,
    *,
    form: DecisionForm | None = None,
    late: DecisionForm | None = None,
    refused: Text = "",
    action: str = "",
    offered: Collection[str] = (),
    reveal: bool = False,
) -> Panel | None:
    """Read a question for somebody; None when there is none, or none for them.

    ``action`` is where the form goes, if not to the question's own address; ``offered`` are the
    names of the answers, if not all. ``reveal`` shows secret values: only after
    ``dashboard.revealing.reveal``.
    """
    task: Any = with_outcome(visible_to(user).filter(pk=promise_id)).first()
    if task is None:
        return None
    outcome = outcome_of(task, user, now)
    own: dict[str, Any] = {} if outcome else _for_reader(task, user, now)
    if own and offered:
        own["buttons"] = [one for one in own["buttons"] if one.option.name in offered]
    if outcome is None and not own["cannot"]:
        form = form or form_for(task, draft=read_draft(task, user))
    else:
        form = None
    starter = find_user(starter_id(task.started_by)) if task.started_by else None
    return Panel(
        task=task,
        facts=facts_of(task.description, reveal=reveal),
        may_reveal=not reveal and may_reveal(task, user),
        deciders=deciders_of([task.pk]).get(task.pk, ""),
        asked_by=name_of(starter) if starter else "",
        closes_at=task.closes_at if task.closes_at < NO_DUE else None,
        outcome=outcome,
        history=_history(task, outcome, user),
        may_see_run=not action and has(user, VIEW_EXECUTIONS),
        requirements=progress_of(task, now) if has_policy(task) else None,
        comments=list(comments_on(task)),
        form=form,
        next=None if outcome is None else next_task(user, now, task),
        late=late,
        refused=refused,
        previous=_earlier_rounds(task, user),
        action=action,
        expiry=expiry_of(task, now),
        schedule=schedule_of(task, is_open=outcome is None),
        **own,
    )


def _for_reader(task: HumanTask, user: AnyUser, now: int) -> dict[str, Any]:
    """Return what a question that waits offers to its reader."""
    holder = find_user(task.claimed_by_id) if task.claimed_by_id is not None else None
    is_mine = holder is not None and holder.pk == user.pk
    manages = has(user, MANAGE_TASKS)
    several = has_policy(task)
    capacity, cannot = _capacity(task, user)
    is_expired = task.expires_at is not None and now >= task.expires_at
    if is_expired:
        cannot = _("The time to answer has run out.")
    is_asker = task.started_by == starter_of(user)
    is_asked = task.waits_for_requester_since is not None
    return {
        "buttons": buttons_of(task, _own_vote(task, capacity)),
        "holder": name_of(holder) if holder is not None else "",
        "is_mine": is_mine,
        "may_claim": holder is None and not cannot and not several,
        "may_release": is_mine or (holder is not None and manages),
        "may_hand_over": not several and (is_mine or manages or (holder is None and not cannot)),
        "may_make_links": links.mode() is not None and has(user, MAKE_LINKS),
        "may_reply": is_asker and is_asked,
        "may_ask": bool(task.started_by) and not is_asked and not cannot and not is_asker,
        "cannot": cannot,
        "note": _note(capacity),
    }


def _capacity(task: HumanTask, user: AnyUser) -> tuple[Capacity | None, Text]:
    try:
        return capacity_of(task, user), ""  # type: ignore[arg-type]
    except RefusedError as error:
        return None, error.sentence


def _note(capacity: Capacity | None) -> Text:
    if capacity is None:
        return ""
    if capacity.overrides:
        return _("You asked for this yourself, or answered an earlier step: say why you answer.")
    if capacity.is_deputy:
        return _("You answer for %(name)s, who is away.") % {"name": name_of(capacity.principal)}
    return ""


def _own_vote(task: HumanTask, capacity: Capacity | None) -> str:
    if capacity is None or not has_policy(task):
        return ""
    vote = task.votes.filter(user=capacity.principal.pk).first()
    return vote.answer if vote is not None else ""


def buttons_of(task: HumanTask, mine: str = "") -> list[Button]:
    """Return the answers of a question as they stand on it; ``mine`` is the reader's so far."""
    buttons = []
    keys: set[str] = set()
    for option in task.options:
        key = next((char for char in option.name if char not in keys), "")
        keys.add(key)
        buttons.append(
            Button(
                option,
                wording.label_of(option),
                wording.busy_of(option),
                wording.icon_of(option),
                key,
                option.consequence,
                option.name == mine,
            )
        )
    return buttons


def _earlier_rounds(task: HumanTask, user: AnyUser) -> list[HumanTask]:
    """Return the questions that this one asks again, the latest first, as far as they are seen."""
    found: list[HumanTask] = []
    wanted, known = task.previous, {task.pk}
    while wanted and wanted not in known and len(found) < MAX_EVENTS:
        earlier: Any = with_outcome(visible_to(user).filter(pk=wanted)).first()
        if earlier is None:
            break
        known.add(wanted)
        found.append(earlier)
        wanted = earlier.previous
    return found


def _history(task: HumanTask, outcome: Outcome | None, user: AnyUser) -> list[Event]:
    """Return what happened, newest first."""
    entries = (
        AuditEntry.objects.using(database_alias())
        .filter(target=task.pk, target_kind=TargetKind.TASK, action__in=[*ANSWERS, *_DEEDS])
        .order_by("-at", "-pk")[:MAX_EVENTS]
    )
    events = [_event(task, entry, user) for entry in entries]
    events += [Event(one.at, one.icon, one.text) for one in events_of(task)]
    if outcome is not None and not outcome.by:
        events.append(Event(outcome.at, outcome.icon, outcome.sentence))
    events.append(Event(task.created_at, "message-square", _("Asked")))
    return sorted(events, key=lambda event: event.at, reverse=True)


_DEEDS: Mapping[str, tuple[str, Text]] = {
    Action.CLAIM: ("user-check", _("%(name)s took this on")),
    Action.RELEASE: ("hand", _("%(name)s gave this back")),
    Action.HAND_OVER: ("user-check", _("%(name)s handed this to %(to)s")),
    Action.REVEAL: ("key-round", _("%(name)s looked at a secret value")),
}


def _event(task: HumanTask, entry: AuditEntry, user: AnyUser) -> Event:
    name: Text = _("You") if entry.actor_id == user.pk else entry.actor_name
    if entry.on_behalf_of_name:
        name = _("%(name)s (for %(principal)s)") % {
            "name": name,
            "principal": entry.on_behalf_of_name,
        }
    if entry.action in _DEEDS:
        icon, text = _DEEDS[entry.action]
        text = text % {"name": name, "to": entry.state_after}
    else:
        icon, text = _answer_event(task, entry, str(name))
    if entry.is_override:
        text = _("%(deed)s, in spite of separation of duties") % {"deed": text}
    return Event(
        at=int(entry.at.timestamp() * 1000),
        icon=icon,
        text=text,
        comment=entry.reason,
        is_late=not entry.is_effective,
        changes=side_by_side(entry.details.get("changes", ())),
    )


def _answer_event(task: HumanTask, entry: AuditEntry, name: str) -> tuple[str, Text]:
    answer = entry.answer or entry.action
    option = None if task.described is None else task.described.answer(answer)
    label = "" if option is None else option.label
    if not entry.is_effective:
        return "clock", wording.late_of(answer, label, by=name)
    icon = wording.icon_of_name(answer) if option is None else wording.icon_of(option)
    return icon, wording.deed_of(answer, label, by=name)
