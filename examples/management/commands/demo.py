"""``manage.py demo``: database, people, some work to decide on; then serve it with a worker."""

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser

import durable
from examples import past, story
from examples.orders import read_orders
from examples.people import PEOPLE, make_person
from examples.story.company import ARTICLE
from examples.workflows import deploy, purchase, review


class Command(BaseCommand):
    """May be run again: what is there stays, and the passwords stay the same."""

    help = "Set the demo up and serve it on http://127.0.0.1:8001 with a worker."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8001)
        parser.add_argument("--no-serve", action="store_true", help="set up only")
        parser.add_argument("--no-story", action="store_true", help="without any earlier days")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Set up and serve."""
        call_command("migrate", verbosity=0)
        self._greet(options)
        if not options["no_story"] and past.may_go_back() and not story.was_told():
            self.stdout.write("Three days of work are played; this takes some seconds.\n")
            story.tell()
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


def start_examples() -> None:
    """Start the workflows that the demo shows; those that were started before stay as they are."""
    for order in read_orders():
        durable.start(f"purchase-{order.order_id}", purchase, order)
    durable.start("review-opening-hours", review, "New opening hours", ARTICLE)
    durable.start("deploy-shop-42", deploy, "shop", "42")
