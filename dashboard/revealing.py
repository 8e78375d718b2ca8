"""Looking at secret values: with a right of its own, and never without a row in the audit trail."""

from dashboard import auditing
from dashboard.answering import Actor, NoSuchQuestionError
from dashboard.models import Action, HumanTask
from dashboard.permissions import REVEAL_SECRETS, AnyUser, has, visible_to


def may_reveal(task: HumanTask, user: AnyUser) -> bool:
    """Whether there is something secret that the user has the right to look at."""
    return bool(task.described and task.described.secrets) and has(user, REVEAL_SECRETS)


def reveal(promise_id: str, actor: Actor) -> HumanTask:
    """Note that somebody looks at the secret values of a question, who may then be shown them.

    Raises ``NoSuchQuestionError`` for those who may not.
    """
    task = visible_to(actor.user).filter(pk=promise_id).first()
    if task is None or not may_reveal(task, actor.user):
        raise NoSuchQuestionError(promise_id)
    secrets = task.described.secrets if task.described else ()
    auditing.record(Action.REVEAL, task.pk, actor, details={"paths": list(secrets)})
    return task
