"""Who is named by a description: users, groups, permissions, and whom the project's rules name.

Rules are callables that a project lists in ``SIGNOFF_DECIDERS`` under names; they are called once,
when a question is described, with the description. They return users and groups.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import transaction
from django.utils.module_loading import import_string

from dashboard.descriptions import Description, DescriptionError
from dashboard.descriptions.policy import Kind, leaves
from dashboard.models import Decider
from durable.conf import database_alias

type Named = tuple[str, str]
"""Kind of ``Decider`` and name."""

_PATH = "human_task.deciders"
_KINDS = {
    Kind.USER: Decider.Kind.USER,
    Kind.GROUP: Decider.Kind.GROUP,
    Kind.PERMISSION: Decider.Kind.PERMISSION,
}


def named_in(description: Description) -> Iterator[Named]:
    """Return whom a description itself names."""
    for name in description.users:
        yield Decider.Kind.USER, name
    for name in description.groups:
        yield Decider.Kind.GROUP, name
    if description.permission:
        yield Decider.Kind.PERMISSION, description.permission
    if description.policy is not None:
        for leaf in leaves(description.policy):
            if leaf.kind in _KINDS:
                yield _KINDS[leaf.kind], leaf.name


def call_deciders(description: Description) -> tuple[Named, ...]:
    """Return whom the project's rules name; raises ``DescriptionError`` when one cannot say."""
    try:
        return tuple(named for name in description.callables for named in _call(name, description))
    except DescriptionError as error:
        error.title = description.without_secrets().title
        raise


def _call(name: str, description: Description) -> Iterator[Named]:
    rule = _rule(name)
    try:
        with transaction.atomic(using=database_alias()):  # an error of its undoes nothing else
            found = list(rule(description))
    except Exception as error:
        problem = f"{name!r} failed with {type(error).__name__}"
        raise DescriptionError(_PATH, problem) from error
    yield from map(_named, found)


def _rule(name: str) -> Callable[[Description], Iterable[Any]]:
    paths = getattr(settings, "SIGNOFF_DECIDERS", {})
    if name not in paths:
        raise DescriptionError(_PATH, f"{name!r} is not a rule of SIGNOFF_DECIDERS")
    try:
        rule: Callable[[Description], Iterable[Any]] = import_string(paths[name])
    except ImportError as error:
        raise DescriptionError(_PATH, f"{name!r} cannot be imported") from error
    return rule


def _named(owner: Any) -> Named:
    if isinstance(owner, Group):
        return Decider.Kind.GROUP, owner.name
    return Decider.Kind.USER, owner.get_username()
