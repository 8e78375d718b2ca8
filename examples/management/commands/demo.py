"""``manage.py demo``: database, people, some work to decide on; then serve it with a worker."""

import secrets
from pathlib import Path
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser

import durable
from examples.orders import read_orders
from examples.workflows import deploy, purchase, review

ARTICLE = (
    "From Monday the office in Aarhus opens at eight. Deliveries go to the door in the yard, and"
    " guests ring at the front. Please tell your suppliers."
)


class Person(NamedTuple):
    """A user of the demo."""

    username: str
    first_name: str
    groups: tuple[str, ...]
    permissions: tuple[str, ...]
    may: str


PEOPLE = (
    Person("mia", "Mia", ("finance",), (), "decides on purchases"),
    Person("jon", "Jon", ("editors",), (), "decides on texts"),
    Person(
        "olga",
        "Olga",
        ("operators",),
        ("view_executions", "settle_any", "cancel_executions"),
        "decides on deployments, sees every execution, answers anything",
    ),
)


class Command(BaseCommand):
    """May be run again: what is there stays, and the passwords stay the same."""

    help = "Set the demo up and serve it on http://127.0.0.1:8001 with a worker."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8001)
        parser.add_argument("--no-serve", action="store_true", help="set up only")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Set up and serve."""
        call_command("migrate", verbosity=0)
        self._greet(options)
        start_examples()
        if not options["no_serve"]:
            call_command(
                "serve", host=options["host"], port=options["port"], worker=True, stdout=self.stdout
            )

    def _greet(self, options: dict[str, Any]) -> None:
        self.stdout.write(f"\nSign in at http://{options['host']}:{options['port']}/ as\n\n")
        for person in PEOPLE:
            password = make_person(person)
            self.stdout.write(f"    {person.username:6} {password}   {person.may}\n")
        self.stdout.write("\n")


def make_person(person: Person) -> str:
    """Create or update a user with groups and rights; return the password."""
    password = _password_of(person.username)
    user, _ = get_user_model().objects.get_or_create(
        username=person.username, defaults={"first_name": person.first_name}
    )
    user.set_password(password)
    user.save()
    user.groups.set(Group.objects.get_or_create(name=name)[0] for name in person.groups)
    user.user_permissions.set(
        Permission.objects.filter(
            content_type__app_label="signoff", codename__in=person.permissions
        )
    )
    return password


def _password_of(username: str) -> str:
    """Return the password of this machine's demo user, made on the first run."""
    path = Path(settings.VAR_DIR) / f"demo_password_{username}"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(9))
    return path.read_text()


def start_examples() -> None:
    """Start the workflows that the demo shows; those that were started before stay as they are."""
    for order in read_orders():
        durable.start(f"purchase-{order.order_id}", purchase, order)
    durable.start("review-opening-hours", review, "New opening hours", ARTICLE)
    durable.start("deploy-shop-42", deploy, "shop", "42")
