"""Links that somebody makes for somebody else, and takes back; each is in the audit trail."""

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from dashboard import auditing, links
from dashboard.answering import Actor
from dashboard.models import Action, HumanTask, TargetKind
from dashboard.people import find_by_name
from dashboard.rights import could_answer
from durable.conf import database_alias


def find_recipient(task: HumanTask, username: str) -> AbstractBaseUser | None:
    """Return somebody who may answer a question, by user name."""
    found = find_by_name(username)
    return found if found is not None and could_answer(task, found) else None


def share(task: HumanTask, recipient: AbstractBaseUser, actor: Actor) -> str:
    """Make a link for somebody, and return its address.

    Whoever makes it sees it, so it needs a login, however other links work: nobody answers in the
    name of somebody else.
    """
    with transaction.atomic(using=database_alias()):
        url = links.make_link(task, recipient, needs_login=True)
        _record(Action.LINK, task, actor, recipient.get_username())
    return url


def take_back(task: HumanTask, actor: Actor) -> int:
    """Take back all links to a question; return how many counted until now."""
    with transaction.atomic(using=database_alias()):
        count = links.revoke(links.links_to(task))
        if count:
            _record(Action.UNLINK, task, actor)
    return count


def _record(action: Action, task: HumanTask, actor: Actor, recipient: str = "") -> None:
    details = {"recipient": recipient} if recipient else None
    auditing.record(action, task.pk, actor, kind=TargetKind.LINK, details=details)
