"""The people of the demo, and their passwords, which are kept in ``var/``."""

import secrets
from pathlib import Path
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission


class Person(NamedTuple):
    """A user of the demo."""

    username: str
    first_name: str
    last_name: str
    groups: tuple[str, ...]
    permissions: tuple[str, ...]
    may: str


PEOPLE = (
    Person("mia", "Mia", "Holm", ("finance", "sales"), (), "decides on money and offers"),
    Person("jon", "Jon", "Berg", ("editors",), (), "decides on texts, asks for purchases"),
    Person(
        "olga",
        "Olga",
        "Ruiz",
        ("operators",),
        (
            "view_executions",
            "settle_any",
            "cancel_executions",
            "manage_tasks",
            "manage_webhooks",
            "view_auditentry",
            "reveal_secrets",
        ),
        "decides on deployments, sees every execution, answers anything",
    ),
    Person("finn", "Finn", "Aas", ("finance",), (), "decides on money as well"),
    Person("ida", "Ida", "Lund", ("board",), (), "is the head of finance"),
)


def make_person(person: Person) -> str:
    """Create or update a user with groups and rights; return the password."""
    password = password_of(person.username)
    user, _ = get_user_model().objects.get_or_create(
        username=person.username, defaults={"first_name": person.first_name}
    )
    user.first_name, user.last_name = person.first_name, person.last_name
    user.email = f"{person.username}@example.org"
    user.set_password(password)
    user.save()
    user.groups.set(Group.objects.get_or_create(name=name)[0] for name in person.groups)
    user.user_permissions.set(
        Permission.objects.filter(
            content_type__app_label="signoff", codename__in=person.permissions
        )
    )
    return password


def find_person(username: str) -> Any:
    """Return a user who was made before."""
    return get_user_model().objects.get(username=username)


def password_of(username: str) -> str:
    """Return the password of this machine's demo user, made on the first run."""
    path = Path(settings.VAR_DIR) / f"demo_password_{username}"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(9))
    return path.read_text()
