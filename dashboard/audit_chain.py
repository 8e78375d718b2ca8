"""Chains the rows of the audit trail, so that it shows when one is changed or taken out.

A link holds the hash of its entry and of the link before. Links are made a while after the commit:
nobody who acts waits for the chain. What matters is that an entry which commits late still gets its
place, and each entry one place only. On PostgreSQL ids do not tell: a transaction takes an id and
commits whenever it likes, and one that failed leaves the same gap as one that is still running. So
each row holds the number of the transaction that wrote it. All transactions below the oldest that
is running (``pg_snapshot_xmin``) have ended: their rows can be seen now, or never. The chain takes
exactly these, ordered by transaction and id, and goes on behind the last one that it took; a
transaction that stays open holds up the chain and nothing else.

Numbers of transactions begin anew when the data moves to another server. Rows with a number that no
transaction of this one has had yet come from there, and are done; while the last link is one of
them, the whole trail is searched for entries without a link.

SQLite writes one transaction after the other: the ids are in the order of the commits.

Who takes out the last links together with their entries leaves no trace here. Note the head of the
chain (``signoff_audit verify`` prints it) somewhere else, and give it to ``verify`` later.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC
from typing import Any, NamedTuple, Self

import msgspec
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import (
    BigIntegerField,
    Case,
    Exists,
    Func,
    IntegerField,
    OuterRef,
    Q,
    QuerySet,
    When,
)
from django.db.models.sql.compiler import SQLCompiler

from dashboard.models import AuditEntry, AuditLink

BATCH = 500
_WALKED_AT_ONCE = 1000
_LOCK = 7_316_095_280_641_022_317
_COLUMNS = (
    *("id", "at", "actor_id", "actor_name", "on_behalf_of_id", "on_behalf_of_name", "sign_in"),
    *("ip", "user_agent", "action", "answer", "target_kind", "target", "reason", "is_effective"),
    *("is_override", "state_before", "state_after", "details", "payload_hash", "request_key"),
    "transaction",
)
"""What a hash is made of. Whoever adds a column has to leave it out of rows that are older."""


class Place(NamedTuple):
    """A position in the chain and the hash that stands there; the beginning has neither."""

    position: int = 0
    hash: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``<position>:<hash>``; raises ``ValueError``."""
        position, _separator, digest = text.partition(":")
        if not (position.isascii() and position.isdecimal() and len(digest) == 64):
            raise ValueError(text)
        return cls(int(position), digest)

    def __str__(self) -> str:
        return f"{self.position}:{self.hash}"


@dataclass(frozen=True, slots=True)
class Report:
    """What ``verify`` found.

    head: how far the chain is right.
    waiting: entries without a link, of which the chain says nothing yet.
    broken: what is wrong with the first position that is, or empty.
    left_out: how many of those come before the last that has one: the chain never takes them up by
    itself, so they were put in, or came with data from elsewhere.
    """

    head: Place
    waiting: int = 0
    broken: str = ""
    left_out: int = 0


def hash_of(entry: AuditEntry, previous: str) -> str:
    """Return the hash of an entry that follows a link."""
    row = {name: getattr(entry, name) for name in _COLUMNS} | {"at": entry.at.astimezone(UTC)}
    text = msgspec.json.encode({"entry": row, "previous": previous}, enc_hook=str, order="sorted")
    return hashlib.sha256(text).hexdigest()


class _OldestRunning(Func):
    """The number below which all transactions have ended; on SQLite that is any."""

    arity = 0
    template = "(pg_snapshot_xmin(pg_current_snapshot())::text::bigint)"
    output_field = BigIntegerField()

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any
    ) -> Any:
        """Return a number above all."""
        return super().as_sql(compiler, connection, template=str(2**63 - 1), **context)


class _NotYetBegun(_OldestRunning):
    """The number from which on no transaction has begun."""

    template = "(pg_snapshot_xmax(pg_current_snapshot())::text::bigint)"


_IS_FROM_ELSEWHERE = Q(transaction__gte=_NotYetBegun())


def keep_chain(*, using: str, **_kwargs: object) -> None:
    """Chain what has been committed; a receiver of ``durable.signals.housekeeping``."""
    while extend(using=using) >= BATCH:
        pass


def extend(*, using: str, limit: int = BATCH, is_thorough: bool = False) -> int:
    """Chain up to ``limit`` entries and return how many; none while another process is at it.

    ``is_thorough`` searches the whole trail for entries without a link.
    """
    with transaction.atomic(using=using):
        if not _is_alone(using):
            return 0
        last = AuditLink.objects.using(using).order_by("position").last()
        head = Place() if last is None else Place(last.position, last.hash)
        after = None if last is None or is_thorough else _resume_after(last.entry_id, using)
        links = []
        for entry in _ready(after, using)[:limit]:
            link = AuditLink(
                position=head.position + 1,
                entry=entry,
                previous=head.hash,
                hash=hash_of(entry, head.hash),
            )
            links.append(link)
            head = Place(link.position, link.hash)
        AuditLink.objects.using(using).bulk_create(links)
    return len(links)


def verify(*, using: str, known: Place | None = None) -> Report:
    """Walk along the chain up to the first position that is wrong.

    ``known`` is a head that was noted before: it must still be there.
    """
    waiting = _unchained(using).count()
    head = Place()
    for link, entry in _walk(using):
        broken = _problem_of(link, entry, head)
        if not broken and known is not None and known.position == link.position:
            broken = _other_than_known(known) if link.hash != known.hash else ""
        if broken:
            return Report(head, waiting, broken)
        head = Place(link.position, link.hash)
    if known is not None and known.position > head.position:
        return Report(head, waiting, _other_than_known(known))
    return Report(head, waiting, left_out=_left_out(using))


def _is_alone(using: str) -> bool:
    """Take the lock of who chains; on SQLite this transaction has the lock of who writes."""
    connection = connections[using]
    if connection.vendor != "postgresql":
        return True
    with connection.cursor() as cursor:
        cursor.execute("select pg_try_advisory_xact_lock(%s)", [_LOCK])
        return bool(cursor.fetchone()[0])


def _resume_after(entry_id: int, using: str) -> AuditEntry | None:
    """Return the last entry with a link; None when the search has to begin at the start."""
    entries = AuditEntry.objects.using(using)
    return entries.exclude(_IS_FROM_ELSEWHERE).filter(pk=entry_id).first()


def _ready(after: AuditEntry | None, using: str) -> QuerySet[AuditEntry]:
    """Return the entries without a link that nothing can come before any more, in order."""
    has_ended = Q(transaction__lt=_OldestRunning())
    if after is None:
        # Those from elsewhere first: the last link is to be one of this server's if there is any.
        here = Case(When(_IS_FROM_ELSEWHERE, then=0), default=1, output_field=IntegerField())
        found = _unchained(using).filter(has_ended | _IS_FROM_ELSEWHERE)
        return found.order_by(here, "transaction", "id")
    follows = Q(transaction__gt=after.transaction) | Q(
        transaction=after.transaction, id__gt=after.pk
    )
    # The first condition is implied by the second and lets the index be used.
    found = _unchained(using).filter(has_ended, follows, transaction__gte=after.transaction)
    return found.order_by("transaction", "id")


def _unchained(using: str) -> QuerySet[AuditEntry]:
    is_chained = Exists(AuditLink.objects.filter(entry=OuterRef("pk")))
    return AuditEntry.objects.using(using).filter(~is_chained)


def _left_out(using: str) -> int:
    last = AuditLink.objects.using(using).order_by("position").last()
    entry = None if last is None else _resume_after(last.entry_id, using)
    if entry is None:
        return 0
    before = Q(transaction__lt=entry.transaction) | Q(
        transaction=entry.transaction, id__lt=entry.pk
    )
    return _unchained(using).filter(before).count()


def _walk(using: str) -> Iterator[tuple[AuditLink, AuditEntry | None]]:
    """Yield the links in order, each with its entry if that is there."""
    position = 0
    while True:
        following = AuditLink.objects.using(using).filter(position__gt=position)
        links = list(following.order_by("position")[:_WALKED_AT_ONCE])
        if not links:
            return
        entries = AuditEntry.objects.using(using).in_bulk([link.entry_id for link in links])
        yield from ((link, entries.get(link.entry_id)) for link in links)
        position = links[-1].position


def _problem_of(link: AuditLink, entry: AuditEntry | None, head: Place) -> str:
    """Say what is wrong with a link and its entry; empty when nothing is."""
    if link.position != head.position + 1:
        return f"position {head.position + 1}: the link was taken out"
    if link.previous != head.hash:
        return f"position {link.position}: the link does not follow the one before"
    if entry is None:
        return f"position {link.position}: entry {link.entry_id} was taken out"
    if link.hash != hash_of(entry, head.hash):
        return f"position {link.position}: entry {link.entry_id} or its link was changed"
    return ""


def _other_than_known(known: Place) -> str:
    return f"position {known.position}: the chain is not the one whose hash was noted"
