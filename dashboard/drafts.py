"""What somebody has written and not sent: kept on the server, so that nothing is lost."""

from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.http import QueryDict

from dashboard.models import Draft, HumanTask
from durable.clock import now_ms
from durable.conf import database_alias

MAX_BYTES = 200_000
_NOT_KEPT = frozenset({"csrfmiddlewaretoken", "answer", "request_key", "next"})


def save_draft(task: HumanTask, user: AbstractBaseUser, data: QueryDict) -> bool:
    """Keep the fields of a form; return whether there was anything to keep."""
    fields = {name: data.getlist(name) for name in data if name not in _NOT_KEPT}
    drafts = Draft.objects.using(database_alias())
    is_empty = not any(value for values in fields.values() for value in values)
    if is_empty or sum(len(one) for values in fields.values() for one in values) > MAX_BYTES:
        drafts.filter(task=task.pk, user=user.pk).delete()
        return False
    drafts.update_or_create(
        task_id=task.pk, user_id=user.pk, defaults={"fields": fields, "saved_at": now_ms()}
    )
    return True


def read_draft(task: HumanTask, user: Any) -> QueryDict | None:
    """Return what a user had written, as it would be sent; None for nothing."""
    draft = Draft.objects.using(database_alias()).filter(task=task.pk, user=user.pk).first()
    if draft is None:
        return None
    data = QueryDict(mutable=True)
    for name, values in draft.fields.items():
        data.setlist(name, values)
    return data


def drop_draft(task: HumanTask, user: AbstractBaseUser) -> None:
    """Forget it: it was sent."""
    Draft.objects.using(database_alias()).filter(task=task.pk, user=user.pk).delete()
