"""The decision panel: one question with all that a person needs to answer it, or how it ended."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.contrib.auth.models import AbstractBaseUser
from django.utils.functional import Promise as LazyText
from django.utils.translation import gettext_lazy as _

from dashboard import confirming, held_answers, links, turns, wording
from dashboard.attendance import due_of
from dashboard.descriptions import Description, Fact
from dashboard.descriptions.answers import AnswerOption
from dashboard.descriptions.nodes import words
from dashboard.descriptions.policy import Progress
from dashboard.drafts import read_draft, to_query
from dashboard.forms import DecisionForm, form_for
from dashboard.inbox_queries import (
    TO_ANSWER,
    Shown,
    deciders_of,
    facts_of,
    next_task,
)
from dashboard.models import NO_DUE, Comment, HeldAnswer, HumanTask, Vote
from dashboard.outcomes import Outcome, outcome_of, with_outcome
from dashboard.people import find_user, name_of, starter_id, starter_of
from dashboard.permissions import (
    MAKE_LINKS,
    MANAGE_TASKS,
    OVERRIDE_SEPARATION,
    VIEW_EXECUTIONS,
    AnyUser,
    has,
    visible_to,
)
from dashboard.policies import could_help, has_policy, progress_of, wait_for, would_count
from dashboard.question_history import Event, read_history
from dashboard.revealing import may_reveal
from dashboard.rights import (
    ANSWERED_THEMSELF,
    COUNTS_ONCE,
    NOT_KNOWN,
    NOT_KNOWN_SO_WHY,
    Capacity,
    RefusedError,
    capacity_of,
    is_unclear,
    may_choose,
)
from dashboard.timetables import Entry, schedule_of, watcher_of
from dashboard.timetables import sentence as expiry_of
from dashboard.votes import vote_in_another_place
from durable.conf import database_alias
from durable.models import Promise
from durable.protocol.states import PromiseState

MAX_EARLIER = 50
LINE = 90
LINES_SHOWN = 20

type Text = str | LazyText


class Round(NamedTuple):
    """A question that another one asks again, and how it ended."""

    task: HumanTask
    outcome: Outcome | None


class Button(NamedTuple):
    """One answer as it stands on the panel."""

    option: AnswerOption
    label: Text
    busy: Text
    icon: str
    key: str
    consequence: str
    is_mine: bool = False


class OnItsWay(NamedTuple):
    """The reader's own answer that can be taken back yet."""

    label: Text
    sends_at: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Panel:
    """What the panel's template shows. Instants are epoch ms.

    due: it moves along while the requester is asked.
    cannot: why the reader cannot answer, while the question waits.
    note: what they should know before they do; ``refused`` says why their answer was not taken.
    late: set for the one whose answer came too late: what they wrote is given back.
    next: the question to go on with once the reader has answered, or nobody can; ``is_of_list``
        says that it is looked for in a list that is narrowed.
    afterwards: what follows from the reader's answer.
    action: where the form goes.
    on_its_way, others: answers that can be taken back yet, the reader's own and those of others.
    watched_by: the execution that waits for the times, for those who see executions.
    """

    task: HumanTask
    facts: Sequence[Fact]
    deciders: str
    asked_by: str
    due: int | None
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
    is_of_list: bool = False
    afterwards: Sequence[Text] = ()
    late: DecisionForm | None = None
    previous: Sequence[Round] = ()
    action: str = ""
    expiry: str = ""
    schedule: Sequence[Entry] = ()
    watched_by: str = ""
    on_its_way: OnItsWay | None = None
    others: Sequence[Text] = ()
    is_revealed: bool = False
    is_overdue: bool = False

    @property
    def said(self) -> Description | None:
        """What the description says to the reader."""
        return self.task.revealed if self.is_revealed else self.task.described

    @property
    def is_open(self) -> bool:
        """Whether it can be answered."""
        return self.outcome is None

    @property
    def consequence(self) -> str:
        """What follows, as the description says once for all answers."""
        return "" if self.said is None else self.said.consequence

    @property
    def context(self) -> str:
        """What the author wrote about it, in markdown."""
        return "" if self.said is None else self.said.context

    @property
    def is_long(self) -> bool:
        """Whether that takes more lines than are shown at first."""
        return sum(1 + len(line) // LINE for line in self.context.splitlines()) > LINES_SHOWN

    @property
    def title(self) -> str:
        """What it is called; empty when nothing describes it."""
        said = self.said if self.is_revealed else None
        return self.task.title if said is None else said.title

    @property
    def question(self) -> str:
        """What is asked, in a sentence or some."""
        said = self.said if self.is_revealed else None
        return self.task.question if said is None else said.question

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
    shown: Shown = TO_ANSWER,
) -> Panel | None:
    """Read a question for somebody; None when there is none, or none for them.

    ``shown`` is the list that it was opened from.
    ``action`` is where the form goes, if not to the question's own address; ``offered`` are the
    names of the answers, if not all. ``reveal`` shows secret values: only after
    ``dashboard.revealing.reveal``.
    """
    task: Any = with_outcome(visible_to(user).filter(pk=promise_id)).first()
    if task is None:
        return None
    outcome = outcome_of(task, user, now)
    progress = progress_of(task, now) if has_policy(task) else None
    starter = find_user(starter_id(task.started_by)) if task.started_by else None
    own: dict[str, Any] = {} if outcome else _for_reader(task, user, now, progress, starter)
    if own and offered:
        own["buttons"] = [one for one in own["buttons"] if one.option.name in offered]
    if own and action and not own["cannot"]:
        own["cannot"] = _cannot_by_link(own["buttons"], task)
    has_undo = task.described is not None and task.described.undo > 0
    held = held_answers.held_by(task, user) if has_undo else None
    on_its_way = _on_its_way(task, held, now) if outcome is None else None
    if outcome is None and not own["cannot"] and on_its_way is None:
        form = form or form_for(task, draft=read_draft(task, user))
        if not any(one.option.approves for one in own["buttons"]):
            form.fields.pop("value", None)  # it goes with a yes
    else:
        form = None
    if held is not None and held.result == HeldAnswer.Result.LATE and outcome is not None:
        late = late or _form_of(task, held)
    is_mine = outcome is not None and outcome.is_mine
    if held is not None and held.result == HeldAnswer.Result.REFUSED and not is_mine:
        refused = refused or _("Your answer was not used. %(why)s") % {"why": held.problem}
    is_done = outcome is not None or any(one.is_mine for one in own["buttons"])
    may_see_run = not action and has(user, VIEW_EXECUTIONS)
    schedule = schedule_of(task, is_open=outcome is None)
    return Panel(
        task=task,
        facts=facts_of(task.description, reveal=reveal),
        is_revealed=reveal,
        may_reveal=not reveal and may_reveal(task, user),
        deciders=deciders_of([task.pk]).get(task.pk, ""),
        asked_by=name_of(starter) if starter else "",
        due=due_of(task, now),
        is_overdue=outcome is None and task.is_overdue(now),
        closes_at=task.closes_at if task.closes_at < NO_DUE else None,
        outcome=outcome,
        history=read_history(task, outcome, user),
        may_see_run=may_see_run,
        requirements=progress,
        comments=list(task.comments.order_by("written_at", "pk")),
        form=form,
        next=next_task(user, now, task, shown) if is_done else None,
        is_of_list=shown.to_go_through != TO_ANSWER,
        afterwards=_afterwards(task, outcome, now),
        late=late,
        refused=refused,
        previous=_earlier_rounds(task, user, now),
        action=action,
        expiry=expiry_of(task, now),
        schedule=schedule,
        watched_by=watcher_of(task) if schedule and may_see_run else "",
        on_its_way=on_its_way,
        others=held_answers.others_on_their_way(task, user) if has_undo and outcome is None else (),
        **own,
    )


def _on_its_way(task: HumanTask, held: HeldAnswer | None, now: int) -> OnItsWay | None:
    if held is None or not held_answers.is_on_its_way(held):
        return None
    option = next((one for one in task.options if one.name == held.answer), None)
    label = held.answer if option is None else wording.label_of(option)
    return OnItsWay(label, held.sends_at, max(0, -((now - held.sends_at) // 1000)))


def _form_of(task: HumanTask, held: HeldAnswer) -> DecisionForm:
    """Return the form of an answer that came to nothing, to give it back."""
    data = to_query(held.fields)
    data["answer"] = held.answer
    form = form_for(task, data)
    form.is_valid()
    return form


def _cannot_by_link(buttons: Sequence[Button], task: HumanTask) -> Text:
    """Say why nothing can be answered on the page of a link, when all of it takes a password."""
    wanted = [confirming.confirmation_of(task, one.option) for one in buttons]
    if wanted and all(one is not None and one.is_password for one in wanted):
        return confirming.NO_PASSWORD_HERE
    return ""


def _for_reader(
    task: HumanTask,
    user: AnyUser,
    now: int,
    progress: Progress | None,
    starter: AbstractBaseUser | None,
) -> dict[str, Any]:
    """Return what a question that waits offers to its reader."""
    holder = find_user(task.claimed_by_id) if task.claimed_by_id is not None else None
    is_mine = holder is not None and holder.pk == user.pk
    manages = has(user, MANAGE_TASKS)
    several = progress is not None
    capacity, cannot = _capacity(task, user)
    vote = _own_vote(task, capacity) if several else None
    note = _note(task, user, capacity)
    if capacity is not None and progress is not None:
        turn = _turn_of(task, user, capacity, progress, vote=vote, now=now)
        cannot, note = turn.cannot, note or turn.note
    is_expired = task.expires_at is not None and now >= task.expires_at
    if is_expired:
        cannot = _("The time to answer has run out.")
    is_asker = task.started_by == starter_of(user)
    is_asked = task.waits_for_requester_since is not None
    can_reply = starter is not None and starter.is_active
    return {
        "buttons": [
            one
            for one in buttons_of(task, "" if vote is None else vote.answer)
            if may_choose(task, one.option, user)
        ],
        "holder": name_of(holder) if holder is not None else "",
        "is_mine": is_mine,
        "may_claim": holder is None and not cannot and not several,
        "may_release": is_mine or (holder is not None and manages),
        "may_hand_over": not several and (is_mine or manages or (holder is None and not cannot)),
        "may_make_links": links.mode() is not None and has(user, MAKE_LINKS),
        "may_reply": is_asker and is_asked,
        "may_ask": can_reply and not is_asked and not cannot and not is_asker,
        "cannot": cannot,
        "note": note,
    }


def _capacity(task: HumanTask, user: AnyUser) -> tuple[Capacity | None, Text]:
    try:
        return capacity_of(task, user), ""  # type: ignore[arg-type]
    except RefusedError as error:
        return None, error.sentence


def _note(task: HumanTask, user: AnyUser, capacity: Capacity | None) -> Text:
    if capacity is None:
        return ""
    if any(is_unclear(task, one) for one in task.options):
        return NOT_KNOWN_SO_WHY if has(user, OVERRIDE_SEPARATION) else NOT_KNOWN
    if capacity.overrides:
        return _("You asked for this yourself, or answered an earlier step: say why you answer.")
    if capacity.is_deputy:
        return _("You answer for %(name)s, who is away.") % {"name": name_of(capacity.principal)}
    return ""


def _own_vote(task: HumanTask, capacity: Capacity | None) -> Vote | None:
    return None if capacity is None else task.votes.filter(user=capacity.principal.pk).first()


class _Turn(NamedTuple):
    """Whether somebody's answer is needed: why it cannot be given, or what to know before."""

    cannot: Text = ""
    note: Text = ""


def _turn_of(
    task: HumanTask,
    user: AnyUser,
    capacity: Capacity,
    progress: Progress,
    *,
    vote: Vote | None,
    now: int,
) -> _Turn:
    said = vote_in_another_place(task, user, capacity.principal)  # type: ignore[arg-type]
    if said is not None:
        return _Turn(cannot=COUNTS_ONCE % {"name": name_of(said.user)})
    if capacity.only_groups is not None and vote is not None and not vote.cast_by_name:
        name = {"name": name_of(capacity.principal)}
        return _Turn(cannot=ANSWERED_THEMSELF % name)
    if not would_count(task, capacity, progress):
        return _Turn(cannot=turns.on_page(wait_for(task, capacity, progress), now))
    if vote is None and not could_help(task, capacity, progress):
        return _Turn(
            note=_("Your yes is not needed any more: others have filled that. A no still counts.")
        )
    return _Turn()


def buttons_of(task: HumanTask, mine: str = "") -> list[Button]:
    """Return the answers of a question as they stand on it; ``mine`` is the reader's so far."""
    keys = _keys_of(task.options)
    return [
        Button(
            option,
            wording.label_of(option),
            wording.busy_of(option),
            wording.icon_of(option),
            keys.get(option.name, ""),
            option.consequence,
            option.name == mine,
        )
        for option in task.options
    ]


def _keys_of(options: Sequence[AnswerOption]) -> dict[str, str]:
    """Return the key of the first yes and that of the no, by the names of the answers."""
    yes = [one.name for one in options if one.approves]
    no = [one.name for one in options if one.settles == "reject"]
    no = no or [one.name for one in reversed(options) if not one.approves]
    return dict(zip(yes, "a", strict=False)) | dict(zip(no, "r", strict=False))


def _afterwards(task: HumanTask, outcome: Outcome | None, now: int) -> Sequence[Text]:
    """Say what follows from the reader's own answer, as far as that is known."""
    option = None
    if outcome is not None and outcome.is_mine:
        option = next((one for one in task.options if one.name == outcome.answer), None)
    if option is None:
        return ()
    general = task.described.consequence if task.described is not None and option.approves else ""
    said: list[Text] = [one for one in (option.consequence or general,) if one]
    waiting = Promise.objects.filter(pk=task.origin, state=PromiseState.PENDING, timeout_at__gt=now)
    if task.function and waiting.using(database_alias()).exists():
        said.append(
            _("%(workflow)s goes on with your answer.") % {"workflow": words(task.function)}
        )
    return said


def _earlier_rounds(task: HumanTask, user: AnyUser, now: int) -> list[Round]:
    """Return the questions that this one asks again, the latest first, as far as they are seen."""
    found: list[Round] = []
    wanted, known = task.previous, {task.pk}
    while wanted and wanted not in known and len(found) < MAX_EARLIER:
        earlier: Any = with_outcome(visible_to(user).filter(pk=wanted)).first()
        if earlier is None:
            break
        known.add(wanted)
        found.append(Round(earlier, outcome_of(earlier, user, now)))
        wanted = earlier.previous
    return found
