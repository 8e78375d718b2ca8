"""Questions: the lists of the inbox, one with all that its panel shows, its description."""

import datetime as dt
from typing import Annotated, Any

from django.utils.translation import gettext as _
from msgspec import UNSET, Meta, Struct, UnsetType

from dashboard import describing, revealing
from dashboard.api.lookups import place_of
from dashboard.api.operations import Call, Reply, operation
from dashboard.api.problems import ProblemError, not_found, refuse
from dashboard.api.values import LabelledValue, facts, instant, moment
from dashboard.descriptions.description import Priority
from dashboard.descriptions.policy import Ballot, Progress, Requirement
from dashboard.inbox_filters import MAX_TEXT, PRIORITIES, Due, Filters, FollowUp
from dashboard.inbox_order import Cursor
from dashboard.inbox_queries import (
    PAGE_SIZE,
    Card,
    Tab,
    count_open,
    read_page,
    tabs_of,
)
from dashboard.masking import mask_description
from dashboard.models import Comment
from dashboard.outcomes import Outcome
from dashboard.panels import Panel, read_panel
from dashboard.question_history import Event
from dashboard.wording import label_of
from durable.clock import now_ms

_FILTERS = ("q", "type", "due", "priority", "workflow", "follow_up")

type Text = Annotated[str, Meta(max_length=MAX_TEXT)]


class ListedTasks(Struct, forbid_unknown_fields=True):
    """A list of the inbox, and what it is narrowed to."""

    tab: Tab = Tab.ANSWER
    q: Text = ""
    type: Text = ""
    due: Due | None = None
    priority: str = ""
    workflow: Text = ""
    follow_up: FollowUp | None = None


class TaskQuery(ListedTasks, forbid_unknown_fields=True):
    """Which questions to list. ``after`` is the ``next`` of the page before."""

    after: str = ""
    limit: Annotated[int, Meta(ge=1, le=PAGE_SIZE)] = PAGE_SIZE


class Ending(Struct):
    """How a question ended: a word, a sentence, when, and by whom if that is known."""

    kind: str
    sentence: str
    at: dt.datetime
    by: str
    answer: str
    comment: str

    @classmethod
    def of(cls, outcome: Outcome | None) -> "Ending | None":
        """Return it; None while the question waits."""
        if outcome is None:
            return None
        return cls(
            outcome.kind,
            str(outcome.sentence),
            moment(outcome.at),
            outcome.by,
            outcome.answer,
            outcome.comment,
        )


class TaskLine(Struct):
    """A question as a list shows it.

    due_at: it moves along while ``waits_for_requester``.
    bucket: its group: overdue, today, later, none (without a deadline), waiting, done.
    not_yet: whom it waits for before the reader.
    """

    id: str
    title: str
    type: str
    priority: str
    workflow: str
    round: int
    created_at: dt.datetime
    due_at: dt.datetime | None
    waits_for_requester: bool
    expires_at: dt.datetime | None
    bucket: str
    is_claimed: bool
    is_mine: bool
    deciders: str
    facts: list[LabelledValue]
    approved: int | None
    needed: int | None
    not_yet: str
    outcome: Ending | None

    @classmethod
    def of(cls, card: Card, user: Any) -> "TaskLine":
        """Return the line of a card."""
        task, progress = card.task, card.progress
        return cls(
            id=task.pk,
            title=task.title,
            type=task.type,
            priority=Priority(task.priority).name.lower(),
            workflow=task.function,
            round=task.round,
            created_at=moment(task.created_at),
            due_at=instant(card.due),
            waits_for_requester=task.waits_for_requester_since is not None,
            expires_at=instant(task.expires_at),
            bucket=card.bucket.value,
            is_claimed=task.claimed_by_id is not None,
            is_mine=task.claimed_by_id == user.pk,
            deciders=card.deciders,
            facts=facts(card.facts),
            approved=None if progress is None else progress.approved,
            needed=None if progress is None else progress.needed,
            not_yet=card.turn,
            outcome=Ending.of(card.outcome),
        )


class TaskPage(Struct):
    """A page of a list, the number of open questions in each list, and where the next begins."""

    tab: Tab
    counts: dict[str, int]
    items: list[TaskLine]
    next: str


class Option(Struct):
    """One answer that can be chosen; ``comment`` and ``form`` say whether they are needed."""

    name: str
    label: str
    consequence: str
    approves: bool
    settles: str
    comment: str
    form: str
    is_mine: bool


class Line(Struct):
    """Something that happened, or will."""

    at: dt.datetime
    text: str
    is_done: bool


class Difference(Struct, omit_defaults=True):
    """A part of the proposal that somebody changed."""

    label: str
    old: Any | UnsetType = UNSET
    new: Any | UnsetType = UNSET


class Happening(Struct):
    """One line of the history of a question."""

    at: dt.datetime
    text: str
    comment: str
    is_late: bool
    changes: list[Difference]

    @classmethod
    def of(cls, event: Event) -> "Happening":
        """Return the line of an event."""
        changes = [Difference(one.label, one.old, one.new) for one in event.changes]
        return cls(moment(event.at), str(event.text), event.comment, event.is_late, changes)


class Remark(Struct):
    """What somebody said on a question."""

    id: int
    kind: str
    by: str
    text: str
    at: dt.datetime

    @classmethod
    def of(cls, comment: Comment) -> "Remark":
        """Return the line of a comment."""
        at = moment(comment.written_at)
        return cls(comment.pk, comment.kind, comment.user_name, comment.text, at)


class VoteLine(Struct):
    """The newest answer of one person."""

    by: str
    approves: bool
    comment: str
    at: dt.datetime

    @classmethod
    def of(cls, ballot: Ballot) -> "VoteLine":
        """Return the line of a vote."""
        return cls(str(ballot), ballot.approves, ballot.comment, moment(ballot.at))


class RequirementLine(Struct):
    """One part of what has to be approved together; ``depth`` is how far it is below the whole."""

    label: str
    depth: int
    needed: int
    missing: int
    is_active: bool
    is_done: bool
    is_moot: bool
    opens_at: dt.datetime | None
    filled_by: list[VoteLine]
    rejected_by: list[VoteLine]

    @classmethod
    def of(cls, one: Requirement) -> "RequirementLine":
        """Return the line of a requirement."""
        return cls(
            label=one.label,
            depth=one.depth,
            needed=one.needed,
            missing=one.missing,
            is_active=one.is_active,
            is_done=one.is_done,
            is_moot=one.is_moot,
            opens_at=instant(one.opens_at),
            filled_by=[VoteLine.of(by) for by in one.filled_by],
            rejected_by=[VoteLine.of(by) for by in one.rejected_by],
        )


class Tally(Struct):
    """How far the votes bring a question."""

    verdict: str | None
    approved: int
    needed: int
    requirements: list[RequirementLine]

    @classmethod
    def of(cls, progress: Progress | None) -> "Tally | None":
        """Return it; None when one answer decides."""
        if progress is None:
            return None
        lines = [RequirementLine.of(one) for one in progress.requirements]
        return cls(progress.verdict, progress.approved, progress.needed, lines)


class Rights(Struct):
    """What the reader may do with a question; ``cannot_answer`` says why not, if they may not."""

    answer: bool
    cannot_answer: str
    claim: bool
    release: bool
    hand_over: bool
    ask: bool
    reply: bool
    reveal: bool


class HeldAnswer(Struct):
    """One's own answer that can be taken back until it is sent."""

    label: str
    sends_at: dt.datetime


class Task(Struct):
    """A question with all that a person needs to answer it, or how it ended.

    on_its_way: the reader's answer that is not sent yet; ``others`` are about to answer as well.
    not_used: why one that was held came to nothing, in a sentence.
    afterwards: what follows from the reader's answer.
    described_at: when the API gave the description; answers send it back.
    description: as it came, with its form, policy and proposal; secret values are masked.
    problem: what is wrong with the description, which then does not count.
    """

    id: str
    title: str
    question: str
    type: str
    priority: str
    workflow: str
    execution: str
    round: int
    is_open: bool
    created_at: dt.datetime
    due_at: dt.datetime | None
    expires_at: dt.datetime | None
    closes_at: dt.datetime | None
    expiry: str
    deciders: str
    asked_by: str
    claimed_by: str
    waits_for_requester: bool
    note: str
    facts: list[LabelledValue]
    answers: list[Option]
    may: Rights
    on_its_way: HeldAnswer | None
    not_used: str
    others: list[str]
    afterwards: list[str]
    votes: Tally | None
    outcome: Ending | None
    schedule: list[Line]
    comments: list[Remark]
    history: list[Happening]
    earlier_rounds: list[str]
    next_task: str | None
    described_at: dt.datetime | None
    description: dict[str, Any]
    problem: str

    @classmethod
    def of(cls, panel: Panel, *, reveal: bool = False) -> "Task":
        """Return what a panel shows; ``reveal`` leaves secrets as they are."""
        task = panel.task
        return cls(
            id=task.pk,
            title=panel.title,
            question=panel.question,
            type=task.type,
            priority=Priority(task.priority).name.lower(),
            workflow=task.function,
            execution=task.origin,
            round=task.round,
            is_open=panel.is_open,
            created_at=moment(task.created_at),
            due_at=instant(panel.due),
            expires_at=instant(task.expires_at),
            closes_at=instant(panel.closes_at),
            expiry=panel.expiry,
            deciders=panel.deciders,
            asked_by=panel.asked_by,
            claimed_by=panel.holder,
            waits_for_requester=task.waits_for_requester_since is not None,
            note=str(panel.note),
            facts=facts(panel.facts),
            answers=_options_of(panel),
            may=_rights_of(panel),
            on_its_way=_held_of(panel),
            not_used=_not_used(panel),
            others=[str(one) for one in panel.others],
            afterwards=[str(one) for one in panel.afterwards],
            votes=Tally.of(panel.requirements),
            outcome=Ending.of(panel.outcome),
            schedule=[Line(moment(one.at), str(one.text), one.is_done) for one in panel.schedule],
            comments=[Remark.of(one) for one in panel.comments],
            history=[Happening.of(one) for one in panel.history],
            earlier_rounds=[one.task.pk for one in panel.previous],
            next_task=None if panel.next is None else panel.next.pk,
            described_at=instant(task.described_at),
            description=dict(task.description) if reveal else mask_description(task.description),
            problem=task.mistake,
        )


class DescribedTask(Struct):
    """What became of a description: ``added``, ``replaced`` or ``unchanged``."""

    id: str
    title: str
    result: describing.Described
    described_at: dt.datetime | None


@operation("GET", "human-tasks", query=TaskQuery, result=TaskPage)
def list_tasks(call: Call) -> TaskPage:
    """List the questions of one list of the inbox."""
    query: TaskQuery = call.query
    filters = filters_of(call, query)
    after = place_of("after", query.after, Cursor.decode)
    tabs, now = tabs_of(call.user), now_ms()
    counts = count_open(call.user, now, tabs)
    page = read_page(call.user, query.tab, now, filters, after=after, limit=query.limit)
    return TaskPage(
        tab=query.tab,
        counts={tab.value: getattr(counts, tab) for tab in tabs if tab is not Tab.DONE},
        items=[TaskLine.of(card, call.user) for card in page.cards],
        next=page.next,
    )


@operation("GET", "human-tasks/{task_id}", result=Task)
def read_task(call: Call, task_id: str) -> Task:
    """Show one question."""
    return shown(call, task_id)


@operation(
    "PUT",
    "human-tasks/{task_id}",
    body=Any,
    body_schema={"$ref": "schemas/human-task.json"},
    result=DescribedTask,
    statuses=(200, 201),
    refusals=(409,),
)
def describe_task(call: Call, task_id: str) -> Reply:
    """Describe a promise that waits without a description; the body is the description."""
    try:
        given = describing.describe(task_id, call.actor, call.body)
    except describing.ConflictError as error:
        raise ProblemError(409, error.sentence) from None
    task = given.task
    result = DescribedTask(task.pk, task.title, given.result, instant(task.described_at))
    return Reply(result, 201 if given.result is describing.Described.ADDED else 200)


@operation("POST", "human-tasks/{task_id}/reveal", result=Task)
def reveal_task(call: Call, task_id: str) -> Task:
    """Show one question with its secret values; each look is noted."""
    revealing.reveal(task_id, call.actor)
    return shown(call, task_id, reveal=True)


def filters_of(call: Call, listed: ListedTasks) -> Filters:
    """Return what a list is narrowed to; refuses a list that who asks does not have."""
    if listed.tab not in tabs_of(call.user):
        refuse("tab", _("You have no such list."))
    if listed.priority and listed.priority not in PRIORITIES:
        names = {"names": ", ".join(PRIORITIES)}
        refuse("priority", _("Choose one of these: %(names)s") % names)
    return Filters.read({name: str(getattr(listed, name) or "") for name in _FILTERS})


def shown(call: Call, task_id: str, *, reveal: bool = False) -> Task:
    """Return a question as it is now."""
    panel = read_panel(task_id, call.user, now_ms(), reveal=reveal)
    if panel is None:
        raise not_found()
    return Task.of(panel, reveal=reveal)


def _options_of(panel: Panel) -> list[Option]:
    mine = {one.option.name for one in panel.buttons if one.is_mine}
    return [
        Option(
            one.name,
            str(label_of(one)),
            one.consequence,
            one.approves,
            one.settles,
            one.comment.value,
            one.form.value,
            one.name in mine,
        )
        for one in panel.task.options
    ]


def _not_used(panel: Panel) -> str:
    if panel.late is not None:
        return _("Your answer came later and was not used.")
    return str(panel.refused)


def _held_of(panel: Panel) -> HeldAnswer | None:
    held = panel.on_its_way
    return None if held is None else HeldAnswer(str(held.label), moment(held.sends_at))


def _rights_of(panel: Panel) -> Rights:
    return Rights(
        answer=panel.is_open and not panel.cannot,
        cannot_answer=str(panel.cannot),
        claim=panel.may_claim,
        release=panel.may_release,
        hand_over=panel.may_hand_over,
        ask=panel.may_ask,
        reply=panel.may_reply,
        reveal=panel.may_reveal,
    )
