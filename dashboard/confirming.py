"""Asks whoever answers a question of high risk to confirm it, before the answer counts."""

import datetime as dt
from typing import Any

from django.contrib.auth import authenticate, get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.utils import timezone
from django.utils.functional import Promise as LazyText
from django.utils.translation import gettext_lazy as _

from dashboard import auditing
from dashboard.answering import Actor
from dashboard.descriptions.answers import AnswerOption
from dashboard.descriptions.confirmation import Confirmation
from dashboard.locks import hold_names
from dashboard.masking import is_secret
from dashboard.models import Action, AuditEntry, HumanTask, SignIn
from dashboard.rights import RefusedError
from durable.conf import database_alias

MAX_WRONG = 5
"""How many wrong passwords a person may give in an hour, on whatever questions."""
WINDOW = dt.timedelta(hours=1)

WITH_PASSWORD = frozenset({SignIn.SESSION, SignIn.TOKEN})
"""Who may give one: nobody types it into a chat, or on the page of a link."""
NO_PASSWORD_HERE = _("This answer takes your password: sign in and open the question to give it.")


class PasswordWantedError(Exception):
    """The answer takes a password, which is not looked at in the transaction that decides."""


def confirmation_of(task: HumanTask, option: AnswerOption) -> Confirmation | None:
    """Return what has to be given with an answer to a question; None for nothing."""
    return None if task.described is None else task.described.confirmation_of(option)


def takes_a_person(promise_id: str, *, resolves: bool) -> bool:
    """Whether an open question has to be confirmed to be settled so, which no event can do.

    One with a mistake in its description may have asked for that.
    """
    tasks = HumanTask.objects.using(database_alias())
    task = tasks.filter(pk=promise_id, settled_at__isnull=True).first()
    if task is None:
        return False
    if task.mistake:
        return resolves
    if task.described is None or task.described.confirm is None:
        return False
    return resolves or not any(one.approves for one in task.options)


def label_of(task: HumanTask, confirmation: Confirmation) -> str | LazyText:
    """Return what stands beside the field."""
    if confirmation.label:
        return confirmation.label
    if confirmation.is_password:
        return _("Your password, to confirm")
    if task.described is not None and is_secret("/confirm/text", task.described.secrets):
        return _("To confirm, type what was agreed on")
    return _("To confirm, type %(text)s") % {"text": confirmation.text}


def check(task: HumanTask, option: AnswerOption, given: str, *, is_confirmed: bool) -> None:
    """Refuse an answer that has to be confirmed and is not.

    Raises ``RefusedError``, or ``PasswordWantedError`` unless ``is_confirmed`` says that the
    password has been looked at.
    """
    confirmation = confirmation_of(task, option)
    if confirmation is None or is_confirmed:
        return
    if confirmation.is_password:
        raise PasswordWantedError
    if not given:
        raise RefusedError(_("This answer has to be confirmed: open the question to do so."))
    if not confirmation.is_text(given):
        raise RefusedError(NOT_THE_TEXT)


NOT_THE_TEXT = _("What you typed to confirm it is not what is asked for.")


def check_password(promise_id: str, actor: Actor, given: str) -> None:
    """Refuse a password that is not the actor's; wrong ones are noted, and few are allowed."""
    if actor.sign_in not in WITH_PASSWORD:
        raise RefusedError(NO_PASSWORD_HERE)
    if not given:
        raise RefusedError(_("This answer takes your password."))
    with transaction.atomic(using=database_alias()):
        # One at a time, so that none is guessed beside another.
        hold_names([f"signoff password {actor.user.pk}"])
        since = timezone.now() - WINDOW
        wrong = AuditEntry.objects.using(database_alias()).filter(
            actor=actor.user.pk, action=Action.WRONG_PASSWORD, at__gt=since
        )
        if wrong.count() >= MAX_WRONG:
            raise RefusedError(_("Too many wrong passwords: try again in an hour."))
        is_right = _is_password_of(actor.user, given)
        if not is_right:
            auditing.record(Action.WRONG_PASSWORD, promise_id, actor)
    if not is_right:
        raise RefusedError(_("That is not your password."))


def _is_password_of(user: AbstractBaseUser, given: str) -> bool:
    if user.has_usable_password():
        return user.check_password(given)
    # It is kept elsewhere, where a backend may ask.
    model: Any = get_user_model()
    credentials: dict[str, Any] = {model.USERNAME_FIELD: user.get_username(), "password": given}
    found = authenticate(None, **credentials)
    return found is not None and found.pk == user.pk
