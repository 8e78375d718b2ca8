"""``manage.py signoff_audit``: verify the chain of the audit trail, extend it, export entries."""

from argparse import ArgumentTypeError
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from dashboard.audit_chain import BATCH, Place, extend, verify
from dashboard.audit_queries import FORMATS, Filters, export, read_instant
from dashboard.models import Action, SignIn
from durable.conf import database_alias


class Command(BaseCommand):
    """Reads the audit trail; only ``chain`` writes, and only links."""

    help = "Verify the chain of the audit trail, extend it, or export entries."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take one of three acts, each with its options."""
        acts = parser.add_subparsers(dest="act", required=True)
        check = acts.add_parser("verify", help="walk along the chain and name what is wrong first")
        check.add_argument(
            "--known",
            type=_place,
            metavar="POSITION:HASH",
            help="a head of the chain that was noted before, which must still be there",
        )
        acts.add_parser("chain", help="chain what has been committed, without waiting for serve")
        send = acts.add_parser("export", help="write entries, oldest first")
        send.add_argument("--format", choices=sorted(FORMATS), default="jsonl")
        send.add_argument("--output", type=Path, help="a file; default is standard output")
        send.add_argument("--since", type=_instant, help="a date or an instant")
        send.add_argument("--until", type=_instant, help="a date, inclusive, or instant")
        send.add_argument("--actor", default="", help="part of a name, also of the one acted for")
        send.add_argument("--action", choices=Action.values, default="", metavar="ACTION")
        send.add_argument("--target", default="", help="what the id begins with")
        send.add_argument("--execution", default="", help="id of an execution, with its questions")
        send.add_argument("--text", default="", help="part of reason, answer or target")
        send.add_argument("--sign-in", choices=SignIn.values, default="", metavar="WAY")
        send.add_argument("--overridden", action="store_true", help="only overridden separation")
        send.add_argument("--late", action="store_true", help="only what came too late")

    def handle(self, *_args: Any, act: str, **options: Any) -> None:
        """Do the act."""
        {"verify": self._verify, "chain": self._chain, "export": self._export}[act](options)

    def _verify(self, options: dict[str, Any]) -> None:
        report = verify(using=database_alias(), known=options["known"])
        waiting = f"{report.waiting} entries are not chained yet"
        if report.broken:
            message = f"{report.broken}; {report.head.position} entries are right; {waiting}"
            raise CommandError(message)
        if report.left_out:
            message = (
                f"{report.left_out} entries without a link stand before others that have one: "
                "they were put in, or came with data from elsewhere, and then chain takes them up"
            )
            raise CommandError(message)
        self.stdout.write(
            self.style.SUCCESS(f"{report.head.position} entries are right; {waiting}")
        )
        if report.head.position:
            self.stdout.write(f"head {report.head}")

    def _chain(self, _options: dict[str, Any]) -> None:
        total = 0
        while added := extend(using=database_alias(), is_thorough=True):
            total += added
            if added < BATCH:
                break
        self.stdout.write(f"{total} entries chained")

    def _export(self, options: dict[str, Any]) -> None:
        filters = Filters(
            who=options["actor"],
            action=options["action"],
            about=options["target"],
            execution=options["execution"],
            text=options["text"],
            since=options["since"] or "",
            until=options["until"] or "",
            how=options["sign_in"],
            overridden="1" if options["overridden"] else "",
            late="1" if options["late"] else "",
        )
        output: Path | None = options["output"]
        if output is None:
            opened: Any = nullcontext(self.stdout)
        else:
            opened = output.open("w", encoding="utf-8", newline="")
        with opened as file:
            for chunk in export(filters, FORMATS[options["format"]]):
                file.write(chunk, **({"ending": ""} if output is None else {}))


def _place(text: str) -> Place:
    try:
        return Place.parse(text)
    except ValueError:
        message = f"{text!r} is not a position and a hash"
        raise ArgumentTypeError(message) from None


def _instant(text: str) -> str:
    if read_instant(text) is None:
        message = f"{text!r} is neither a date nor an instant"
        raise ArgumentTypeError(message)
    return text
