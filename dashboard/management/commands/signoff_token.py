"""``manage.py signoff_token``: make, list and revoke the tokens of the API."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from dashboard.api import tokens
from dashboard.auditing import SYSTEM
from dashboard.models import ApiToken
from dashboard.people import find_by_name
from durable import clock
from durable.conf import database_alias
from durable.management.commands.durable_token import parse_lifetime
from durable.workflow.instants import to_text


class Command(BaseCommand):
    """A token is shown once, when it is made; only a digest of it is kept."""

    help = "Make, list and revoke tokens with which programs act in a person's name."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the three acts."""
        acts = parser.add_subparsers(dest="act", required=True)
        make = acts.add_parser("make", help="make a token and show it, this once")
        make.add_argument("user", help="user name of the person in whose name it acts")
        make.add_argument("name", help="what it is for")
        make.add_argument(
            "--expires", default="90d", help="after how long, as 12h or 90d, or never (90d)"
        )
        make.add_argument("--read-only", action="store_true", help="it may change nothing")
        revoke = acts.add_parser("revoke", help="make a token useless, at once")
        revoke.add_argument("number", type=int, help="as list shows it")
        acts.add_parser("list", help="show the tokens that were not revoked")

    def handle(self, *_args: Any, act: str, **options: Any) -> None:
        """Do the act."""
        {"make": self._make, "revoke": self._revoke, "list": self._list}[act](options)

    def _make(self, options: dict[str, Any]) -> None:
        owner = find_by_name(options["user"])
        if owner is None:
            message = f"{options['user']} is nobody who can sign in"
            raise CommandError(message)
        lifetime = parse_lifetime(options["expires"])
        token = tokens.make(
            owner,
            options["name"],
            SYSTEM,
            expires_at=None if lifetime is None else clock.now_ms() + lifetime,
            is_read_only=options["read_only"],
        )
        self.stderr.write(f"A token of {owner.get_username()}. It is not shown again.")
        self.stdout.write(token)

    def _revoke(self, options: dict[str, Any]) -> None:
        row = ApiToken.objects.using(database_alias()).filter(pk=options["number"]).first()
        if row is None or not tokens.revoke(row, SYSTEM):
            message = f"there is no token {options['number']} that counts"
            raise CommandError(message)
        self.stdout.write(f"Revoked {row}.")

    def _list(self, _options: dict[str, Any]) -> None:
        rows = ApiToken.objects.using(database_alias()).filter(revoked_at__isnull=True)
        for row in rows.select_related("owner").order_by("pk"):
            end = "never" if row.expires_at is None else to_text(row.expires_at)
            used = "never" if row.last_used_at is None else to_text(row.last_used_at)
            kind = "reads" if row.is_read_only else "acts"
            self.stdout.write(
                f"{row.pk}  {row.owner.get_username()}  {row}  {kind}  until {end}  used {used}"
            )
