"""The audit trail, as its page lists it."""

from typing import Any, Literal

from django.http import StreamingHttpResponse
from django.utils.translation import gettext as _
from msgspec import Struct

from dashboard.api.lookups import place_of
from dashboard.api.operations import Call, operation
from dashboard.api.problems import refuse
from dashboard.audit_queries import (
    FORMATS,
    Cursor,
    Filters,
    list_entries,
    read_instant,
    row_of,
)
from dashboard.models import Action, SignIn
from dashboard.permissions import VIEW_AUDIT
from dashboard.views.audit import send


class AuditFilters(Struct, forbid_unknown_fields=True):
    """What entries to look for.

    who: part of a name. about: what the id of the target begins with. execution: the id of one,
    with its questions. text: part of what was written. since, until: dates or instants.
    """

    who: str = ""
    action: Action | None = None
    about: str = ""
    execution: str = ""
    text: str = ""
    since: str = ""
    until: str = ""
    how: SignIn | None = None
    overridden: bool = False
    late: bool = False


class AuditQuery(AuditFilters, forbid_unknown_fields=True):
    """Which entries to list. ``older`` and ``newer`` are those of the page before."""

    older: str = ""
    newer: str = ""


class ExportQuery(AuditFilters, forbid_unknown_fields=True):
    """Which entries, and as what: comma-separated values, or a line of JSON each."""

    format: Literal["csv", "jsonl"] = "jsonl"


class AuditLine(Struct):
    """One act. ``chain_position`` and ``chain_hash`` are empty until it is chained."""

    id: int
    at: str
    actor_id: int | str | None
    actor: str
    on_behalf_of_id: int | str | None
    on_behalf_of: str
    sign_in: str
    ip: str | None
    user_agent: str
    action: str
    answer: str
    target_kind: str
    target: str
    reason: str
    is_effective: bool
    is_override: bool
    state_before: str
    state_after: str
    details: dict[str, Any]
    payload_hash: str
    request_key: str
    transaction: int
    chain_position: int | None
    chain_previous: str
    chain_hash: str


class AuditPage(Struct):
    """A page of entries, newest first, and where the neighbouring pages begin."""

    items: list[AuditLine]
    older: str
    newer: str


@operation("GET", "audit", query=AuditQuery, result=AuditPage, permission=VIEW_AUDIT)
def list_audit_entries(call: Call) -> AuditPage:
    """List entries of the audit trail, newest first."""
    query: AuditQuery = call.query
    page = list_entries(
        _filters_of(query),
        older=place_of("older", query.older, Cursor.parse),
        newer=place_of("newer", query.newer, Cursor.parse),
    )
    lines = [AuditLine(**row_of(one.entry)) for one in page.lines]
    return AuditPage(lines, str(page.older or ""), str(page.newer or ""))


@operation(
    "GET",
    "audit/export",
    query=ExportQuery,
    result=str,
    files=tuple(one.content_type.partition(";")[0] for one in FORMATS.values()),
    permission=VIEW_AUDIT,
)
def export_audit_entries(call: Call) -> StreamingHttpResponse:
    """Send all entries that match as a file, oldest first."""
    return send(call.request, _filters_of(call.query), call.query.format)


def _filters_of(query: AuditFilters) -> Filters:
    for name in ("since", "until"):
        if (text := getattr(query, name).strip()) and read_instant(text) is None:
            refuse(name, _("This is neither a date nor an instant."))
    return Filters(
        who=query.who.strip(),
        action=query.action or "",
        about=query.about.strip(),
        execution=query.execution.strip(),
        text=query.text.strip(),
        since=query.since.strip(),
        until=query.until.strip(),
        how=query.how or "",
        overridden="1" if query.overridden else "",
        late="1" if query.late else "",
    )
