"""Personal links to a question: those that there are, one more, none any more."""

import datetime as dt
import uuid
from typing import Any

from django.utils.translation import gettext as _
from msgspec import Struct

from dashboard import links, shared_links
from dashboard.answering import NoSuchQuestionError
from dashboard.api.operations import Call, operation
from dashboard.api.problems import not_found, refuse
from dashboard.api.values import moment
from dashboard.models import DecisionLink, HumanTask
from dashboard.permissions import MAKE_LINKS, visible_to


class LinkLine(Struct):
    """A link, for whom, and until when it counts; its address is not kept."""

    id: uuid.UUID
    recipient: str
    made_at: dt.datetime
    expires_at: dt.datetime

    @classmethod
    def of(cls, one: DecisionLink) -> "LinkLine":
        """Return the line of a link."""
        name = one.recipient.get_username()
        return cls(one.pk, name, moment(one.made_at), moment(one.expires_at))


class Links(Struct):
    """The links to a question that were not taken back, the newest first."""

    items: list[LinkLine]


class LinkBody(Struct, forbid_unknown_fields=True):
    """For whom, by user name."""

    to: str


class LinkMade(Struct):
    """A link; whoever follows it signs in as its recipient. Its address is shown this once."""

    url: str
    recipient: str


@operation("GET", "human-tasks/{task_id}/links", result=Links, permission=MAKE_LINKS)
def list_links(call: Call, task_id: str) -> Links:
    """List the personal links to a question."""
    found: Any = links.links_to(_task_of(call, task_id)).select_related("recipient")
    return Links([LinkLine.of(one) for one in found.order_by("-made_at", "pk")])


@operation(
    "POST",
    "human-tasks/{task_id}/links",
    body=LinkBody,
    result=LinkMade,
    statuses=(201,),
    permission=MAKE_LINKS,
)
def make_link(call: Call, task_id: str) -> LinkMade:
    """Make a link to a question for somebody who may answer it."""
    if links.mode() is None:
        raise not_found()
    task = _task_of(call, task_id)
    recipient = shared_links.find_recipient(task, call.body.to.strip())
    if recipient is None:
        refuse("to", _("There is nobody of this name who may answer this."))
    return LinkMade(shared_links.share(task, recipient, call.actor), recipient.get_username())


@operation("POST", "human-tasks/{task_id}/links/revoke", result=Links, permission=MAKE_LINKS)
def revoke_links(call: Call, task_id: str) -> Links:
    """Take back all links to a question, those in messages as well."""
    shared_links.take_back(_task_of(call, task_id), call.actor)
    return Links([])


def _task_of(call: Call, task_id: str) -> HumanTask:
    task = visible_to(call.user).filter(pk=task_id).first()
    if task is None:
        raise NoSuchQuestionError(task_id)
    return task
