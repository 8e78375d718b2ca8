"""``manage.py durable_token``: issue, list and revoke tokens for the gateway."""

import re
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import IntegrityError

from durable import clock, conf
from durable.gateway import tokens
from durable.gateway.grants import ADMIN, WORKER
from durable.models import Token

_UNITS = {"m": 60, "h": 3600, "d": 86_400}
_MS = 1000
_NEVER = "never"


class Command(BaseCommand):
    """A token is shown once, when it is issued; only a digest of it is kept."""

    help = "Issue, list and revoke tokens for clients of the gateway."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the three actions."""
        actions = parser.add_subparsers(dest="action", required=True)
        issue = actions.add_parser("issue", help="make a token and show it, this once")
        issue.add_argument("name", help="who it is for")
        scope = issue.add_mutually_exclusive_group(required=True)
        scope.add_argument("--prefix", help="what the ids it may touch begin with")
        scope.add_argument("--all", action="store_true", help="it may touch every id")
        issue.add_argument("--role", choices=[WORKER, ADMIN], default="")
        issue.add_argument(
            "--group", action="append", default=[], help="a worker group it may poll as well"
        )
        issue.add_argument(
            "--expires", default="365d", help="after how long, as 12h or 90d, or never (365d)"
        )
        revoke = actions.add_parser("revoke", help="make a token useless, within seconds")
        revoke.add_argument("name")
        actions.add_parser("list", help="show who has which token")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Carry out the action."""
        match options["action"]:
            case "issue":
                self._issue(options)
            case "revoke":
                self._revoke(options["name"])
            case _:
                self._list()

    def _issue(self, options: dict[str, Any]) -> None:
        name, prefix = options["name"], options["prefix"]
        if prefix is not None and not prefix:
            message = "--prefix is empty, which would allow every id; say --all if you mean that"
            raise CommandError(message)
        lifetime = parse_lifetime(options["expires"])
        try:
            secret = tokens.issue(
                name,
                prefix=prefix or "",
                role=options["role"],
                groups=options["group"],
                expires_at=None if lifetime is None else clock.now_ms() + lifetime,
                using=conf.database_alias(),
            )
        except IntegrityError as error:
            message = f"{name} has a token already; revoke it first, or choose another name"
            raise CommandError(message) from error
        self.stderr.write(f"The token of {name}. It is not shown again.")
        self.stdout.write(secret)
        if not conf.is_auth_required():
            self.stderr.write("Nobody asks for it: DURABLE_AUTH_REQUIRED is off in development.")

    def _revoke(self, name: str) -> None:
        if not tokens.revoke(name, using=conf.database_alias()):
            message = f"{name} has no token"
            raise CommandError(message)
        self.stdout.write(f"Revoked the token of {name}; it works for a few seconds more at most.")

    def _list(self) -> None:
        for token in Token.objects.using(conf.database_alias()).order_by("created_at", "id"):
            self.stdout.write("  ".join(describe(token)))


def parse_lifetime(text: str) -> int | None:
    """Return a length in milliseconds; None for ``never``."""
    if text == _NEVER:
        return None
    found = re.fullmatch(r"([1-9]\d{0,5})([mhd])", text)
    if found is None:
        message = f"--expires is {text}; give a number of m, h or d, as 90d, or never"
        raise CommandError(message)
    return int(found[1]) * _UNITS[found[2]] * _MS


def describe(token: Token) -> list[str]:
    """Return what may be shown of a token."""
    now = clock.now_ms()
    state = "valid"
    if token.revoked_at is not None:
        state = "revoked"
    elif token.expires_at is not None and token.expires_at <= now:
        state = "expired"
    until = _NEVER if token.expires_at is None else _day(token.expires_at)
    scope = f"prefix {token.prefix}" if token.prefix else "every id"
    groups = f"groups {', '.join(token.groups)}" if token.groups else "no further groups"
    return [token.name, state, f"until {until}", token.role or "no role", scope, groups]


def _day(instant: int) -> str:
    return datetime.fromtimestamp(instant / _MS, UTC).strftime("%Y-%m-%d")
