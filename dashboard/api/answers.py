"""Answering a question."""

from typing import Annotated, Any

from django.utils.translation import gettext as _
from msgspec import UNSET, Meta, Struct, UnsetType

from dashboard.answering import NoSuchQuestionError, Verdict
from dashboard.api.operations import Call, Reply, operation
from dashboard.api.problems import ProblemError
from dashboard.api.tasks import Task, shown
from dashboard.api.values import Moment, epoch_ms
from dashboard.decisions import OutdatedError
from dashboard.drafts import drop_draft
from dashboard.forms import Sent, WrongAnswerError, read_sent
from dashboard.holding import decide_or_hold, take_back
from dashboard.models import HumanTask
from dashboard.permissions import visible_to
from dashboard.rights import RefusedError

MAX_KEY = 64

type Key = Annotated[str, Meta(max_length=MAX_KEY)]


class AnswerBody(Struct, forbid_unknown_fields=True):
    """An answer: its name, and what goes with it.

    values: what the form asks for; left out, it is answered as it begins.
    value: what is handed back in place of the decision; only where nothing describes the question.
    request_key: the same key again is the same answer: for a request that is sent again.
    confirmation: what questions of high risk ask for besides, a text or a password.
    """

    answer: str
    comment: str = ""
    values: dict[str, Any] | None = None
    value: Any | UnsetType = UNSET
    request_key: Key = ""
    confirmation: str = ""

    def to_sent(self) -> Sent:
        """Return the answer as a form takes it."""
        return Sent(
            name=self.answer,
            comment=self.comment,
            values=self.values,
            value=self.value,
            request_key=self.request_key,
            confirmation=self.confirmation,
        )


class TaskAnswerBody(AnswerBody, forbid_unknown_fields=True):
    """An answer to one question.

    described_at: as the question had it when it was read, so that nobody answers another
    description than the one they know; null, or left out, where the API gave none.
    """

    described_at: Moment | None = None


class Answered(Struct):
    """What became of an answer, and the question as it is then.

    verdict: ``settled`` decided it, ``voted`` counts and others have to answer too, ``repeated``
    had been given before, ``held`` can be taken back yet.
    """

    verdict: Verdict
    task: Task


@operation(
    "POST",
    "human-tasks/{task_id}/answer",
    body=TaskAnswerBody,
    result=Answered,
    statuses=(200, 202),
    refusals=(409,),
)
def answer_task(call: Call, task_id: str) -> Reply:
    """Answer one question."""
    task = visible_to(call.user).filter(pk=task_id).first()
    if task is None:
        raise NoSuchQuestionError(task_id)
    _check_seen(call, task)
    try:
        answer, fields = read_sent(task, call.body.to_sent())
    except WrongAnswerError:
        # What is wrong with an answer no longer matters when it would be late anyway.
        if not (now := shown(call, task_id)).is_open:
            raise _late(now) from None
        raise
    try:
        verdict = decide_or_hold(task_id, call.actor, answer, fields)
    except OutdatedError as error:
        raise ProblemError(409, error.sentence) from None
    if verdict is Verdict.LATE:
        raise _late(shown(call, task_id))
    if verdict is Verdict.HELD:
        return Reply(Answered(verdict, shown(call, task_id)), 202)
    drop_draft(task, call.user)
    return Reply(Answered(verdict, shown(call, task_id)), 200)


@operation("POST", "human-tasks/{task_id}/take-back", result=Task, refusals=(409,))
def take_back_answer(call: Call, task_id: str) -> Task:
    """Take an answer back that was held; what was sent is a draft again."""
    try:
        take_back(task_id, call.actor)
    except RefusedError as error:
        raise ProblemError(409, error.sentence) from None
    return shown(call, task_id)


def _check_seen(call: Call, task: HumanTask) -> None:
    """Refuse an answer to another description than the one that is there."""
    given = call.body.described_at
    if task.described_at == (None if given is None else epoch_ms(given)):
        return
    if not (now := shown(call, task.pk)).is_open:
        raise _late(now)
    raise ProblemError(
        409,
        _("What this asks was said at another time: read it again, and send its described_at."),
    )


def _late(task: Task) -> ProblemError:
    sentence = task.outcome.sentence if task.outcome else ""
    return ProblemError(409, _("%(outcome)s. Your answer was not used.") % {"outcome": sentence})
