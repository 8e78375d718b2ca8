"""How questions ended: answered by whom and where, expired, withdrawn, or settled elsewhere."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from django.db.models import Exists, F, OuterRef, QuerySet, Subquery
from django.db.models.functions import JSONObject
from django.utils.functional import Promise as LazyText
from django.utils.translation import gettext_lazy as _

from dashboard import wording
from dashboard.models import DECISIONS, Action, AuditEntry, HumanTask, SignIn
from dashboard.permissions import AnyUser
from dashboard.timetables import ending_of, expiries
from durable.conf import database_alias
from durable.protocol.states import PromiseState

_ELSEWHERE: Mapping[str, LazyText] = {
    SignIn.LINK: _("by a personal link"),
    SignIn.SLACK: _("in Slack"),
    SignIn.TOKEN: _("by a program"),
}


class Outcome(NamedTuple):
    """How a question ended. ``by`` is empty unless a person answered; ``way`` says where else."""

    kind: str
    at: int
    by: str = ""
    is_mine: bool = False
    comment: str = ""
    ending: str | LazyText = ""
    answer: str = ""
    label: str = ""
    way: str | LazyText = ""

    @property
    def icon(self) -> str:
        """Name of the icon that goes with it."""
        return {"approved": "check", "rejected": "x", "expired": "clock", "withdrawn": "ban"}.get(
            self.kind, "circle-dot"
        )

    @property
    def sentence(self) -> str | LazyText:
        """Say it in a few words, without the time."""
        if self.by:
            return wording.outcome_of(self.answer, self.label, by=self.by, is_mine=self.is_mine)
        match self.kind:
            case "expired":
                return self.ending or _("Expired without an answer")
            case "withdrawn":
                return _("Withdrawn")
            case "rejected":
                return _("Rejected elsewhere")
            case _:
                return _("Answered elsewhere")


def with_outcome(tasks: QuerySet[HumanTask]) -> QuerySet[HumanTask]:
    """Add what ``outcome_of`` needs: the promise's columns and the decision, if there was one."""
    decision = (
        decisions()
        .filter(target=OuterRef("pk"))
        .order_by("-pk")
        .values(
            found=JSONObject(
                actor="actor_id",
                name="actor_name",
                action="action",
                answer="answer",
                comment="reason",
                sign_in="sign_in",
            )
        )[:1]
    )
    return tasks.annotate(
        promise_state=F("promise__state"),
        closes_at=F("promise__timeout_at"),
        closed_at=F("promise__settled_at"),
        decision=Subquery(decision),
        has_expired=Exists(expiries()),
    )


def outcome_of(task: Any, user: AnyUser, now: int) -> Outcome | None:
    """Say how a task from ``with_outcome`` ended; None while it waits."""
    if task.promise_state == PromiseState.PENDING:
        return Outcome("expired", task.closes_at) if task.closes_at <= now else None
    if task.promise_state == PromiseState.REJECTED_TIMEDOUT:
        return Outcome("expired", task.closed_at)
    if task.promise_state == PromiseState.REJECTED_CANCELED:
        return Outcome("withdrawn", task.closed_at)
    if task.has_expired:
        return Outcome("expired", task.closed_at, ending=ending_of(task))
    is_resolved = task.promise_state == PromiseState.RESOLVED
    if decision := task.decision:
        return _outcome_of_decision(task, decision, user)
    return Outcome("answered" if is_resolved else "rejected", task.closed_at)


def _outcome_of_decision(task: Any, decision: dict[str, Any], user: AnyUser) -> Outcome:
    kinds = {Action.APPROVE.value: "approved", Action.REJECT.value: "rejected"}
    answer, label = decision["answer"], ""
    if task.described is not None and (option := task.described.answer(answer)) is not None:
        label = option.label
    return Outcome(
        kinds.get(decision["action"], "answered"),
        task.closed_at,
        by=decision["name"],
        is_mine=str(decision["actor"]) == str(user.pk),
        comment=decision["comment"],
        answer=answer or decision["action"],
        label=label,
        way=_ELSEWHERE.get(decision["sign_in"], ""),
    )


def decisions() -> QuerySet[AuditEntry]:
    """Return the rows of the answers that counted, whoever gave them."""
    return AuditEntry.objects.using(database_alias()).filter(
        is_effective=True, action__in=DECISIONS
    )
