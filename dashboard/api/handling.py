"""What people do with a question beside answering it: take it on, hand it over, talk about it."""

import datetime as dt
from typing import Annotated, Any

from django.http import QueryDict
from django.utils.translation import gettext as _
from msgspec import Meta, Struct

from dashboard import claims, comments, snoozing
from dashboard.answering import NoSuchQuestionError
from dashboard.api.operations import Call, Reply, operation
from dashboard.api.problems import not_found, refuse
from dashboard.api.tasks import Remark, Task, shown
from dashboard.api.values import Moment, epoch_ms, moment
from dashboard.drafts import MAX_BYTES, drop_draft, find_draft, save_draft
from dashboard.forms import FILLED
from dashboard.models import Comment, Draft, HumanTask
from dashboard.people import find_by_name
from dashboard.permissions import visible_to

MAX_NOTE = 10_000

type Note = Annotated[str, Meta(max_length=MAX_NOTE)]


class NoteBody(Struct, forbid_unknown_fields=True):
    """A note for those who look later."""

    note: Note = ""


class ClaimBody(Struct, forbid_unknown_fields=True):
    """Which questions to take on, by id."""

    ids: Annotated[list[str], Meta(min_length=1, max_length=claims.MOST)]


class ClaimLine(Struct):
    """One question; ``problem`` says why it was left, and is empty if it was taken on."""

    id: str
    problem: str


class Claims(Struct):
    """What became of each question, in the order in which they were named."""

    items: list[ClaimLine]


class HandOverBody(Struct, forbid_unknown_fields=True):
    """Whom a question is given to, by user name, and a note."""

    to: str
    note: Note = ""


class SnoozeBody(Struct, forbid_unknown_fields=True):
    """When a question comes back."""

    until: Moment


class RemarkBody(Struct, forbid_unknown_fields=True):
    """A remark, a question to the requester (``asked``) or their reply (``replied``)."""

    text: str
    kind: Comment.Kind = Comment.Kind.REMARK


class Remarks(Struct):
    """All that was said on a question, the oldest first."""

    items: list[Remark]


class DraftBody(Struct, forbid_unknown_fields=True):
    """What was filled in so far, by the names of the page's inputs."""

    fields: dict[str, list[str]]


class DraftShown(Struct):
    """What somebody wrote and did not send."""

    fields: dict[str, list[str]]
    saved_at: dt.datetime

    @classmethod
    def of(cls, draft: Draft) -> "DraftShown":
        """Return a draft."""
        return cls(draft.fields, moment(draft.saved_at))


@operation("POST", "human-tasks/{task_id}/claim", result=Task)
def claim_task(call: Call, task_id: str) -> Task:
    """Take a question on, so that others leave it alone."""
    claims.claim(task_id, call.actor)
    return shown(call, task_id)


@operation("POST", "claims", body=ClaimBody, result=Claims)
def claim_tasks(call: Call) -> Claims:
    """Take several questions on, each by itself."""
    tried = claims.claim_each(call.body.ids, call.actor)
    return Claims([ClaimLine(one.promise_id, one.problem) for one in tried])


@operation("POST", "human-tasks/{task_id}/release", body=NoteBody, result=Task)
def release_task(call: Call, task_id: str) -> Task:
    """Give a question back to everybody it is for."""
    claims.release(task_id, call.actor, call.body.note.strip())
    return shown(call, task_id)


@operation("POST", "human-tasks/{task_id}/hand-over", body=HandOverBody, result=Task)
def hand_over_task(call: Call, task_id: str) -> Task:
    """Give a question to one person who may answer it."""
    _task_of(call, task_id)
    to = find_by_name(call.body.to.strip())
    if to is None:
        refuse("to", _("There is nobody of this name."))
    claims.hand_over(task_id, call.actor, to, call.body.note.strip())
    return shown(call, task_id)


@operation("POST", "human-tasks/{task_id}/snooze", body=SnoozeBody, result=Task)
def snooze_task(call: Call, task_id: str) -> Task:
    """Put a question off: it leaves one's own lists until then."""
    snoozing.snooze(task_id, call.actor, epoch_ms(call.body.until))
    return shown(call, task_id)


@operation("POST", "human-tasks/{task_id}/wake", result=Task)
def wake_task(call: Call, task_id: str) -> Task:
    """Bring a question back that one has put off."""
    snoozing.wake(task_id, call.actor)
    return shown(call, task_id)


@operation("GET", "human-tasks/{task_id}/comments", result=Remarks)
def list_comments(call: Call, task_id: str) -> Remarks:
    """List what was said on a question."""
    task = _task_of(call, task_id)
    return Remarks([Remark.of(one) for one in comments.comments_on(task)])


@operation(
    "POST",
    "human-tasks/{task_id}/comments",
    body=RemarkBody,
    result=Remark,
    statuses=(201,),
)
def add_comment(call: Call, task_id: str) -> Remark:
    """Say something on a question, ask the requester back, or reply to that."""
    return Remark.of(comments.write(task_id, call.actor, call.body.text, call.body.kind))


@operation("GET", "human-tasks/{task_id}/draft", result=DraftShown)
def read_draft(call: Call, task_id: str) -> DraftShown:
    """Show what one has begun to write on a question."""
    draft = find_draft(_task_of(call, task_id), call.user)
    if draft is None:
        raise not_found()
    return DraftShown.of(draft)


@operation("PUT", "human-tasks/{task_id}/draft", body=DraftBody, result=DraftShown)
def write_draft(call: Call, task_id: str) -> DraftShown:
    """Keep what one has begun to write on a question."""
    task = _task_of(call, task_id)
    data = QueryDict(mutable=True)
    for name, texts in call.body.fields.items():
        data.setlist(name, texts)
    if any(data.values()):
        data[FILLED] = "1"  # as the page's own form sends it
    if not save_draft(task, call.user, data):
        limit = {"limit": MAX_BYTES}
        refuse("fields", _("Nothing is filled in, or more than %(limit)d.") % limit)
    draft: Any = find_draft(task, call.user)
    return DraftShown.of(draft)


@operation("DELETE", "human-tasks/{task_id}/draft", result=None, statuses=(204,))
def delete_draft(call: Call, task_id: str) -> Reply:
    """Forget what one has begun to write on a question."""
    task = _task_of(call, task_id)
    if find_draft(task, call.user) is None:
        raise not_found()
    drop_draft(task, call.user)
    return Reply(None, 204)


def _task_of(call: Call, task_id: str) -> HumanTask:
    task = visible_to(call.user).filter(pk=task_id).first()
    if task is None:
        raise NoSuchQuestionError(task_id)
    return task
