"""Users as the pages speak of them."""

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.core.exceptions import ValidationError

from durable.conf import database_alias

_USER_PREFIX = "user:"


def name_of(user: AbstractBaseUser) -> str:
    """Return what people call a user: the full name, or else the user name."""
    full_name = getattr(user, "get_full_name", str)()
    return full_name or user.get_username()


def find_user(key: Any) -> AbstractBaseUser | None:
    """Return a user by primary key, however it is written; None when there is none."""
    users = get_user_model()._default_manager.using(database_alias())
    try:
        return users.filter(pk=key).first()
    except (ValueError, TypeError, ValidationError):
        return None


def hold_user(user: AbstractBaseUser) -> AbstractBaseUser | None:
    """Return a user as they are now if they may still sign in, and let that stay so.

    Until the caller's transaction ends. Nothing is known yet of the rights of what is returned, so
    they are those of the moment at which somebody asks for them.
    """
    users = get_user_model()._default_manager.using(database_alias())
    rows = users.select_for_update(of=("self",), no_key=True)
    found = rows.filter(pk=user.pk).first()
    return found if found is not None and found.is_active else None


def starter_id(started_by: str) -> str | None:
    """Return the primary key, as text, of the person who started an execution; None for others."""
    key = started_by.removeprefix(_USER_PREFIX)
    return key if key != started_by else None


def starter_of(user: AbstractBaseUser | AnonymousUser) -> str:
    """Return how a user is noted as the one who started an execution."""
    return f"{_USER_PREFIX}{user.pk}"


def find_by_name(username: str) -> AbstractBaseUser | None:
    """Return an active user by user name."""
    model = get_user_model()
    users = model._default_manager.using(database_alias())
    found = users.filter(**{model.USERNAME_FIELD: username}).first()
    return found if found is not None and found.is_active else None
